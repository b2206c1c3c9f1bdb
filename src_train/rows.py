"""Conversation files as encoded rows, with everything that is wrong with them told before the first step."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src_core.chat_tokenizer import ChatTokenizer, Encoded, EncodeError
from src_core.conversations import Conversation, plain_protocol, read_conversations
from src_core.errors import UserError
from src_core.protocols import load_protocol
from src_core.protocols.chat import Chat
from src_core.protocols.records import ChatTurn, Layout, PromptStyle
from src_train.config import DataFile

_NAMED = 3  # rows named in a message


class TrainRow(NamedTuple):
    """One encoded conversation and where it came from (`file:place`)."""

    place: str
    encoded: Encoded


class Rows(NamedTuple):
    """The rows to train on, and the places and lengths of those that were dropped because they are too
    long.
    """

    rows: list[TrainRow]
    too_long: list[tuple[str, int]]

    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [len(row.encoded.ids) for row in self.rows]

    def digest(self) -> str:
        """A hash of all ids and targets in their order: what two runs must agree on to be one."""
        hashed = hashlib.sha256()
        for row in self.rows:
            hashed.update(len(row.encoded.ids).to_bytes(8, "little"))
            hashed.update(row.encoded.ids.tobytes())
            hashed.update(np.packbits(row.encoded.trainable).tobytes())
        return hashed.hexdigest()[:16]


def read_rows(
    files: Sequence[DataFile],
    encoder: ChatTokenizer,
    style: PromptStyle,
    *,
    max_length: int,
    drop_long: bool,
    seed: int,
) -> Rows:
    """All rows of `files`, encoded. Raises `UserError` naming file and row for one that cannot be trained
    on, and for one with more than `max_length` tokens unless `drop_long`.
    """
    rows: list[TrainRow] = []
    too_long: list[tuple[str, int]] = []
    for file in files:
        for place, messages in _sampled(file, style, seed):
            row = TrainRow(place, _encode(place, messages, encoder))
            if len(row.encoded.ids) <= max_length:
                rows.append(row)
            elif drop_long:
                too_long.append((place, len(row.encoded.ids)))
            else:
                raise UserError(
                    f"{place} has {len(row.encoded.ids)} tokens, more than max_length={max_length};"
                    " raise it or set on_long=drop"
                )
    if not rows:
        named = ", ".join(file.path for file in files)
        raise UserError(
            f"nothing to train on in {named}"
            if named
            else "nothing to train on; name files: train=[{path: …}]"
        )
    return Rows(rows, too_long)


def _sampled(file: DataFile, style: PromptStyle, seed: int) -> Iterator[tuple[str, list[ChatTurn]]]:
    """The samples to take of a file, laid out by the protocol of each row. The prompt style of the run is
    that of the loop: plain conversations (general data, the reader's rows) get no system turn of it.
    """
    conversations: Iterable[Conversation] = read_conversations(Path(file.path), default_format=file.format)
    if file.min_searches:
        conversations = (each for each in conversations if _searches(each) >= file.min_searches)
    if file.n >= 0:
        read = list(conversations)
        draw = random.Random(f"{seed}/{file.path}")
        picked = sorted(draw.sample(range(len(read)), min(file.n, len(read))))
        conversations = [read[at] for at in picked]
    for conversation in conversations:
        place = f"{file.path}:{conversation.place}"
        if conversation.problem:
            raise UserError(
                f"{place} is no conversation of the format {conversation.format}: {conversation.problem}"
                f"{_hint(conversation)}"
            )
        protocol = load_protocol(conversation.format, None if conversation.format == Chat.name else style)
        for number, sample in enumerate(protocol.samples(conversation.messages), start=1):
            several = protocol.layout is Layout.HISTORY_IN_USER_TURN
            yield f"{place}, step {number}" if several else place, sample


def _searches(conversation: Conversation) -> int:
    return sum(turn.get("role") == "observation" for turn in conversation.messages)


def _hint(conversation: Conversation) -> str:
    """What a person can do about a row that is not of the format that the file was said to have."""
    plain = not plain_protocol(Chat.name).check(conversation.messages)
    return "; set format: chat for a file of plain conversations" if plain else ""


def _encode(place: str, turns: list[ChatTurn], tokenizer: ChatTokenizer) -> Encoded:
    try:
        return tokenizer.encode(turns)
    except (EncodeError, ValueError) as error:
        raise UserError(f"{place}: {error}") from error


class LengthReport(NamedTuple):
    """What the data check prints: rows, tokens, the share that is learnt, and how long rows are."""

    rows: int
    tokens: int
    learnt: int
    shortest: int
    median: int
    longest: int
    dropped: int


def length_report(made: Rows) -> LengthReport:
    """Counts over all rows."""
    lengths = sorted(made.lengths())
    learnt = sum(int(row.encoded.trainable.sum()) for row in made.rows)
    return LengthReport(
        len(lengths),
        sum(lengths),
        learnt,
        lengths[0],
        lengths[len(lengths) // 2],
        lengths[-1],
        len(made.too_long),
    )


def dropped_note(made: Rows, max_length: int) -> str:
    """One line about the rows that were dropped, "" when none was."""
    if not made.too_long:
        return ""
    named = ", ".join(f"{place} ({length})" for place, length in made.too_long[:_NAMED])
    more = "" if len(made.too_long) <= _NAMED else f" and {len(made.too_long) - _NAMED} more"
    return f"{len(made.too_long)} rows have more than {max_length} tokens and are left out: {named}{more}"
