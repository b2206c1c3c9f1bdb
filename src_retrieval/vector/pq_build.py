"""Building a PQ index in a stream: 4-bit FastScan codes in FAISS's file, fp16 vectors beside it for refining.

Codes and fp16 vectors of each block go to files with a record of how many rows they hold, so that the same
build goes on after a kill; it ends with the same bytes. Until the codes are put into FAISS's form at the end,
a block is all that is in memory.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
from numpy.typing import NDArray

from src_core.config import dump
from src_core.errors import UserError
from src_core.jsonl import write_atomic
from src_core.progress import Steps
from src_retrieval.layout import IndexLayout
from src_retrieval.vector.base import whole_block
from src_retrieval.vector.faiss_build import BLOCK_ROWS, DenseOptions, pq_parts, train, write_faiss
from src_retrieval.vector.faiss_index import DenseType, load_faiss, read_faiss


class _Parts:
    """The files of an unfinished build, and what they are made from."""

    def __init__(
        self, folder: Path, made_from: Mapping[str, Any], *, half_bytes: int, code_bytes: int
    ) -> None:
        self.folder, self._made_from = folder, made_from
        self.trained, self.codes, self.halves = folder / "trained.faiss", folder / "codes", folder / "halves"
        self._record = folder / "rows.json"
        self.row_bytes = {self.codes: code_bytes, self.halves: half_bytes}

    def rows_done(self) -> int | None:
        """The rows that the files hold; None where they are of something else, or there are none."""
        try:
            saved = orjson.loads(self._record.read_bytes())
            done = int(saved["rows"])
            same = saved["made_from"] == orjson.loads(orjson.dumps(self._made_from))
            whole = all(path.stat().st_size >= done * size for path, size in self.row_bytes.items())
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return done if same and whole and self.trained.is_file() else None

    def save(self, rows: int) -> None:
        """From now on the first `rows` rows count."""
        write_atomic(self._record, orjson.dumps({"made_from": dict(self._made_from), "rows": rows}))


def build_pq(
    layout: IndexLayout,
    vectors: NDArray[Any],
    options: DenseOptions,
    steps: Steps,
    made_from: Mapping[str, Any],
) -> None:
    """Write the files of float32 [rows, dim], or of fp16, which are then the ones that refine. An interrupted
    build `made_from` the same is completed.
    """
    faiss = load_faiss()
    rows, dim = vectors.shape
    count = pq_parts(dim, options.pq_parts)
    facts = {**made_from, "rows": rows, "options": dump(options), "faiss": str(faiss.__version__)}
    rounded = vectors.dtype != np.float16
    parts = _Parts(layout.parts, facts, half_bytes=dim * 2 if rounded else 0, code_bytes=(count + 1) // 2)
    done = parts.rows_done()
    if done is None:
        shutil.rmtree(parts.folder, ignore_errors=True)
        parts.folder.mkdir(parents=True)
        index = faiss.index_factory(dim, f"PQ{count}x4fs", faiss.METRIC_INNER_PRODUCT)
        train(index, vectors, options.train_rows, options.seed, steps)
        write_faiss(index, parts.trained, steps)
        for path in parts.row_bytes:
            path.touch()
        parts.save(0)
    if done != rows:  # the last codes are of whole blocks of rows, and are not cut
        _add(parts, vectors, done or 0, steps)
    index = read_faiss(parts.trained, 0)
    _fill(index, np.memmap(parts.codes, dtype=np.uint8, mode="r"), rows)
    write_faiss(index, layout.faiss_file(DenseType.PQ), steps)
    if rounded:
        parts.halves.replace(layout.half_vectors)
    shutil.rmtree(parts.folder)


def _add(parts: _Parts, vectors: NDArray[Any], done: int, steps: Steps) -> None:
    """Append the codes and fp16 vectors of the rows from `done` on. Codes are packed 32 rows at a time, and a
    block is a multiple of them: those of a block do not depend on the ones before.
    """
    faiss, rows = load_faiss(), len(vectors)
    index = read_faiss(parts.trained, 0)
    with (
        _cut(parts.codes, done * parts.row_bytes[parts.codes]) as codes,
        _cut(parts.halves, done * parts.row_bytes[parts.halves]) as halves,
        steps("vectors added to the pq index", total=rows, done=done) as progress,
    ):
        for start in range(done, rows, BLOCK_ROWS):
            block = whole_block(vectors[start : start + BLOCK_ROWS])
            with np.errstate(over="ignore"):  # checked in the next line
                half = block.astype(np.float16)
            if not np.isfinite(half).all():
                raise UserError(
                    f"vectors {start:,} to {start + len(block):,} hold values that are no numbers, or too "
                    "large for fp16; correct them, or choose another type"
                )
            index.reset()
            index.add(block)
            own = half if parts.row_bytes[parts.halves] else half[:0]  # given as fp16: they are on disk
            for file, data in ((codes, faiss.AlignedTable_to_array(index.codes)), (halves, own)):
                file.write(data.tobytes())
                file.flush()
                os.fsync(file.fileno())
            parts.save(start + len(block))
            progress.advance(len(block))


def _fill(index: Any, codes: NDArray[np.uint8], rows: int) -> None:
    """Make `codes` those of a trained index."""
    load_faiss().copy_array_to_AlignedTable(codes, index.codes)
    index.ntotal = rows
    index.ntotal2 = -(-rows // index.bbs) * index.bbs


def _cut(path: Path, size: int) -> BinaryIO:
    """A file that is cut to `size` bytes and written from there."""
    handle = path.open("r+b")
    handle.seek(size)
    handle.truncate()
    return handle
