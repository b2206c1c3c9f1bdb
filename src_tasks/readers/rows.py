"""The records of the readers of question sets: a question, its annotated sub-questions, and its passages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from src_core.types import Passage, Question


@dataclass(frozen=True, slots=True)
class SubQuestion:
    """One annotated hop. `question` may refer to the answer of an earlier hop as `#1`, `#2`, …; `answers` are
    the aliases of its answer; `title` is that of the passage that holds it, `sentence` the sentence there
    that tells it. `wordings` ask the same in other words; `goal` names what is asked for as a noun phrase.
    What the set does not have is empty.
    """

    question: str
    answers: tuple[str, ...]
    title: str = ""
    wordings: tuple[str, ...] = ()
    goal: str = ""
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row of a published question set. `passages` are the passages in the row, gold ones and distractors;
    their ids are content hashes, so that the same passage of two rows is one passage. `misspelt` is a key of
    the row that is nearly the one of its gold passages, which it then lacks.
    """

    question: Question
    passages: tuple[Passage, ...] = ()
    misspelt: str = ""


def decomposition(question: Question) -> tuple[SubQuestion, ...]:
    """The annotated hops of a question, in order; empty where its set has none."""
    return tuple(
        SubQuestion(
            hop["question"],
            tuple(hop["answers"]),
            hop.get("title", ""),
            tuple(hop.get("wordings", ())),
            hop.get("goal", ""),
            hop.get("sentence", ""),
        )
        for hop in question.meta.get("decomposition", ())
    )


def decomposition_meta(hops: Sequence[SubQuestion]) -> list[dict[str, Any]]:
    """`hops` as plain data for `Question.meta["decomposition"]` (which is JSON on disk). What only made
    questions have is left out where it is empty.
    """
    return [
        {
            "question": hop.question,
            "answers": list(hop.answers),
            "title": hop.title,
            **({"wordings": list(hop.wordings)} if hop.wordings else {}),
            **({"goal": hop.goal} if hop.goal else {}),
            **({"sentence": hop.sentence} if hop.sentence else {}),
        }
        for hop in hops
    ]


def group_of_meta(meta: Mapping[str, Any]) -> str:
    """The group of a question whose set names no subject: its type, with the number of hops for bridge
    questions; "" without a type.
    """
    name = str(meta.get("type") or "")
    return f"{name} {meta['hops']}-hop" if name == "bridge" and "hops" in meta else name
