"""Conversations in the published schema (reference section 6.5): read from any file, checked for structure.

`{"messages": [{"role": "user", "content"}, {"role": "assistant", "reasoning"}, {"role": "observation",
"content"}, …]}`, as a JSON array or one per line; keys that a hub export fills with null count as absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from src_core.actions import ParsedStep, parse_step
from src_core.rowfiles import RawRow, file_rows
from src_core.types import Finish


class Conversation(NamedTuple):
    """One row of a conversation file: where it stood, its turns without null keys, and what is wrong with
    them ("" when nothing is).
    """

    place: str
    messages: list[dict[str, Any]]
    problem: str


def read_conversations(path: Path) -> Iterator[Conversation]:
    """The conversations of a file, one at a time, each with the verdict of the structural check. Raises
    `UserError` for a file that cannot be read; a bad row is a row with its problem.
    """
    return map(as_conversation, file_rows(path))


def as_conversation(row: RawRow) -> Conversation:
    """The conversation that a row of a file holds."""
    turns = without_nulls(row.value.get("messages") if isinstance(row.value, dict) else None)
    return Conversation(row.place, turns, row.problem or messages_problem(turns))


def without_nulls(messages: Any) -> list[dict[str, Any]]:
    """The turns of a conversation without the keys that are null; empty when it is no list of turns."""
    if not isinstance(messages, list) or not all(isinstance(turn, dict) for turn in messages):
        return []
    return [{key: value for key, value in turn.items() if value is not None} for turn in messages]


def messages_problem(messages: Any) -> str:
    """What is wrong with the structure of a conversation in the published schema, "" when nothing is. Raises
    nothing, whatever `messages` is.
    """
    if not isinstance(messages, list) or not messages:
        return "no list of messages"
    turns = [turn if isinstance(turn, dict) else {} for turn in messages]
    if turns[0].get("role") != "user" or not _said(turns[0], "content"):
        return "the first turn is not the user's question"
    if len(turns) % 2:
        return "the conversation does not end with the assistant's turn"
    for at in range(1, len(turns), 2):
        problem = _turn_problem(turns[at], (at + 1) // 2, last=at == len(turns) - 1)
        if problem:
            return f"turn {at + 1}: {problem}"
        if at + 1 < len(turns) and (
            turns[at + 1].get("role") != "observation" or not _said(turns[at + 1], "content")
        ):
            return f"turn {at + 2}: a search is not followed by its observation"
    return ""


def _turn_problem(turn: dict[str, Any], number: int, *, last: bool) -> str:
    if turn.get("role") != "assistant":
        return "is not the assistant's"
    text = _said(turn, "reasoning")
    if not text:
        return "has no reasoning"
    step = parse_step(text)
    if not isinstance(step, ParsedStep):
        return f"cannot be read ({step.code})"
    if step.n != number or not step.thought or "no_thought_label" in step.repairs:
        return f"is not 'Thought {number}' with its action"
    if isinstance(step.action, Finish) != last:
        return "ends without finish" if last else "finishes before the end"
    return ""


def _said(turn: dict[str, Any], key: str) -> str:
    value = turn.get(key)
    return value if isinstance(value, str) and value.strip() else ""
