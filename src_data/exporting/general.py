"""Conversations from elsewhere for the training file: ShareGPT-style general data, published ReaRAG files.

Three layouts, told apart row by row: `{"conversations": [{"from": "human", "value"}, …]}`, `{"messages":
[{"role", "content"}, …]}`, and the published schema with `reasoning`. What comes out has one rule for the
trainer, as our own data: the loss is on `reasoning`, so an assistant's general reply is put there. A system
turn goes in front of the first user turn, since the schema has none.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import orjson
from pydantic import Field

from src_core.config import config_class
from src_core.conversations import PUBLISHED, plain_protocol, without_nulls
from src_core.jsonl import LineSpool
from src_core.protocols.chat import Chat
from src_core.rowfiles import file_rows
from src_data.filters.leaks import find_leak

Turns = list[dict[str, Any]]
_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "system": "system",
}


@config_class
class GeneralConfig:
    """A file to mix into the training rows: `n` of its usable conversations, drawn at random (-1: all)."""

    path: str
    n: Annotated[int, Field(ge=-1)] = -1


class Row(NamedTuple):
    """A conversation ready for training and its format."""

    format: str
    turns: Turns


class GeneralRow(NamedTuple):
    """A conversation ready for training, or why the row cannot be used (then its turns are empty)."""

    row: Row
    problem: str


class GeneralCount(NamedTuple):
    """What became of a file's rows: how many could be used, were taken, and the rest by problem."""

    path: str
    usable: int
    taken: int
    skipped: dict[str, int]


class General(NamedTuple):
    """The usable conversations of a file, and the counts."""

    counts: GeneralCount
    usable: LineSpool


def general_rows(path: Path) -> Iterator[GeneralRow]:
    """The rows of a file, one at a time. Raises `UserError` for a file that cannot be read; a bad row is a
    row with its problem.
    """
    for row in file_rows(path):
        yield _unusable("not valid JSON") if row.problem else _convert(row.value)


def read_general(config: GeneralConfig, spool: LineSpool) -> General:
    """Read the file once: its usable conversations go to `spool`. Raises `UserError` as `general_rows`."""
    problems: Counter[str] = Counter()
    for row in general_rows(Path(config.path)):
        if row.problem:
            problems[row.problem] += 1
        else:
            spool.append(orjson.dumps(list(row.row)))
    taken = len(spool) if config.n < 0 else min(config.n, len(spool))
    return General(GeneralCount(config.path, len(spool), taken, dict(problems)), spool)


def sample_general(general: General, *, seed: int) -> Iterator[Row]:
    """`taken` of the usable conversations, in the order of the file, each set of rows equally likely
    (selection sampling: nothing is held in memory).
    """
    draw = random.Random(f"{seed}/{general.counts.path}")
    left, wanted = general.counts.usable, general.counts.taken
    for line in general.usable:
        if wanted and draw.random() * left < wanted:
            wanted -= 1
            yield Row(*orjson.loads(line))
        left -= 1


def conversation_key(turns: Turns) -> str:
    """Content hash of a conversation."""
    return hashlib.sha256(orjson.dumps(turns)).hexdigest()[:16]


def _unusable(problem: str) -> GeneralRow:
    return GeneralRow(Row("", []), problem)


def _convert(row: Any) -> GeneralRow:
    raw = row.get("conversations", row.get("messages")) if isinstance(row, dict) else None
    turns = without_nulls(raw)
    if not turns:
        return _unusable("no conversation")
    if any("reasoning" in turn for turn in turns):
        name = str(row.get("format") or PUBLISHED)
        if plain_protocol(name).check(turns):
            return _unusable(f"not a conversation of the format {name}")
        return GeneralRow(Row(name, turns), "")
    plain = [_plain_turn(turn) for turn in turns]
    if any(role is None or not text.strip() for role, text in plain):
        return _unusable("a turn without known role or text")
    if any(find_leak(text) for _, text in plain):
        return _unusable("control tokens in the text")
    return _ordered([(role, text) for role, text in plain if role is not None])


def _plain_turn(turn: dict[str, Any]) -> tuple[str | None, str]:
    role = turn.get("from", turn.get("role"))
    text = turn.get("value", turn.get("content"))
    known = _ROLES.get(role.strip().lower()) if isinstance(role, str) else None
    return known, text if isinstance(text, str) else ""


def _ordered(plain: list[tuple[str, str]]) -> GeneralRow:
    """User and assistant in turn, from a user's to an assistant's; questions without a reply are cut off the
    end, and replies without a question off the start.
    """
    system = plain.pop(0)[1] if plain[0][0] == "system" else ""
    while plain and plain[0][0] == "assistant":
        plain.pop(0)
    while plain and plain[-1][0] == "user":
        plain.pop()
    expected = ["user", "assistant"] * (len(plain) // 2)
    if not plain or [role for role, _ in plain] != expected:
        return _unusable("turns out of order")
    if system:
        plain[0] = ("user", f"{system}\n\n{plain[0][1]}")
    keys = {"user": "content", "assistant": "reasoning"}
    made: Turns = [{"role": role, keys[role]: text} for role, text in plain]
    return GeneralRow(Row(Chat.name, made), "")
