"""Conversation files as encoded rows, with everything that is wrong with them told before the first step."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src_core.chat_tokenizer import ChatTokenizer, Encoded, EncodeError
from src_core.conversations import Conversation, read_conversations
from src_core.errors import UserError
from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import Message, PromptStyle
from src_train.config import DataFile

PLAIN = PromptStyle()
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


def _sampled(file: DataFile, style: PromptStyle, seed: int) -> Iterator[tuple[str, list[Message]]]:
    """The rows to take of a file, as chat messages. What is no chain (general data, the reader's rows) gets
    no system turn of the loop.
    """
    conversations: Iterable[Conversation] = read_conversations(Path(file.path))
    if file.min_searches:
        conversations = (each for each in conversations if _searches(each) >= file.min_searches)
    if file.n >= 0:
        read = list(conversations)
        draw = random.Random(f"{seed}/{file.path}")
        picked = sorted(draw.sample(range(len(read)), min(file.n, len(read))))
        conversations = [read[at] for at in picked]
    for conversation in conversations:
        place = f"{file.path}:{conversation.place}"
        messages = conversation.messages
        problem = trainable_problem(messages) if messages else conversation.problem
        if problem:
            raise UserError(f"{place} cannot be trained on: {problem}")
        yield place, ReaRag(PLAIN if conversation.problem else style).messages(messages)


def _searches(conversation: Conversation) -> int:
    return sum(turn.get("role") == "observation" for turn in conversation.messages)


def trainable_problem(messages: Sequence[dict[str, str]]) -> str:
    """What keeps a conversation from being trained on, "" when nothing does. Less is asked than of a chain
    (`src_core.messages`): rows of general data and of the reader are questions and plain replies.
    """
    if not messages:
        return "no list of messages"
    for number, turn in enumerate(messages, start=1):
        key = "reasoning" if turn.get("role") == "assistant" else "content"
        if turn.get("role") not in ("system", "user", "assistant", "observation"):
            return f"turn {number} has the unknown role {turn.get('role')!r}"
        if not isinstance(turn.get(key), str) or not turn[key].strip():
            return f"turn {number}, of the {turn['role']}, has no {key}"
    if not any(turn["role"] == "assistant" for turn in messages):
        return "no turn of the assistant"
    return ""


def _encode(place: str, messages: list[Message], encoder: ChatTokenizer) -> Encoded:
    try:
        return encoder.encode(messages)
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
