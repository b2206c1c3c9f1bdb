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
    """Trajectories of one question differ by their seed; with `first_greedy` the first one is greedy."""

    def __init__(self, policy: Policy, *, first_greedy: bool = False) -> None:
        self._policy = policy
        self._first_greedy = first_greedy

    @property
    def name(self) -> str:
        """`llm:` and the model's name; for a model that is served under its path only the last part, since
        provenance is published with the data.
        """
        name = self._policy.model.name
        return f"llm:{name.rstrip('/').rpartition('/')[2] if name.startswith('/') else name}"

    def seed(self, chain: int) -> int | None:
        """The base seed of a trajectory; those of its steps are derived from it, the question and
        the step.
        """
        return derive_seed(self._policy.sampling.seed, "chain", chain)

    def refuses(self, question: Question) -> str | None:  # noqa: ARG002 - a model refuses no question
        """Never."""
        return None

    def writer(self, question: Question, chain: int) -> StepWriter:  # noqa: ARG002 - the policy gets the text
        """A policy with the seeds of this trajectory."""
        sampling = replace(self._policy.sampling, seed=self.seed(chain))
        if self._first_greedy and chain == 0:
            sampling = replace(sampling, temperature=0.0, top_p=1.0)
        return replace(self._policy, sampling=sampling)
