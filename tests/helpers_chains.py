"""Chains for the tests of cleaning, export and viewing: a sound one, and ways to spoil it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from src_core.types import (
    Finish,
    Passage,
    Question,
    Search,
    Status,
    Step,
    Trajectory,
    Usage,
    question_id,
    to_json,
)

QUESTION = "In which city was the composer of Aida born?"
GOLDS = ("Le Roncole", "Roncole Verdi")


def question(text: str = QUESTION, golds: tuple[str, ...] = GOLDS, **meta: Any) -> Question:
    return Question(question_id(text, golds), text, golds, meta={"dataset": "toyset", **meta})


def search(n: int, query: str, observation: str, thought: str = "So I need to look this up.") -> Step:
    passage = Passage(f"p{n}", "Title", f"Title\n{observation}", {"retrieval": 0.5})
    return Step(n, thought, Search(query), observation, (passage,), usage=Usage(1, 100, 20))


def finish(n: int, answer: str, thought: str = "Now I know the answer to the question.") -> Step:
    return Step(n, thought, Finish(answer), usage=Usage(1, 150, 10))


def chain(*steps: Step, asked: Question | None = None, **changes: Any) -> Trajectory:
    """A finished chain; without steps, the sound one about Verdi."""
    steps = steps or (
        search(1, "Who composed Aida?", "Aida was composed by Giuseppe Verdi."),
        search(2, "Where was Giuseppe Verdi born?", "Verdi was born in Le Roncole near Busseto."),
        finish(3, "Le Roncole"),
    )
    made = Trajectory(
        question=asked or question(),
        steps=steps,
        answer=steps[-1].action.answer if isinstance(steps[-1].action, Finish) else "",
        status=Status.FINISHED,
        usage=Usage(3, 350, 50),
        provenance={"teacher": "toy", "chain": 0},
    )
    return replace(made, **changes)


def write_chains(folder: Path, *chains: Trajectory | bytes) -> Path:
    """A run directory whose rows are `chains` (bytes as they are)."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, bytes) else to_json(row) for row in chains]
    (folder / "trajectories.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    return folder
