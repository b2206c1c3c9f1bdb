"""A whole trajectory in one text: pieces (thought, action, observation) in order become steps.

What cannot be read is a problem that is named, with the steps before it, never a guess. Nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from src_core.protocols.records import ReadTrajectory
from src_core.types import Action, Finish, Step

MAX_TRAJECTORY = 200_000
"""Characters of a trajectory; a longer one is not read."""
_REWARD = re.compile(r"episode finished,?\s*reward\s*=\s*(true|false|\d{1,6}(?:\.\d{1,6})?)", re.IGNORECASE)


class Piece(NamedTuple):
    """One part of a trajectory: `kind` is thought, action or observation."""

    kind: str
    text: str


def read_pieces(
    text: str, pieces: Callable[[str], Iterable[Piece]], action_of: Callable[[str], Action | str]
) -> ReadTrajectory:
    """Steps out of thoughts, actions and observations in order. Thoughts before one action are joined; what
    follows `finish` is dropped and noted.
    """
    if len(text) > MAX_TRAJECTORY:
        return ReadTrajectory((), f"longer than {MAX_TRAJECTORY} characters", {})
    steps: list[Step] = []
    thoughts: list[str] = []
    notes: dict[str, Any] = {}
    for kind, piece in pieces(text):
        if steps and isinstance(steps[-1].action, Finish):
            notes.update(_after_finish(piece))
        elif kind == "thought":
            thoughts.append(piece)
        elif kind == "observation":
            if thoughts or not steps or steps[-1].observation is not None:
                where = f"after step {len(steps)}"
                return ReadTrajectory(tuple(steps), f"an observation without a search {where}", notes)
            steps[-1] = replace(steps[-1], observation=piece)
        else:
            action = action_of(piece)
            if isinstance(action, str):
                return ReadTrajectory(tuple(steps), f"step {len(steps) + 1}: {action}", notes)
            steps.append(Step(len(steps) + 1, " ".join(filter(None, thoughts)), action))
            thoughts = []
    if thoughts:
        notes["unfinished_thought"] = " ".join(thoughts)[:500]
    return ReadTrajectory(tuple(steps), "" if steps else "no action found", notes)


def _after_finish(text: str) -> dict[str, Any]:
    """What an environment said after the end: its reward, or that something was dropped."""
    reward = _REWARD.search(text)
    if not reward:
        return {"dropped_after_finish": True} if text else {}
    value = reward[1].lower()
    return {"reward": value == "true" if value in ("true", "false") else float(value)}
