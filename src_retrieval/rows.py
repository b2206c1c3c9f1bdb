"""One corpus row as text, and what may be wrong with it. Pure functions; the file handling is in
`corpus.py`.
"""

from __future__ import annotations

import csv
import hashlib
from enum import StrEnum
from typing import NamedTuple

import orjson

from src_core.types import Passage, title_of


class CorpusFormat(StrEnum):
    """How one row is laid out."""

    JSONL = "jsonl"
    TSV = "tsv"


class Row(NamedTuple):
    """A parsed row. `plain`: the line is exactly `{"id": text, "contents": text}` and can be sent as it
    is.
    """

    id: str
    contents: str
    plain: bool


class RowError(ValueError):
    """A malformed row; the message is a clause without file name and line, which the reader adds."""


TSV_COLUMNS = ("id", "text", "title")


def parse_jsonl(line: bytes, row: int) -> Row:
    """A JSONL row; a missing id becomes `row` (counted from 0). Raises `RowError`."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise RowError(f"not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise RowError(f"expected a JSON object, found {type(value).__name__}")
    given = value.get("id", row)
    if isinstance(given, bool) or not isinstance(given, str | int) or given == "":
        raise RowError(f"the id must be a non-empty text or a number, found {given!r}")
    contents = value.get("contents")
    plain = len(value) == 2 and isinstance(value.get("id"), str)
    if contents is None:
        plain = False
        contents = _joined(value.get("title", ""), value.get("text"))
    if not isinstance(contents, str):
        raise RowError(f"'contents' must be text, found {type(contents).__name__}")
    if not contents.strip():
        raise RowError("the passage is empty")
    return Row(str(given), contents, plain)


def parse_tsv(line: bytes, columns: tuple[str, ...]) -> Row:
    """A DPR row under a header of `columns`. Raises `RowError`."""
    fields = _split_tsv(line)
    if len(fields) != len(columns):
        raise RowError(f"expected {len(columns)} tab-separated fields, found {len(fields)}")
    values = dict(zip(columns, fields, strict=True))
    if not values["id"]:
        raise RowError("the id is empty")
    if not values["text"].strip():
        raise RowError("the passage is empty")
    return Row(values["id"], _joined(values["title"], values["text"]), plain=False)


def parse_tsv_header(line: bytes) -> tuple[str, ...]:
    """The column names of a DPR file. Raises `RowError` unless they are id, text and title in some
    order.
    """
    columns = tuple(name.strip() for name in _split_tsv(line.removeprefix(b"\xef\xbb\xbf")))
    if sorted(columns) != sorted(TSV_COLUMNS):
        raise RowError(f"expected a header of {', '.join(TSV_COLUMNS)} separated by tabs, found {columns!r}")
    return columns


def to_passage(row: Row) -> Passage:
    """The row as the record that the other rooms use."""
    return Passage(id=row.id, title=title_of(row.contents), contents=row.contents)


def id_hash(row_id: str) -> int:
    """64 bits of an id, stable across runs and machines."""
    return int.from_bytes(hashlib.blake2b(row_id.encode(), digest_size=8).digest(), "little")


def _joined(title: object, text: object) -> str:
    if not isinstance(text, str):
        raise RowError("a row needs 'contents', or 'title' and 'text', as text")
    if not isinstance(title, str):
        raise RowError(f"'title' must be text, found {type(title).__name__}")
    return f"{' '.join(title.split())}\n{text}" if title.strip() else text


def _split_tsv(line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode("utf-8").rstrip("\r\n")], delimiter="\t", strict=True), [])
    except UnicodeDecodeError as error:
        raise RowError(f"not valid UTF-8 at byte {error.start}") from error
    except csv.Error as error:
        raise RowError(f"not a tab-separated row ({error})") from error
