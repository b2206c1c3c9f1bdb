"""Conversation files: rows `{"format": <protocol>, "messages": [turns]}`, read one at a time and checked by
their protocol.

A turn is `{"role": "user", "content"}`, `{"role": "assistant", "reasoning"}` or `{"role": "observation",
"content"}` (the published schema, reference rearag.md section 6.5), in a JSON array or one row per line; keys
that a hub export fills with null count as absent. Published files have no `format`: the caller passes it as
`default_format`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from src_core.errors import UserError
from src_core.plugins import is_file
from src_core.protocols import load_protocol
from src_core.protocols.base import Protocol
from src_core.rowfiles import RawRow, file_rows

PUBLISHED = "rearag"
"""The format of the conversation files that ReaRAG published."""


class Conversation(NamedTuple):
    """One row of a conversation file: its place in the file, its format, its turns without null keys, and its
    problem ("" for a valid row).
    """

    place: str
    format: str
    messages: list[dict[str, Any]]
    problem: str


def read_conversations(path: Path, *, default_format: str = PUBLISHED) -> Iterator[Conversation]:
    """The conversations of a file, one at a time, each checked by its protocol. Rows without `format` have
    `default_format`. Raises `UserError` for a file that cannot be read and for an unknown `default_format`; a
    bad row is returned with its problem.
    """
    default_format = plain_protocol(default_format).name
    return (as_conversation(row, default_format=default_format) for row in file_rows(path))


def as_conversation(row: RawRow, *, default_format: str = PUBLISHED) -> Conversation:
    """The conversation in one row of a file."""
    value = row.value if isinstance(row.value, dict) else {}
    turns = without_nulls(value.get("messages"))
    name = value.get("format")
    name = default_format if name is None else name
    if row.problem:
        return Conversation(row.place, str(name), turns, row.problem)
    try:
        problem = row_protocol(name).check(turns)
    except UserError as error:
        problem = str(error)
    return Conversation(row.place, str(name), turns, problem)


def row_protocol(name: Any) -> Protocol:
    """The protocol that a row of a file names. Raises `UserError` for an unknown one, and for the path of a
    file: data must not choose what code is run.
    """
    if not isinstance(name, str):
        raise UserError(f"the format is no text: {name!r:.60}; name a format")
    if is_file(name):
        raise UserError(
            f"a row names the file {name!r:.120} as its format; name the format of that file in the rows, "
            "and the file in the settings"
        )
    return plain_protocol(name)


def without_nulls(messages: Any) -> list[dict[str, Any]]:
    """The turns of a conversation without the keys that are null; empty when `messages` is not a list of
    turns.
    """
    if not isinstance(messages, list) or not all(isinstance(turn, dict) for turn in messages):
        return []
    return [{key: value for key, value in turn.items() if value is not None} for turn in messages]


@cache
def plain_protocol(name: str) -> Protocol:
    """The protocol `name` with its default prompt style: for checking and parsing. Raises `UserError`."""
    return load_protocol(name)
