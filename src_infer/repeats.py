"""Queries that were asked before in an episode."""

from __future__ import annotations

from collections.abc import Sequence

from src_core.types import DirectAnswer, Search, Step

REPEAT_NOTICE = (
    "This query was already asked; the reply was: {observation} "
    "Do not ask it again: ask for another fact, or finish with the best answer so far."
)


def asked_before(text: str, steps: Sequence[Step], *, directly: bool = False) -> Step | None:
    """The earlier step with the same query (ignoring case and punctuation) that is not itself repeated;
    `directly` also counts sub-questions that were answered without a search.
    """
    ours = _plain(text)
    for step in steps:
        asked = _asked(step, directly=directly)
        if asked is not None and not step.repeated and _plain(asked) == ours:
            return step
    return None


def repeats(steps: Sequence[Step]) -> int:
    """The number of repeated queries."""
    return sum(step.repeated for step in steps)


def _asked(step: Step, *, directly: bool) -> str | None:
    if isinstance(step.action, Search):
        return step.action.query
    return step.action.sub_question if directly and isinstance(step.action, DirectAnswer) else None


def _plain(query: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in query.lower()).split())
