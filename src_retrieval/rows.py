"""Parsing of one corpus row, with its possible errors. Pure functions; the file handling is in
`corpus.py` and `unpack.py`.

Of the known keys the first that a row has is used: `ID_KEYS`, `TEXT_KEYS`, `TITLE_KEYS`. A row without a
known id key is numbered, and one without a title key has no title, unless another of its keys looks like one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from src_core.json_rows import MAX_ROW, parsed, shown_keys
from src_core.types import Passage, title_of


class CorpusFormat(StrEnum):
    """The layout of a row."""

    JSONL = "jsonl"
    TSV = "tsv"


class Row(NamedTuple):
    """A parsed row. `plain`: the line is exactly `{"id": text, "contents": text}` and can be sent
    unchanged. `key` is the key of the id, "" where the id is the row's number.
    """

    id: str
    contents: str
    plain: bool
    key: str


class RowError(ValueError):
    """A malformed row; the message is a clause without file name and line, which the reader adds."""


# This project and FlashRAG, BEIR, MS MARCO, DPR, Pyserini, TREC. Keys of a passage come before those of the
# document that it is a part of.
ID_KEYS = ("id", "_id", "pid", "passage_id", "psg_id", "chunk_id", "docid", "doc_id", "docno", "document_id")
TEXT_KEYS = (
    "contents", "text", "content", "passage", "passage_text", "paragraph_text", "paragraph", "segment",
    "body", "abstract",
)  # fmt: skip
TITLE_KEYS = ("title", "wikipedia_title", "page_title")
# wiki-id, articleId; ID, docno, Index, #.
_LIKE_AN_ID = re.compile(r"(?:^|[_\-. :])(?:id|idx|guid|uuid)$|[a-z](?:Id|ID|Idx)$")
_LONE_ID = re.compile(
    r"(?:[a-z]|doc|document|psg|passage|chunk|page|article|wiki|para)?(?:id|idx|no)"
    r"|key|index|identifier|guid|uuid|#"
)
# Title, doc_title, articleTitle, headline.
_LIKE_A_TITLE = re.compile(
    r"(?:(?:doc|document|article|page|wiki|passage|paper)_?)?(?:titles?|heading|headline)"
)
# A field of a TSV line with its end: quoted, with doubled quotes inside, or bare.
_FIELD = re.compile(r'(?:"((?:[^"]++|"")*+)"|((?!")[^\t]*+))(?=\t|\Z)')


def parse_jsonl(line: bytes, row: int) -> Row:
    """A JSONL row; a missing id becomes `row` (counted from 0). Raises `RowError`."""
    value, problem = parsed(line)
    if problem:
        raise RowError(problem)
    if not isinstance(value, dict):
        raise RowError(f"expected a JSON object, found {type(value).__name__}")
    key, contents = value.get("id"), value.get("contents")
    if len(value) == 2 and isinstance(key, str) and key and isinstance(contents, str) and contents.strip():
        return Row(key, contents, plain=True, key="id")
    return parse_row(value, row)


def parse_row(value: dict[str, Any], row: int) -> Row:
    """The row in an object; a missing id becomes `row`. Raises `RowError`."""
    key = _id_key(value)
    given = value[key] if key else row
    if isinstance(given, bool) or not isinstance(given, str | int) or given == "":
        raise RowError(f"the id under {key!r} must be a text or a whole number, found {given!r:.60}")
    text_key = next((name for name in TEXT_KEYS if value.get(name) is not None), "")
    title = _title(_given_title(value))
    if not text_key:
        raise RowError(f"no 'contents' and no 'text'; its keys are {shown_keys(value)}")
    return Row(str(given), _joined(title, _text(value[text_key], text_key, title)), plain=False, key=key)


def parse_tsv(line: bytes, columns: Sequence[str]) -> Row:
    """A DPR row under a header of `columns`. Raises `RowError`."""
    fields = _split_tsv(line)
    if len(fields) != len(columns):
        raise RowError(f"expected {len(columns)} tab-separated fields, found {len(fields)}")
    return parse_row(dict(zip(columns, fields, strict=True)), 0)


def parse_tsv_header(line: bytes) -> tuple[str, ...]:
    """The column names of a TSV file. Raises `RowError` unless there is one each for id and text."""
    columns = tuple(name.strip() for name in _split_tsv(line.removeprefix(b"\xef\xbb\xbf")))
    if not set(columns) & set(ID_KEYS) or not set(columns) & set(TEXT_KEYS):
        raise RowError(
            f"expected a header of id, text and title separated by tabs, found {shown_keys(columns)}"
        )
    if len(set(columns)) < len(columns):
        raise RowError(f"two columns have one name: {shown_keys(columns)}")
    return columns


def require_same_key(row: Row, key: str) -> None:
    """Raises `RowError` for a row whose id is under another key than that of the first row, since the ids of
    one corpus are of one kind.
    """
    if row.key != key:
        ours, theirs = (f"its id is under {name!r}" if name else "it has no id" for name in (row.key, key))
        raise RowError(f"{ours}; of the first row, {theirs}; use one key for all")


def to_passage(row: Row) -> Passage:
    """The row as the record of the other packages."""
    return Passage(id=row.id, title=title_of(row.contents), contents=row.contents)


def id_hash(row_id: str) -> int:
    """64 bits of an id, stable across runs and machines."""
    return int.from_bytes(hashlib.blake2b(row_id.encode(), digest_size=8).digest(), "little")


def _id_key(value: dict[str, Any]) -> str:
    for name in ID_KEYS:
        if name in value:
            return name
    odd = next((name for name in value if _LIKE_AN_ID.search(name) or _LONE_ID.fullmatch(name.lower())), None)
    if odd is not None:
        raise RowError(f"no 'id', but {odd!r:.60} looks like one; rename that key to 'id', or remove it")
    return ""


def _given_title(value: dict[str, Any]) -> Any:
    known = [value[name] for name in TITLE_KEYS if name in value]
    if not known:
        odd = next((name for name in value if value[name] and _LIKE_A_TITLE.fullmatch(name.lower())), None)
        if odd is not None:
            raise RowError(
                f"no 'title', but {odd!r:.60} looks like one; rename that key to 'title', or remove it"
            )
    return next((title for title in known if title is not None), "")


def _title(given: Any) -> str:
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise RowError(f"'title' must be text, found {type(given).__name__}")
    return " ".join(str(given).split())


def _text(given: Any, key: str, title: str) -> str:
    """The text of a row; a list of sentences or paragraphs is joined (HotpotQA's abstracts, and KILT, where
    the title is the first of them).
    """
    if isinstance(given, list) and all(isinstance(part, str) for part in given):
        parts = [part.strip() for part in given if part.strip()]
        return " ".join(parts[1:] if parts[:1] == [title] else parts)
    if not isinstance(given, str):
        raise RowError(f"{key!r} must be text, found {type(given).__name__}")
    return given


def _joined(title: str, text: str) -> str:
    """The title as the first line, unless it is the first line of `text` already; a row may be a title
    alone (BEIR).
    """
    if not text.strip():
        if title:
            return title
        raise RowError("the passage is empty")
    first = title_of(text)
    return text if not title or title.strip('"') == " ".join(first.split()) else f"{title}\n{text}"


def _split_tsv(line: bytes) -> list[str]:
    """The fields of one line, quoted as in CSV where they begin with a quote. Own code: the csv module limits
    the length of a field for the whole process.
    """
    if len(line) > MAX_ROW:
        raise RowError(f"longer than {MAX_ROW >> 20} MiB")
    try:
        text = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise RowError(f"not valid UTF-8 at byte {error.start}") from error
    if '"' not in text:
        return text.split("\t")
    fields: list[str] = []
    at = 0
    while True:
        field = _FIELD.match(text, at)
        if field is None:
            raise RowError(
                f"not a tab-separated row (field {len(fields) + 1} has a quote that is not closed)"
            )
        quoted, bare = field.groups()
        fields.append(bare if quoted is None else quoted.replace('""', '"'))
        at = field.end() + 1
        if at > len(text):
            return fields
