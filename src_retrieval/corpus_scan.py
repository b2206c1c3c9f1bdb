"""The validating pass over a corpus, once: it writes offsets and hashed ids beside the index, with which
every later start opens the corpus without reading it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from src_core.errors import UserError
from src_core.json_rows import lines
from src_core.opener import BOM, Advance
from src_retrieval.npyfile import NpyAppender, save_npy
from src_retrieval.rows import (
    CorpusFormat,
    RowError,
    id_hash,
    parse_jsonl,
    parse_tsv,
    parse_tsv_header,
    require_same_key,
)
from src_retrieval.unpack import TSV, PlainFile

LOG = logging.getLogger("src_retrieval")
REPORT_EVERY = 1 << 24


@dataclasses.dataclass(frozen=True, slots=True)
class CorpusInfo:
    """The result of the validating pass. `plain`: every row can be sent as its bytes. `size` and `mtime_ns`
    are a fast check that the file has not changed, `sha256` is an exact one.
    """

    format: CorpusFormat
    columns: tuple[str, ...]
    rows: int
    sha256: str
    size: int
    mtime_ns: int
    plain: bool


@dataclasses.dataclass(frozen=True, slots=True)
class CorpusCache:
    """The files beside an index with which its corpus opens without a scan."""

    folder: Path

    @property
    def info(self) -> Path:
        """`CorpusInfo` as JSON, written last."""
        return self.folder / "corpus.json"

    @property
    def offsets(self) -> Path:
        """uint64 [rows]: where each row starts."""
        return self.folder / "corpus.offsets.npy"

    @property
    def hashes(self) -> Path:
        """uint64 [rows]: hashed ids, ascending."""
        return self.folder / "corpus.hashes.npy"

    @property
    def hash_rows(self) -> Path:
        """int64 [rows]: the row that each hash belongs to."""
        return self.folder / "corpus.hash_rows.npy"


def scan(file: PlainFile, cache: CorpusCache) -> CorpusInfo:
    """Validate every row; write offsets and hashed ids. Raises `UserError` (file and line) for a malformed
    row, and for a corpus without rows.
    """
    path, stat = file.path, file.path.stat()
    fmt = CorpusFormat.TSV if path.suffix.lower() == TSV else CorpusFormat.JSONL
    digest = hashlib.sha256()
    columns: tuple[str, ...] = ()
    key: str | None = None
    rows, plain = 0, True
    partial = cache.folder / "corpus.unsorted.npy"
    cache.info.unlink(missing_ok=True)
    with (
        path.open("rb") as handle,
        NpyAppender(cache.offsets, "<u8") as offsets,
        NpyAppender(partial, "<u8") as ids,
    ):
        for number, start, line in _lines(handle, file.advance):
            digest.update(line)
            if not number or not line.strip():
                continue
            try:
                if fmt is CorpusFormat.TSV and not columns:
                    columns = parse_tsv_header(line)
                    continue
                row = parse_jsonl(line, rows) if fmt is CorpusFormat.JSONL else parse_tsv(line, columns)
                key = row.key if key is None else key
                require_same_key(row, key)
            except RowError as error:
                raise UserError(
                    f"{file.source}, line {number}: {error}; correct or remove that line"
                ) from error
            offsets.append(start)
            ids.append(id_hash(row.id))
            rows, plain = rows + 1, plain and row.plain
    if rows == 0:
        raise UserError(f"{file.source} holds no passage; give a file with at least one row")
    if not key:
        LOG.warning("the rows of %s have no ids: their numbers from 0 are used", file.source)
    _sort_ids(partial, cache)
    return CorpusInfo(fmt, columns, rows, digest.hexdigest(), stat.st_size, stat.st_mtime_ns, plain)


def _lines(handle: BinaryIO, advance: Advance) -> Iterator[tuple[int, int, bytes]]:
    """(line number from 1, byte offset, line) for each line; a byte order mark comes first, as line 0."""
    start, reported = 0, 0
    if handle.read(len(BOM)) == BOM:
        yield 0, 0, BOM
        start = len(BOM)
    handle.seek(start)
    for number, line in enumerate(lines(handle), start=1):
        yield number, start, line
        start += len(line)
        if start - reported >= REPORT_EVERY:
            advance(start - reported)
            reported = start
    advance(start - reported)


def _sort_ids(partial: Path, cache: CorpusCache) -> None:
    hashes: NDArray[np.uint64] = np.load(partial)
    order = np.argsort(hashes, kind="stable")
    save_npy(cache.hash_rows, order.astype("<i8"))
    save_npy(cache.hashes, hashes[order])
    partial.unlink()
