"""Rows of files, one at a time: JSONL, JSON arrays (also inside an object, as TriviaQA's `{"Data": [...]}`),
TSV and CSV tables with a header, each plain or packed (`src_core.opener`), and Parquet.

One row is in memory at a time: HotpotQA's training file is one JSON array of 560 MB, and some publishers ship
several times that. A line or table row that cannot be read is returned with its problem, for the caller to
report; a truncated file (an incomplete download, a damaged archive) is always a `UserError`, since the rest
of its rows is lost.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from src_core.errors import UserError
from src_core.json_rows import NOT_UTF8, JsonError, items, lines, parsed
from src_core.opener import PARQUET, Advance, bare_suffix, opened, reading

TABLES = {".tsv": "\t", ".csv": ","}
MAX_CELL = 1 << 24
"""Characters of a cell: a quote that is never closed takes no more memory than this."""
_FIRST_LINE = 1 << 24
_PARQUET_ROWS = 256
_WRAPPERS = ("Data", "data")


class Kind(StrEnum):
    """The way in which a file holds its rows."""

    LINES = "lines"
    ARRAY = "array"
    TABLE = "table"
    PARQUET = "parquet"


class RawRow(NamedTuple):
    """A row of a file. `place` is "line 7" or "row 7"; `problem` is the reason why there is no value."""

    place: str
    value: Any
    problem: str = ""


def file_rows(
    path: Path, *, columns: Sequence[str] = (), delimiter: str = "", advance: Advance | None = None
) -> Iterator[RawRow]:
    """The rows of a local file, whose kind is detected from its name and first characters. `columns` are the
    names of a table's columns where it has no header, `delimiter` replaces the one that its suffix names,
    `advance` receives the bytes that are read from disk. Raises `UserError` for a file that is missing,
    truncated or of no known kind.
    """
    kind = kind_of(path)
    if kind is Kind.PARQUET:
        yield from _parquet_rows(path, advance or (lambda _: None))
        return
    with opened(path, advance=advance) as handle:
        if kind is Kind.TABLE:
            with _text(handle) as text:
                delimiter = delimiter or TABLES[bare_suffix(path)]
                reader = csv.reader(text, delimiter=delimiter, strict=True)
                yield from _table_rows(reader, path, columns)
        elif kind is Kind.LINES:
            yield from _line_rows(handle)
        else:
            yield from _array_rows(handle, path)


def kind_of(path: Path) -> Kind:
    """The kind of a file, by its first bytes and its suffix. Raises `UserError` for an empty file and one
    that holds no rows of any kind.
    """
    if not path.is_file() and not path.is_dir():
        raise UserError(f"no such file: {path}; check the path")
    with reading(path), path.open("rb") as handle:
        if handle.read(len(PARQUET)) == PARQUET:
            return Kind.PARQUET
    suffix = bare_suffix(path)
    if suffix == ".parquet":
        raise UserError(f"{path} is not a complete Parquet file (its first bytes differ); download it again")
    if suffix in TABLES:
        return Kind.TABLE
    with opened(path) as handle:
        return _json_kind(handle, path, suffix)


def first_cells(path: Path, delimiter: str = "") -> list[str]:
    """The first row of a table, header or not; [] for any other file, and for one that cannot be read (which
    `file_rows` reports).
    """
    suffix = bare_suffix(path)
    if suffix not in TABLES or not path.is_file():
        return []
    try:
        with opened(path) as handle, _text(handle) as text:
            rows = csv.reader(text, delimiter=delimiter or TABLES[suffix])
            return next((cells for cells in rows if any(cells)), [])
    except (UserError, csv.Error):
        return []


def _json_kind(handle: BinaryIO, path: Path, suffix: str) -> Kind:
    line = b"\n"
    while line and not line.strip():
        line = handle.readline(_FIRST_LINE)
    text, value = line.strip(), _loaded(line)
    if text.startswith(b"["):
        bare = isinstance(value, list) and value and not isinstance(value[0], dict)
        return Kind.LINES if bare else Kind.ARRAY
    if isinstance(value, dict):
        return Kind.ARRAY if any(isinstance(value.get(key), list) for key in _WRAPPERS) else Kind.LINES
    if suffix == ".jsonl" and text != b"{":
        return Kind.LINES
    if not text:
        raise UserError(f"{path} is empty; give a file with rows as JSON")
    if text.startswith(b"{"):
        return Kind.ARRAY
    if value is not None:
        raise UserError(f"{path} holds neither a JSON array of rows nor one row per line; rewrite it")
    raise UserError(
        f"{path} cannot be read as JSON (its text begins with {text[:20].decode('utf-8', 'replace')!r}); "
        "name a file of rows as JSONL, JSON, TSV, CSV or Parquet"
    )


def _loaded(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def _line_rows(handle: BinaryIO) -> Iterator[RawRow]:
    for number, line in enumerate(lines(handle), start=1):
        if line.strip():
            yield RawRow(f"line {number}", *parsed(line))


def _array_rows(handle: BinaryIO, path: Path) -> Iterator[RawRow]:
    try:
        for number, item in enumerate(items(handle), start=1):
            yield RawRow(f"row {number}", *item)
    except JsonError as error:
        raise UserError(
            f"{path} cannot be read as JSON ({error}); download it again or correct it"
        ) from error


@contextmanager
def _text(handle: BinaryIO) -> Iterator[io.TextIOWrapper]:
    """The file as text. Bytes that are not UTF-8 become surrogates, which valid text never holds."""
    # The limit of the csv module is one for the whole process; nothing else here reads with it.
    csv.field_size_limit(MAX_CELL)
    text = io.TextIOWrapper(handle, encoding="utf-8", errors="surrogateescape", newline="")
    try:
        yield text
    finally:
        text.detach()


def _table_rows(reader: Any, path: Path, columns: Sequence[str]) -> Iterator[RawRow]:
    """Rows under a header, or all rows of a table whose columns are named here, from a reader of csv. A
    caption above the header (as in exported sheets: text in the first of several cells) is no row.
    """
    header = list(columns) or None
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if header is None:
                raise _no_header(path, first, str(error)) from error
            yield RawRow(f"line {first}", None, f"not a row of the table ({error})")
            continue
        if not any(cells):
            continue
        if header is None:
            header = None if _is_caption(cells) else _header(cells, path, first)
            continue
        yield _table_row(f"line {first}", header, cells)


def _is_caption(cells: list[str]) -> bool:
    return len(cells) > 2 and bool(cells[0].strip()) and not any(cell.strip() for cell in cells[1:])


def _header(cells: list[str], path: Path, line: int) -> list[str]:
    header = [name.strip() for name in cells]
    if not _is_utf8(cells):
        raise _no_header(path, line, NOT_UTF8)
    doubled = next((name for name in header if name and header.count(name) > 1), None)
    if doubled is not None:
        raise UserError(f"{path}, line {line}: two columns are named {doubled!r}; rename or remove one")
    return header


def _no_header(path: Path, line: int, reason: str) -> UserError:
    return UserError(f"{path}, line {line}: the header cannot be read ({reason}); correct that line")


def _is_utf8(cells: Sequence[str]) -> bool:
    return not any("\udc80" <= char <= "\udcff" for cell in cells for char in cell if not char.isascii())


def _table_row(place: str, header: list[str], cells: list[str]) -> RawRow:
    if len(cells) != len(header):
        return RawRow(place, None, f"expected {len(header)} cells, found {len(cells)}")
    if not _is_utf8(cells):
        return RawRow(place, None, NOT_UTF8)
    return RawRow(place, dict(zip(header, cells, strict=True)))


def _parquet_rows(path: Path, advance: Advance) -> Iterator[RawRow]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise UserError(
            f"reading {path} needs the package pyarrow; install it with pip install pyarrow"
        ) from error
    try:
        number = 0
        file = parquet.ParquetFile(path)
        share = path.stat().st_size / max(file.metadata.num_rows, 1)
        for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
            advance(int(share * batch.num_rows))
            for row in batch.to_pylist():
                number += 1
                yield _json_row(f"row {number}", row)
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not a complete Parquet file ({_first_line(error)}); download it again"
        ) from error


def _json_row(place: str, row: dict[str, Any]) -> RawRow:
    """A row with the types of JSON: dates as text, NaN as null; bytes have to be UTF-8."""
    try:
        return RawRow(place, *parsed(orjson.dumps(row, default=_json_value)))
    except (TypeError, UnicodeDecodeError) as error:
        return RawRow(place, None, f"a value that is no JSON ({error})")


def _json_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else str(value)
    raise TypeError(f"a {type(value).__name__}")


def _first_line(error: Exception) -> str:
    """The first line of an error's text."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
