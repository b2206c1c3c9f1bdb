"""Rows of files, one at a time: JSONL, JSON arrays (also inside an object, as TriviaQA's `{"Data": [...]}`),
TSV and CSV tables with a header, each plain or `.gz`, and Parquet.

One row is in memory at a time: HotpotQA's training file is one JSON array of 560 MB, and some publishers ship
several times that. A line or table row that cannot be read is returned with its problem, for the caller to
report; a truncated file (an incomplete download, a damaged archive) is always a `UserError`, since the rest
of its rows is lost.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import ijson  # type: ignore[import-untyped]
import orjson

from src_core.errors import UserError

TABLES = {".tsv": "\t", ".csv": ","}
_BOM = b"\xef\xbb\xbf"
_FIRST_LINE = 1 << 24
_PARQUET_ROWS = 256


class RawRow(NamedTuple):
    """A row of a file. `place` is "line 7" or "row 7"; `problem` is the reason why there is no value."""

    place: str
    value: Any
    problem: str = ""


def file_rows(path: Path, *, columns: Sequence[str] = ()) -> Iterator[RawRow]:
    """The rows of a local file, whose kind is detected from its name and first characters. `columns` are the
    names of a table's columns where it has no header. Raises `UserError` for a file that is missing,
    truncated or of no known kind.
    """
    if not path.is_file():
        raise UserError(f"no such file: {path}; check the path")
    kind = _kind_of(path)
    try:
        if kind == ".parquet":
            yield from _parquet_rows(path)
            return
        with _opened(path) as handle:
            if kind in TABLES:
                yield from _table_rows(handle, TABLES[kind], columns)
            else:
                yield from _json_rows(handle, path, kind)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is not a complete .gz file ({error}); download it again") from error
    except OSError as error:
        raise UserError(f"could not read {path}: {error.strerror}; check the file and its rights") from error
    except ijson.JSONError as error:
        raise UserError(
            f"{path} cannot be read as JSON ({_first_line(error)}); download it again or correct it"
        ) from error


def first_cells(path: Path) -> list[str]:
    """The first row of a table, header or not; [] for any other file, and for one that cannot be read (which
    `file_rows` reports).
    """
    kind = _kind_of(path)
    if kind not in TABLES:
        return []
    try:
        with _opened(path) as handle:
            rows = csv.reader(_text(handle), delimiter=TABLES[kind])
            return next((cells for cells in rows if any(cells)), [])
    except (OSError, EOFError, zlib.error, csv.Error):
        return []


def _kind_of(path: Path) -> str:
    """The suffix that gives the kind of a file, without a final `.gz`."""
    return Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed if it ends in `.gz`, without a byte order mark."""
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    with cast("BinaryIO", opener(path, "rb")) as handle:
        if handle.read(len(_BOM)) != _BOM:
            handle.seek(0)
        yield handle


def _json_rows(handle: BinaryIO, path: Path, kind: str) -> Iterator[RawRow]:
    start = handle.tell()
    if kind == ".jsonl":
        yield from _line_rows(handle)
        return
    line = b"\n"
    while line and not line.strip():
        line = handle.readline(_FIRST_LINE)
    handle.seek(start)
    if not line.strip():
        raise UserError(f"{path} is empty; give a file with rows as JSON")
    if line.lstrip().startswith(b"["):
        yield from _array_rows(handle, "item")
    elif _is_row(line):
        yield from _line_rows(handle)
    else:
        prefix = _array_inside(handle)
        if prefix is None:
            raise UserError(
                f"{path} holds neither a JSON array of rows nor one row per line; rewrite it as one of these"
            )
        handle.seek(start)
        yield from _array_rows(handle, prefix)


def _line_rows(handle: BinaryIO) -> Iterator[RawRow]:
    for number, line in enumerate(handle, start=1):
        if not line.strip():
            continue
        try:
            yield RawRow(f"line {number}", orjson.loads(line))
        except orjson.JSONDecodeError as error:
            yield RawRow(f"line {number}", None, f"not valid JSON ({error})")


def _array_rows(handle: BinaryIO, prefix: str) -> Iterator[RawRow]:
    for number, value in enumerate(ijson.items(handle, prefix, use_float=True), start=1):
        yield RawRow(f"row {number}", value)


def _is_row(line: bytes) -> bool:
    """Whether a first line is one row, and not (the start of) an object around the rows."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) and "Data" not in value


def _array_inside(handle: BinaryIO) -> str | None:
    """The ijson prefix of the items of the first list directly inside a JSON object."""
    for prefix, event, _ in ijson.parse(handle):
        if event == "start_array" and prefix and "." not in prefix:
            return f"{prefix}.item"
    return None


def _text(handle: BinaryIO) -> io.TextIOWrapper:
    """The file as text. Bytes that are not UTF-8 become surrogates, which valid text never holds."""
    return io.TextIOWrapper(handle, encoding="utf-8", errors="surrogateescape", newline="")


def _table_rows(handle: BinaryIO, delimiter: str, columns: Sequence[str]) -> Iterator[RawRow]:
    """Rows under a header, or all rows of a table whose columns are named here."""
    reader = csv.reader(_text(handle), delimiter=delimiter, strict=True)
    header = list(columns) or None
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield RawRow(f"line {first}", None, f"not a row of the table ({error})")
            continue
        if not any(cells):
            continue
        if header is None:
            header = [name.strip() for name in cells]
            continue
        yield _table_row(f"line {first}", header, cells)


def _table_row(place: str, header: list[str], cells: list[str]) -> RawRow:
    if len(cells) != len(header):
        return RawRow(place, None, f"expected {len(header)} cells, found {len(cells)}")
    if any("\udc80" <= char <= "\udcff" for cell in cells for char in cell if not char.isascii()):
        return RawRow(place, None, "not valid UTF-8")
    return RawRow(place, dict(zip(header, cells, strict=True)))


def _parquet_rows(path: Path) -> Iterator[RawRow]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise UserError(
            f"reading {path} needs the package pyarrow; install it with pip install pyarrow"
        ) from error
    try:
        number = 0
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=_PARQUET_ROWS):
            for row in batch.to_pylist():
                number += 1
                yield RawRow(f"row {number}", row)
    except (ArrowException, OSError) as error:
        raise UserError(
            f"{path} is not a complete Parquet file ({_first_line(error)}); download it again"
        ) from error


def _first_line(error: Exception) -> str:
    """The first line of an error's text (ijson gives some texts as bytes)."""
    text = error.args[0] if error.args else ""
    plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return next((line.strip() for line in plain.splitlines() if line.strip()), type(error).__name__)
