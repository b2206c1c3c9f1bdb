"""A corpus on disk: random access by row and by id, without loading the whole file into memory.

Formats: JSONL rows `{"id", "contents"}` (FlashRAG: the first line of `contents` is the title, often quoted)
or `{"id", "title", "text"}`, with the keys of `rows.py`, and DPR's `psgs_w100.tsv` (header `id text title`,
quoted); other files are unpacked first (`unpack.py`). Rows without ids get their numbers as ids. One
validating pass writes offsets and hashed ids beside the index; later starts map them. Measured elsewhere
at 1.3 us of CPU per parsed row and 0.3 us per raw row, against 12 us for a `datasets` row
(reference/performance.md, section 1.6).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from src_core.errors import UserError
from src_core.jsonl import write_atomic
from src_core.opener import Advance
from src_core.types import Passage
from src_retrieval.corpus_scan import REPORT_EVERY, CorpusCache, CorpusInfo, scan
from src_retrieval.disk import writing_into
from src_retrieval.npyfile import map_npy
from src_retrieval.rows import (
    CorpusFormat,
    Row,
    id_hash,
    parse_jsonl,
    parse_tsv,
    to_passage,
)
from src_retrieval.unpack import PlainFile, plain_file, present_file
from src_retrieval.watch_files import FilesChangedError, OpenFile


class Corpus:
    """An open corpus. Safe to read from several threads. Raises `FilesChangedError` where the file is not the
    one of `info`, at opening and in every later call: the owner of a corpus may rewrite it at any time.
    """

    def __init__(self, path: Path, info: CorpusInfo, cache: CorpusCache) -> None:
        self.path = path
        self.info = info
        self.file = OpenFile(path, sha256=info.sha256)
        if (self.file.size, self.file.mtime_ns) != (info.size, info.mtime_ns):
            raise FilesChangedError(f"{path} was changed while it was being read; run this again")
        self._offsets: NDArray[np.uint64] = map_npy(cache.offsets, "<u8", info.rows)
        self._hashes: NDArray[np.uint64] = map_npy(cache.hashes, "<u8", info.rows)
        self._hash_rows: NDArray[np.int64] = map_npy(cache.hash_rows, "<i8", info.rows)

    def __len__(self) -> int:
        return self.info.rows

    def row(self, number: int) -> Row:
        """Row `number`, counted from 0. Raises IndexError outside the corpus (negative numbers
        included).
        """
        return self._parsed(self._line(number), number)

    def passage(self, number: int) -> Passage:
        """Row `number` as the record of the other packages."""
        return to_passage(self.row(number))

    def document(self, number: int) -> bytes:
        """Row `number` as the wire object `{"id", "contents"}`; the file's own bytes where they have this
        form.
        """
        if self.info.plain:
            return self._line(number)
        row = self.row(number)
        return orjson.dumps({"id": row.id, "contents": row.contents})

    def row_of(self, row_id: str) -> int | None:
        """The row number of an id, or None."""
        wanted = np.uint64(id_hash(row_id))
        at = int(np.searchsorted(self._hashes, wanted))
        while at < len(self) and self._hashes[at] == wanted:
            number = int(self._hash_rows[at])
            if self.row(number).id == row_id:
                return number
            at += 1
        return None

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The row number of each id, -1 for an id that the corpus lacks."""
        wanted = np.fromiter((id_hash(row_id) for row_id in ids), dtype=np.uint64, count=len(ids))
        first = np.minimum(np.searchsorted(self._hashes, wanted), len(self) - 1)
        several = np.searchsorted(self._hashes, wanted, side="right") - first > 1
        rows = np.where(self._hashes[first] == wanted, self._hash_rows[first], -1)
        for at in np.flatnonzero(several):  # two ids of one hash
            row = self.row_of(ids[int(at)])
            rows[at] = -1 if row is None else row
        return rows

    def rows(self, start: int, stop: int) -> list[Row]:
        """Rows `start` to `stop` (exclusive), by one read."""
        lines = self._block(start, min(stop, len(self)))
        return [self._parsed(line, number) for number, line in enumerate(lines, start=start)]

    def contents(self, start: int, stop: int) -> list[str]:
        """The texts of rows `start` to `stop` (exclusive)."""
        return [row.contents for row in self.rows(start, stop)]

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _parsed(self, line: bytes, number: int) -> Row:
        if self.info.format is CorpusFormat.JSONL:
            return parse_jsonl(line, number)
        return parse_tsv(line, self.info.columns)

    def _line(self, number: int) -> bytes:
        if not 0 <= number < self.info.rows:
            raise IndexError(f"row {number} of a corpus with {self.info.rows} rows")
        return self._block(number, number + 1)[0]

    def _block(self, start: int, stop: int) -> list[bytes]:
        """The lines of rows `start` to `stop` (exclusive), by one read."""
        ends = self._offsets[start : stop + 1].tolist()
        if stop == self.info.rows:
            ends.append(self.info.size)
        data, first = self.file.read(ends[0], ends[-1]), ends[0]
        rows = (data[begin - first : end - first] for begin, end in pairwise(ends))
        # Blank lines between two rows belong to neither.
        return [row.partition(b"\n")[0].rstrip(b"\r") for row in rows]


def require_corpus(path: Path) -> None:
    """Raises `UserError` where no corpus is."""
    if not path.exists():
        raise UserError(f"no corpus at {path}; set the corpus path to a .jsonl or .tsv file")


def open_corpus(path: Path, cache_dir: Path, *, advance: Advance | None = None) -> Corpus:
    """Open `path`, reusing the offsets in `cache_dir` when size and mtime (or, failing that, the hash)
    still agree. `advance` receives bytes read while scanning. Raises `UserError` (file and line) for a
    malformed row.
    """
    require_corpus(path)
    file = plain_file(path, cache_dir, advance)
    cache = CorpusCache(cache_dir)
    info = cached_info(path, cache_dir)
    if info is not None:
        with contextlib.suppress(ValueError, OSError):  # files that a killed process left: made again
            return Corpus(file.path, info, cache)
    with writing_into(cache_dir):
        cache_dir.mkdir(parents=True, exist_ok=True)
        info = scan(file, cache)
        with closing(Corpus(file.path, info, cache)) as corpus:
            _reject_repeated_ids(corpus, file)
        write_atomic(cache.info, orjson.dumps(info, option=orjson.OPT_INDENT_2))
    return Corpus(file.path, info, cache)


def cached_info(path: Path, cache_dir: Path) -> CorpusInfo | None:
    """What an earlier pass found, when it still describes the corpus at `path`, else None."""
    cache = CorpusCache(cache_dir)
    file = present_file(path, cache_dir) if path.is_file() else None
    if file is None or not cache.info.is_file():
        return None
    try:
        info = TypeAdapter(CorpusInfo).validate_json(cache.info.read_bytes())
    except ValidationError:
        return None
    stat = file.stat()
    if stat.st_size != info.size:
        return None
    if stat.st_mtime_ns == info.mtime_ns:
        return info
    with file.open("rb") as handle:
        if hashlib.file_digest(handle, "sha256").hexdigest() != info.sha256:
            return None
    return dataclasses.replace(info, mtime_ns=stat.st_mtime_ns)


def _reject_repeated_ids(corpus: Corpus, file: PlainFile) -> None:
    """Raises `UserError` for two rows with one id, since an id must identify the passage of an
    observation.
    """
    hashes, rows = corpus._hashes, corpus._hash_rows
    for at in np.flatnonzero(hashes[1:] == hashes[:-1]):
        first, second = int(rows[at]), int(rows[at + 1])
        name = corpus.row(second).id
        if corpus.row(first).id == name:
            line = _line_number(corpus, second)
            raise UserError(
                f"{file.source}, {file.unit} {line}: the id {name!r} was used before; ids must be unique"
            )


def _line_number(corpus: Corpus, row: int) -> int:
    """Counted in pieces: the file may be larger than the memory."""
    end, line = int(corpus._offsets[row]), 1
    for at in range(0, end, REPORT_EVERY):
        line += corpus.file.read(at, min(at + REPORT_EVERY, end)).count(b"\n")
    return line
