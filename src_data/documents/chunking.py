"""Blocks become passages: a section is cut at sentences into pieces of a number of characters that overlap by
sentences; a table at its rows, with its first row repeated; a passage never crosses a heading.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

from pydantic import Field

from src_core.config import config_class
from src_core.sentences import split_sentences
from src_data.documents.blocks import Block, BlockKind

PATH_MARK = " > "


@config_class
class Chunking:
    """How documents are cut. `passage_chars` is the most characters of a passage's text, `overlap_chars` the
    most characters of whole sentences that a passage repeats from the one before it in the same section.
    """

    passage_chars: Annotated[int, Field(ge=100, le=20_000)] = 800
    overlap_chars: Annotated[int, Field(ge=0, le=5_000)] = 150


class Chunk(NamedTuple):
    """A passage of a document: the headings above it, its text, its first and last page (0: no pages)."""

    path: tuple[str, ...]
    text: str
    first_page: int
    last_page: int


def chunks(blocks: Sequence[Block], *, settings: Chunking) -> Iterator[Chunk]:
    """The passages of a document in order."""
    section = _Section(settings)
    headings: dict[int, str] = {}
    for block in blocks:
        if block.kind is BlockKind.HEADING:
            yield from section.closed(tuple(headings.values()))
            headings = {level: title for level, title in headings.items() if level < block.level}
            headings[block.level] = block.text
        elif block.kind is BlockKind.TABLE:
            yield from section.closed(tuple(headings.values()))
            for text in _table_parts(block.text, settings.passage_chars):
                yield Chunk(tuple(headings.values()), text, block.page, block.page)
        else:
            section.add(block)
    yield from section.closed(tuple(headings.values()))


class _Unit(NamedTuple):
    """A sentence, or a line of code, that is not cut."""

    text: str
    page: int
    new_line: bool


@dataclass(slots=True)
class _Section:
    """The units of the section that is being read."""

    settings: Chunking
    units: list[_Unit] = field(default_factory=list)

    def add(self, block: Block) -> None:
        """Append the sentences of a text, or the lines of code."""
        code = block.kind is BlockKind.CODE
        for number, part in enumerate(block.text.split("\n") if code else split_sentences(block.text)):
            for piece in _bounded(part, self.settings.passage_chars):
                self.units.append(_Unit(piece, block.page, new_line=code or number == 0))

    def closed(self, path: tuple[str, ...]) -> Iterator[Chunk]:
        """The passages of the section, which is then empty."""
        held: list[_Unit] = []
        for unit in self.units:
            if held and _size(held) + len(unit.text) + 1 > self.settings.passage_chars:
                yield _chunk(path, held)
                held = self._overlap(held, room=self.settings.passage_chars - len(unit.text) - 1)
            held.append(unit)
        if held:
            yield _chunk(path, held)
        self.units = []

    def _overlap(self, held: Sequence[_Unit], *, room: int) -> list[_Unit]:
        """The last whole units that the next passage repeats."""
        kept: list[_Unit] = []
        most = min(self.settings.overlap_chars, room)
        for unit in reversed(held[1:]):
            if _size(kept) + len(unit.text) + 1 > most:
                break
            kept.insert(0, unit)
        return kept


def _size(units: Sequence[_Unit]) -> int:
    return sum(len(unit.text) + 1 for unit in units)


def _chunk(path: tuple[str, ...], units: Sequence[_Unit]) -> Chunk:
    between = ["", *("\n" if unit.new_line else " " for unit in units[1:])]
    text = "".join(mark + unit.text for mark, unit in zip(between, units, strict=True))
    return Chunk(path, text, units[0].page, units[-1].page)


def _bounded(text: str, most: int) -> Iterator[str]:
    """A sentence or line in pieces of at most `most` characters, cut at a space where there is one."""
    while len(text) > most:
        at = text.rfind(" ", 0, most + 1)
        at = at if at > most // 2 else most
        yield text[:at].rstrip()
        text = text[at:].lstrip()
    if text:
        yield text


def _table_parts(table: str, most: int) -> Iterator[str]:
    """The rows of a table in pieces, each under the table's first row."""
    first, *rows = table.split("\n")
    head = first[: most // 2]
    held: list[str] = []
    size = len(head)
    for piece in (part for row in rows for part in _bounded(row, most - len(head) - 1)):
        if held and size + len(piece) + 1 > most:
            yield "\n".join([head, *held])
            held, size = [], len(head)
        held.append(piece)
        size += len(piece) + 1
    yield "\n".join([head, *held])
