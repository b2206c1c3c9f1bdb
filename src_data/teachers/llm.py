"""A language model as the teacher (Algorithm 1 of the paper, with QwQ-32B): the policy of inference with the
teacher's prompt, sampling and seeds.
"""

from __future__ import annotations

from dataclasses import replace

from src_core.llm import derive_seed
from src_core.types import Question
from src_infer.episode import StepWriter
from src_infer.policy import Policy


class LlmTeacher:
    """Trajectories of one question differ by their seed."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    @property
    def name(self) -> str:
        """`llm:` and the model's name; of a model that is served under its path, the last part, since
        provenance travels with the data.
        """
        name = self._policy.model.name
        return f"llm:{name.rstrip('/').rpartition('/')[2] if name.startswith('/') else name}"

    def seed(self, chain: int) -> int | None:
        """The base seed of a trajectory; those of its steps are derived from it, the question and
        the step.
        """
        return derive_seed(self._policy.sampling.seed, "chain", chain)

    def refuses(self, question: Question) -> str | None:  # noqa: ARG002 - a model tries anything
        """Never."""
        return None

    def writer(self, question: Question, chain: int) -> StepWriter:  # noqa: ARG002 - asked by its text
        """A policy whose seeds are this trajectory's own."""
        sampling = replace(self._policy.sampling, seed=self.seed(chain))
        return replace(self._policy, sampling=sampling)
