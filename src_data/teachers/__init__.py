"""Teachers write the steps of a trajectory; the loop, the RAG engine and the records are those of
inference. `llm` is a language model; `src_data.annotated_teacher` follows the annotation of a question.
"""

from __future__ import annotations

from typing import Protocol

from src_core.types import Question
from src_infer.episode import StepWriter


class Teacher(Protocol):
    """Writes the steps for question after question."""

    @property
    def name(self) -> str:
        """Who made a trajectory, for provenance and the filter report."""
        ...

    def seed(self, chain: int) -> int | None:
        """The sampling seed of trajectory number `chain`; None where nothing is sampled or no seed is set."""
        ...

    def refuses(self, question: Question) -> str | None:
        """Why no trajectory can be made for this question (a stable reason), or None."""
        ...

    def writer(self, question: Question, chain: int) -> StepWriter:
        """The step writer of trajectory number `chain` (from 0) of a question that is not refused."""
        ...
