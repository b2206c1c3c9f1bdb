"""The plain file that a corpus is read from at random.

JSONL and TSV are their own plain file. A packed file, a JSON array, a table or a Parquet file has no rows at
fixed places: it is unpacked once into the folder of the index, row by row, and the copy is used as long as
the source is the same (size and time, else SHA-256).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import orjson
from pydantic import TypeAdapter, ValidationError

from src_core.errors import UserError
from src_core.json_rows import lines
from src_core.jsonl import write_atomic
from src_core.opener import Advance, bare_suffix, opened, packing_of
from src_core.rowfiles import Kind, RawRow, file_rows, kind_of
from src_retrieval.rows import (
    Row,
    RowError,
    parse_row,
    parse_tsv,
    parse_tsv_header,
    require_same_key,
)

TSV = ".tsv"
_BLOCK = 1 << 20
_SPARE = 1 << 26
"""Between two looks at the disk so much is written; it has to have as much left."""


class PlainFile(NamedTuple):
    """`path` is read; `source` is the file that the user named. `unit` is what a row of `path` is called in
    `source`: "line" or "row". `advance` is for reading `path`.
    """

    path: Path
    source: Path
    unit: str
    advance: Advance


@dataclasses.dataclass(frozen=True, slots=True)
class CopyInfo:
    """The source of a copy, and the size of the copy: another size is that of an incomplete one."""

    size: int
    mtime_ns: int
    sha256: str
    copy_size: int


def plain_file(path: Path, cache_dir: Path, advance: Advance | None = None) -> PlainFile:
    """The plain file of a corpus; a copy is written into `cache_dir` where there is none yet. `advance`
    receives bytes of the source, half of them while it is unpacked. Raises `UserError`.
    """
    report = advance or (lambda _: None)
    kind = _kind(path)
    if kind is None:
        return PlainFile(path, path, "line", report)
    size = path.stat().st_size
    copy = _copy(path, cache_dir)
    done = _present(path, copy)
    if done is None:
        done = _write(path, kind, copy, _scaled(report, 0.5))
        scan = _scaled(report, 0.5 * size / max(done.copy_size, 1))
    else:
        scan = _scaled(report, size / max(done.copy_size, 1))
    return PlainFile(copy, path, "line" if kind is Kind.LINES else "row", scan)


def present_file(path: Path, cache_dir: Path) -> Path | None:
    """The plain file of a corpus without writing one: None where the copy is missing or of another source.
    Raises `UserError` for a file that cannot be a corpus.
    """
    if _kind(path) is None:
        return path
    copy = _copy(path, cache_dir)
    return copy if _present(path, copy) is not None else None


def corpus_rows(path: Path, *, advance: Advance | None = None) -> Iterator[Row]:
    """The rows of a corpus of any kind, in order. Raises `UserError` naming file and place."""
    key: str | None = None
    for number, (place, parse) in enumerate(_rows(path, advance)):
        try:
            row = parse(number)
            key = row.key if key is None else key
            require_same_key(row, key)
        except RowError as error:
            raise UserError(f"{path}, {place}: {error}; correct or remove that row") from error
        yield row


def _copy(path: Path, cache_dir: Path) -> Path:
    return cache_dir / f"corpus.unpacked{TSV if bare_suffix(path) == TSV else '.jsonl'}"


def _kind(path: Path) -> Kind | None:
    """The kind of a file that has to be unpacked; None for a plain one."""
    if bare_suffix(path) == TSV:
        with opened(path):  # refuses what holds no rows
            return Kind.LINES if packing_of(path) else None
    kind = kind_of(path)
    return None if kind is Kind.LINES and not packing_of(path) else kind


def _rows(path: Path, advance: Advance | None) -> Iterator[tuple[str, Callable[[int], Row]]]:
    """Each row's place, and the function that parses it with its number."""
    if bare_suffix(path) != TSV:
        for raw in file_rows(path, advance=advance):
            yield raw.place, partial(_parsed, raw)
        return
    columns: tuple[str, ...] = ()
    with opened(path, advance=advance) as handle:
        for number, line in enumerate(lines(handle), start=1):
            if not line.strip():
                continue
            if columns:
                yield f"line {number}", partial(_tsv, line, columns)
                continue
            try:
                columns = parse_tsv_header(line)
            except RowError as error:
                raise UserError(f"{path}, line {number}: {error}; correct that line") from error


def _tsv(line: bytes, columns: tuple[str, ...], number: int) -> Row:  # noqa: ARG001 - called as `_parsed` is
    return parse_tsv(line, columns)


def _parsed(raw: RawRow, number: int) -> Row:
    if raw.problem:
        raise RowError(raw.problem)
    if not isinstance(raw.value, dict):
        raise RowError(f"expected a JSON object, found {type(raw.value).__name__}")
    return parse_row(raw.value, number)


def _present(path: Path, copy: Path) -> CopyInfo | None:
    """What is known of a copy that is complete and of this source."""
    note = _note(copy)
    if not note.is_file() or not copy.is_file():
        return None
    try:
        info = TypeAdapter(CopyInfo).validate_json(note.read_bytes())
    except ValidationError:
        return None
    stat = path.stat()
    if copy.stat().st_size != info.copy_size or stat.st_size != info.size:
        return None
    same = stat.st_mtime_ns == info.mtime_ns or _sha256(path) == info.sha256
    return info if same else None


def _note(copy: Path) -> Path:
    return copy.with_name("corpus.source.json")


def _write(path: Path, kind: Kind, copy: Path, advance: Advance) -> CopyInfo:
    before = path.stat()
    partial = copy.with_name(copy.name + ".tmp")
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        _note(copy).unlink(missing_ok=True)
        with partial.open("wb") as handle:
            for block in _checked(_blocks(path, kind, advance), path, copy.parent):
                handle.write(block)
        sha256, after = _sha256(path), path.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise UserError(f"{path} was changed while it was being read; run this again")
        info = CopyInfo(after.st_size, after.st_mtime_ns, sha256, partial.stat().st_size)
        partial.replace(copy)
        write_atomic(_note(copy), orjson.dumps(info, option=orjson.OPT_INDENT_2))
    except OSError as error:
        raise UserError(
            f"could not write the unpacked copy of {path} into {copy.parent}: {error.strerror}; free some "
            "space or choose another index folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return info


def _blocks(path: Path, kind: Kind, advance: Advance) -> Iterator[bytes]:
    if kind is not Kind.LINES:
        for row in corpus_rows(path, advance=advance):
            yield orjson.dumps({"id": row.id, "contents": row.contents}) + b"\n"
        return
    with opened(path, advance=advance) as handle:
        while block := handle.read(_BLOCK):
            yield block


def _checked(blocks: Iterable[bytes], path: Path, folder: Path) -> Iterator[bytes]:
    """The blocks, as long as the disk has room for more of them. Raises `UserError`."""
    need, since = path.stat().st_size, _SPARE  # a copy is at least as large as what is packed
    for block in blocks:
        if since >= _SPARE:
            free, since = shutil.disk_usage(folder).free, 0
            if free < need:
                raise UserError(
                    f"the unpacked copy of {path} needs more than the {free / 1e9:.1f} GB that the disk of "
                    f"{folder} has left; free some space or choose another index folder"
                )
            need = _SPARE
        since += len(block)
        yield block


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _scaled(advance: Advance, factor: float) -> Advance:
    """`advance` with every count times `factor`; what is rounded off is added to the next."""
    rest = 0.0

    def scaled(count: int) -> None:
        nonlocal rest
        rest += count * factor
        advance(int(rest))
        rest -= int(rest)

    return scaled
