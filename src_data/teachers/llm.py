"""A language model as the teacher (Algorithm 1 of the paper, with QwQ-32B): the agent of inference with the
teacher's prompt, sampling and seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from src_core.llm import ChatModel, Sampling, derive_seed
from src_core.types import Question
from src_infer.agent import Agent
from src_infer.episode import Generate

MakeAgent = Callable[[Sampling], Agent]


class LlmTeacher:
    """Chains of one question differ by their seed. `make_agent` gives an agent of `model` with the sampling
    of one chain.
    """

    def __init__(self, model: ChatModel, make_agent: MakeAgent, *, sampling: Sampling) -> None:
        self._model = model
        self._make_agent = make_agent
        self._sampling = sampling

    @property
    def name(self) -> str:
        """`llm:` and the model's name; of a model that is served under its path, the last part, since
        provenance travels with the data.
        """
        name = self._model.name
        return f"llm:{name.rstrip('/').rpartition('/')[2] if name.startswith('/') else name}"

    def seed(self, chain: int) -> int | None:
        """The base seed of a chain; those of its steps are derived from it, the question and the step."""
        return derive_seed(self._sampling.seed, "chain", chain)

    def refuses(self, question: Question) -> str | None:  # noqa: ARG002 - a model tries anything
        """Never."""
        return None

    def generate_for(self, question: Question, chain: int) -> Generate:  # noqa: ARG002 - asked by its text
        """An agent whose seeds are this chain's own."""
        return self._make_agent(replace(self._sampling, seed=self.seed(chain))).generate
