"""Conversation files as encoded rows. Their problems are reported before the first step."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import numpy as np

from src_core.chat_tokenizer import ChatTokenizer, Encoded, EncodeError
from src_core.conversations import Conversation, plain_protocol, read_conversations
from src_core.errors import UserError
from src_core.protocols import load_protocol
from src_core.protocols.base import Protocol
from src_core.protocols.chat import Chat
from src_core.protocols.records import ChatTurn, Layout, PromptStyle
from src_train.config import DataFile
from src_train.packing import REF_LOGPROBS, Values, loss_mask, pack

_NAMED = 3  # rows named in a message
T = TypeVar("T")


class TrainRow(NamedTuple):
    """One encoded sequence and its origin (`file:place`). `values`: further float32 values of each token, by
    name (see `packing.join`). `format`: the protocol of its text, "" where the file does not name it.
    `policy_version`: for a rollout, the number of the weights that sampled it.
    """

    place: str
    encoded: Encoded
    values: Values = MappingProxyType({})
    format: str = ""
    policy_version: int | None = None


class Rows(NamedTuple):
    """The rows to train on, and the places and lengths of those that were dropped because they are too long.
    `together` consecutive rows belong together (2: the chosen and the rejected side of a pair): they are
    always in one pack.
    """

    rows: list[TrainRow]
    too_long: list[tuple[str, int]]
    together: int = 1

    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [len(row.encoded.ids) for row in self.rows]

    def packs(self, capacity: int) -> list[list[int]]:
        """The rows (by index) of each sequence of at most `capacity` tokens; with 0 each sequence is one row,
        or one group of rows that belong together.
        """
        lengths = self.lengths()
        units = [range(at, at + self.together) for at in range(0, len(lengths), self.together)]
        sizes = [sum(lengths[at] for at in unit) for unit in units]
        packs = pack(sizes, capacity) if capacity else [[number] for number in range(len(units))]
        return [[at for number in one for at in units[number]] for one in packs]

    def formats(self) -> set[str]:
        """The protocols of the rows."""
        return {row.format for row in self.rows}

    def digest(self) -> str:
        """A hash of all ids, loss masks and values in their order; a resumed run must have the same."""
        hashed = hashlib.sha256()
        for row in self.rows:
            hashed.update(len(row.encoded.ids).to_bytes(8, "little"))
            hashed.update(row.encoded.ids.tobytes())
            hashed.update(np.packbits(row.encoded.trainable).tobytes())
            for name in sorted(row.values.keys() - {REF_LOGPROBS}):  # which follow from the rest
                hashed.update(name.encode() + row.values[name].tobytes())
        return hashed.hexdigest()[:16]


class _Sample(NamedTuple):
    """The text of one row: a whole conversation, or one step of it with its history."""

    place: str
    format: str
    turns: list[ChatTurn]


class Limit(NamedTuple):
    """The handling of rows with more than `max_length` tokens: they are dropped, or the run ends."""

    max_length: int
    drop: bool

    def keeps(self, row: TrainRow, too_long: list[tuple[str, int]]) -> bool:
        """Whether `row` is short enough; a dropped row is added to `too_long`. Raises `UserError` for a row
        that ends the run.
        """
        length = len(row.encoded.ids)
        if length <= self.max_length:
            return True
        if not self.drop:
            raise UserError(
                f"{row.place} has {length} tokens, more than max_length={self.max_length};"
                " raise it or set on_long=drop"
            )
        too_long.append((row.place, length))
        return False


def no_progress() -> None:
    """The callback per row where no progress is shown."""


def read_rows(
    files: Sequence[DataFile],
    encoder: ChatTokenizer,
    style: PromptStyle,
    *,
    max_length: int,
    drop_long: bool,
    seed: int,
    on_row: Callable[[], None] = no_progress,
) -> Rows:
    """All rows of `files`, encoded; `on_row` is called after each. Raises `UserError` naming file and row for
    one that cannot be trained on, and for one with more than `max_length` tokens unless `drop_long`.
    """
    rows: list[TrainRow] = []
    too_long: list[tuple[str, int]] = []
    limit = Limit(max_length, drop_long)
    for file in files:
        for sample in _sampled(file, style, seed):
            encoded = encode_at(sample.place, sample.turns, encoder)
            row = TrainRow(sample.place, encoded, format=sample.format)
            if limit.keeps(row, too_long):
                rows.append(row)
            on_row()
    require_rows(rows, files)
    return Rows(rows, too_long)


def require_rows(rows: Sequence[TrainRow], files: Sequence[DataFile]) -> None:
    """Raises `UserError` when there are no rows."""
    if rows:
        return
    named = ", ".join(file.path for file in files)
    raise UserError(
        f"nothing to train on in {named}" if named else "nothing to train on; name files: train=[{path: …}]"
    )


def draw(file: DataFile, items: Iterable[T], seed: int) -> Iterable[T]:
    """`n` of the items of `file`, the same ones for every run with this seed, in their order; all for -1."""
    if file.n < 0:
        return items
    read = list(items)
    picked = random.Random(f"{seed}/{file.path}").sample(range(len(read)), min(file.n, len(read)))
    return [read[at] for at in sorted(picked)]


def _sampled(file: DataFile, style: PromptStyle, seed: int) -> Iterator[_Sample]:
    """The drawn samples of a file, laid out by the protocol of each row. The prompt style of the run applies
    to the loop's conversations only: plain conversations (general data, the reader's rows) get no system
    turn.
    """
    conversations: Iterable[Conversation] = read_conversations(Path(file.path), default_format=file.format)
    if file.min_searches:
        conversations = (each for each in conversations if _searches(each) >= file.min_searches)
    for conversation in draw(file, conversations, seed):
        place = f"{file.path}:{conversation.place}"
        if conversation.problem:
            raise UserError(
                f"{place} cannot be trained on: no conversation of the format {conversation.format}: "
                f"{conversation.problem}{_hint(conversation)}; correct or remove that row"
            )
        protocol = protocol_of(conversation.format, style)
        for number, sample in enumerate(protocol.samples(conversation.messages), start=1):
            several = protocol.layout is Layout.HISTORY_IN_USER_TURN
            yield _Sample(f"{place}, step {number}" if several else place, conversation.format, sample)


def protocol_of(name: str, style: PromptStyle) -> Protocol:
    """The protocol of a row, with the run's prompt style unless it is a plain conversation. Raises
    `UserError` for an unknown one.
    """
    return load_protocol(name, None if name == Chat.name else style)


def _searches(conversation: Conversation) -> int:
    return sum(turn.get("role") == "observation" for turn in conversation.messages)


def _hint(conversation: Conversation) -> str:
    """A hint for a row that is not of the configured format."""
    plain = not plain_protocol(Chat.name).check(conversation.messages)
    return "; set format: chat for a file of plain conversations" if plain else ""


def encode_at(
    place: str, turns: Sequence[ChatTurn], tokenizer: ChatTokenizer, *, unfinished: bool = False
) -> Encoded:
    """Ids and loss mask of a conversation, or of one whose last turn is `unfinished`. Raises `UserError`
    naming `place` for a conversation that the chat template cannot represent.
    """
    try:
        return tokenizer.encode(turns, unfinished=unfinished)
    except (EncodeError, ValueError) as error:
        raise UserError(f"{place}: {error}; correct or remove that row") from error


class LengthReport(NamedTuple):
    """The counts of the data check: rows, tokens, trained tokens, and the lengths of rows."""

    rows: int
    tokens: int
    trained: int
    shortest: int
    median: int
    longest: int
    dropped: int


def length_report(made: Rows) -> LengthReport:
    """Counts over all rows."""
    lengths = sorted(made.lengths())
    trained = sum(int(loss_mask(row.encoded).sum()) for row in made.rows)
    return LengthReport(
        len(lengths),
        sum(lengths),
        trained,
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
