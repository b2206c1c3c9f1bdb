"""Scores of trajectories: EM, F1, searches, recall of gold passages, and their totals by kind of question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from src_core.types import Trajectory
from src_tasks.metrics import em, f1


@dataclass(frozen=True, slots=True)
class Score:
    """One question's figures; `em`, `f1` and `gold_recall` are in [0, 1], or None without gold data."""

    em: float | None
    f1: float | None
    gold_recall: float | None
    searches: int
    seconds: float


def score(trajectory: Trajectory) -> Score:
    """Score one trajectory against its own gold answers. A failed row scores 0, it is not left out."""
    question = trajectory.question
    gold = question.answers
    shown = {passage.id for step in trajectory.steps for passage in step.passages}
    wanted = set(question.supporting)
    return Score(
        em=em(trajectory.answer, gold) if gold else None,
        f1=f1(trajectory.answer, gold) if gold else None,
        gold_recall=len(wanted & shown) / len(wanted) if wanted and trajectory.steps else None,
        searches=trajectory.searches,
        seconds=trajectory.seconds,
    )


def kind(trajectory: Trajectory) -> str:
    """The group a question is reported under: its type, with the number of hops for bridge questions."""
    meta = trajectory.question.meta
    name = str(meta.get("type", "all"))
    return f"{name} {meta['hops']}-hop" if name == "bridge" and "hops" in meta else name


def totals(trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    """Means over all questions and per kind, outcome counts, tokens, malformed replies."""
    groups: dict[str, list[Trajectory]] = {}
    for trajectory in trajectories:
        groups.setdefault(kind(trajectory), []).append(trajectory)
    replies = sum(len(t.steps) for t in trajectories)
    rejected = sum(len(t.provenance.get("parse_failures", ())) for t in trajectories)
    return {
        "all": _means(trajectories),
        "by_kind": {name: _means(rows) for name, rows in sorted(groups.items())},
        "outcomes": dict(Counter(t.status.value for t in trajectories)),
        "parse_failures": rejected,
        "parse_failure_share": rejected / max(rejected + replies, 1),
        "repairs": dict(Counter(name for t in trajectories for s in t.steps for name in s.repairs)),
        "tokens": {
            "calls": sum(t.usage.calls for t in trajectories),
            "prompt": sum(t.usage.prompt_tokens for t in trajectories),
            "completion": sum(t.usage.completion_tokens for t in trajectories),
        },
    }


def _means(trajectories: Sequence[Trajectory]) -> dict[str, float | int | None]:
    scores = [score(t) for t in trajectories]
    return {
        "questions": len(scores),
        "em": _mean(s.em for s in scores),
        "f1": _mean(s.f1 for s in scores),
        "gold_recall": _mean(s.gold_recall for s in scores),
        "searches": _mean(s.searches for s in scores),
        "seconds": _mean(s.seconds for s in scores),
    }


def _mean(values: Iterable[float | int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None
