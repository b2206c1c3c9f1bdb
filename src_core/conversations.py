"""Conversation files: rows `{"format": <protocol>, "messages": [turns]}`, read one at a time and checked by
their protocol.

A turn is `{"role": "user", "content"}`, `{"role": "assistant", "reasoning"}` or `{"role": "observation",
"content"}` (the published schema, reference rearag.md section 6.5), in a JSON array or one row per line;
keys that a hub export fills with null count as absent. Published files carry no `format`: whoever reads
them says which one they have.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from src_core.errors import UserError
from src_core.protocols import load_protocol
from src_core.protocols.base import Protocol
from src_core.rowfiles import RawRow, file_rows

PUBLISHED = "rearag"
"""The format of the conversation files that ReaRAG published."""


class Conversation(NamedTuple):
    """One row of a conversation file: where it stands, its format, its turns without null keys, and what is
    wrong with it ("" when nothing is).
    """

    place: str
    format: str
    messages: list[dict[str, Any]]
    problem: str


def read_conversations(path: Path, *, default_format: str = PUBLISHED) -> Iterator[Conversation]:
    """The conversations of a file, one at a time, each with the verdict of its protocol's check. Rows without
    `format` have `default_format`. Raises `UserError` for a file that cannot be read; a bad row is a row with
    its problem.
    """
    return (as_conversation(row, default_format=default_format) for row in file_rows(path))


def as_conversation(row: RawRow, *, default_format: str = PUBLISHED) -> Conversation:
    """The conversation that a row of a file holds."""
    value = row.value if isinstance(row.value, dict) else {}
    turns = without_nulls(value.get("messages"))
    name = value.get("format") or default_format
    if row.problem or not isinstance(name, str):
        return Conversation(
            row.place, str(name), turns, row.problem or f"the format is no text: {name!r:.60}"
        )
    try:
        problem = plain_protocol(name).check(turns)
    except UserError as error:
        problem = str(error)
    return Conversation(row.place, name, turns, problem)


def without_nulls(messages: Any) -> list[dict[str, Any]]:
    """The turns of a conversation without the keys that are null; empty when it is no list of turns."""
    if not isinstance(messages, list) or not all(isinstance(turn, dict) for turn in messages):
        return []
    return [{key: value for key, value in turn.items() if value is not None} for turn in messages]


@cache
def plain_protocol(name: str) -> Protocol:
    """The protocol `name` without any prompt style of a run: for checks and for reading. Raises
    `UserError`.
    """
    return load_protocol(name)
