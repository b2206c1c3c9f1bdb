"""Preference pairs as encoded rows.

    {"format": "rearag", "prompt": [turns], "chosen": [turns], "rejected": [turns]}

One per line, or a JSON array. Turns are those of the published schema (`src_core.conversations`): `content`,
and `reasoning` of the assistant. Either side continues the prompt, begins with a turn of the assistant, and
only the assistant's turns of the side are trained: those in the prompt are context. A part may also be a
conversation row, `{"format", "messages"}`. With `"unfinished": true` the sides are the beginning of what
follows, such as a decision: no end of turn is trained after them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from src_core.chat_tokenizer import ChatTokenizer, Encoded
from src_core.conversations import plain_protocol, row_protocol, without_nulls
from src_core.errors import UserError
from src_core.protocols.base import Protocol
from src_core.protocols.chat import Chat
from src_core.protocols.records import ChatTurn, Layout, PromptStyle
from src_core.rowfiles import RawRow, file_rows
from src_train.config import DataFile
from src_train.rows import (
    Limit,
    Rows,
    TrainRow,
    draw,
    encode_at,
    no_progress,
    protocol_of,
    require_rows,
)

SIDES = ("chosen", "rejected")
_PARTS = ("prompt", *SIDES)

Turns = list[dict[str, Any]]


class Pair(NamedTuple):
    """Two continuations of one prompt, in one format. `unfinished` sides end inside the assistant's turn."""

    format: str
    prompt: Turns
    chosen: Turns
    rejected: Turns
    unfinished: bool = False


def read_pairs(
    files: Sequence[DataFile],
    encoder: ChatTokenizer,
    style: PromptStyle,
    *,
    max_length: int,
    drop_long: bool,
    seed: int,
    on_row: Callable[[], None] = no_progress,
) -> Rows:
    """All pairs of `files`: row 2k is the prompt and chosen side of pair k, row 2k + 1 the prompt and
    rejected side. Raises `UserError` naming file and row for a pair that cannot be trained on, and for one
    with a side of more than `max_length` tokens unless `drop_long`, which drops both sides.
    """
    rows: list[TrainRow] = []
    too_long: list[tuple[str, int]] = []
    limit = Limit(max_length, drop_long)
    for place, raw in _drawn(files, seed):
        found = parse_pair(raw)
        if isinstance(found, str):
            raise UserError(f"{place} cannot be trained on: {found}; correct or remove that row")
        sides = encode_pair(place, found, encoder, style)
        if all(limit.keeps(side, too_long) for side in sides):
            rows.extend(sides)
        on_row()
    require_rows(rows, files)
    return Rows(rows, too_long, together=2)


def _drawn(files: Sequence[DataFile], seed: int) -> Iterator[tuple[str, RawRow]]:
    for file in files:
        plain_protocol(file.format)  # a file of the user's, whose rows name its format
        for raw in draw(file, file_rows(Path(file.path)), seed):
            yield f"{file.path}:{raw.place}", raw


def parse_pair(raw: RawRow) -> Pair | str:
    """The pair in a row of a file, or its problem in words. Raises nothing for any row."""
    if raw.problem or not isinstance(raw.value, dict):
        return raw.problem or "it is not an object with prompt, chosen and rejected"
    turns = {part: _turns(raw.value.get(part)) for part in _PARTS}
    for part in _PARTS:
        if not turns[part]:
            return f"{part} is not a list of turns"
    formats = _formats(raw.value)
    if len(formats) != 1:
        return (
            f"its parts have different formats: {', '.join(sorted(formats))}"
            if formats
            else "it has no format"
        )
    unfinished = raw.value.get("unfinished") or False
    if not isinstance(unfinished, bool):
        return f"unfinished is {unfinished!r:.60}, not true or false"
    pair = Pair(formats.pop(), turns["prompt"], turns["chosen"], turns["rejected"], unfinished)
    return _pair_problem(pair) or pair


def _turns(part: Any) -> Turns:
    return without_nulls(part.get("messages") if isinstance(part, dict) else part)


def _formats(value: dict[str, Any]) -> set[str]:
    """The formats of a row or its parts."""
    parts = [value, *(value[part] for part in _PARTS if isinstance(value[part], dict))]
    named = (part.get("format") for part in parts)
    return {name for name in named if isinstance(name, str) and name}


def _pair_problem(pair: Pair) -> str:
    for name, side in zip(SIDES, (pair.chosen, pair.rejected), strict=True):
        if not any(turn.get("role") == "assistant" for turn in side):
            return f"{name} has no turn of the assistant"
        if side[0].get("role") != "assistant":
            return f"{name} begins with a turn of the {side[0].get('role')}, not of the assistant"
        if pair.unfinished and side[-1].get("role") != "assistant":
            return f"{name} is unfinished, but does not end with a turn of the assistant"
        if problem := plain_protocol(Chat.name).check([*pair.prompt, *side]):
            return f"prompt and {name}: {problem}"
    if pair.chosen == pair.rejected:
        return "chosen and rejected are the same"
    return ""


def encode_pair(
    place: str, pair: Pair, encoder: ChatTokenizer, style: PromptStyle
) -> tuple[TrainRow, TrainRow]:
    """The two sides, each after the prompt. Raises `UserError` naming `place` for an unknown format, when the
    template cannot represent a side, or when a side does not begin with the ids that inference would send.
    """
    try:
        protocol = protocol_of(row_protocol(pair.format).name, style)
        prompt = np.asarray(encoder.prompt_ids(protocol.lay_out(pair.prompt)), dtype=np.int32)
    except (UserError, ValueError) as error:
        raise UserError(f"{place} cannot be trained on: {error}; correct or remove that row") from error
    sides = []
    for name, side in zip(SIDES, (pair.chosen, pair.rejected), strict=True):
        turns = _behind_prompt(place, protocol, pair.prompt, side)
        encoded = encode_at(place, turns, encoder, unfinished=pair.unfinished)
        if not np.array_equal(encoded.ids[: len(prompt)], prompt):
            raise UserError(
                f"{place}: {name} does not share the prompt's prefix, since the chat template "
                "writes the prompt"
                " differently once the side follows; use another chat template"
            )
        trainable = encoded.trainable.copy()
        trainable[: len(prompt)] = False
        sides.append(TrainRow(place, Encoded(encoded.ids, trainable), format=pair.format))
    if np.array_equal(sides[0].encoded.ids, sides[1].encoded.ids):
        raise UserError(
            f"{place} cannot be trained on: chosen and rejected are the same tokens; remove that row"
        )
    return sides[0], sides[1]


def _behind_prompt(place: str, protocol: Protocol, prompt: Turns, side: Turns) -> list[ChatTurn]:
    """The chat messages of a side after its prompt."""
    if protocol.layout is not Layout.HISTORY_IN_USER_TURN:
        return protocol.lay_out([*prompt, *side])
    if len(side) > 1:
        raise UserError(
            f"{place} cannot be trained on: the format {protocol.name} has one prompt per step, so a side is"
            f" one turn of the assistant, not {len(side)} turns; correct or remove that row"
        )
    return [*protocol.lay_out(prompt), ChatTurn.of("assistant", side[0]["reasoning"], trained=True)]
