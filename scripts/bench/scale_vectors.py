"""As many vectors as passages, around real ones, and the exact neighbours of some queries among them.

No float32 file is written: a block is drawn, compared with the queries, and given to the builder's own
fp16 file. The neighbours are saved with the number of rows they were looked for in; a block that the vectors
have and the neighbours lack is drawn again.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from synthetic import Clustered, hand_over

from src_core.jsonl import write_atomic
from src_core.progress import Steps
from src_retrieval.build_plan import BuildConfig
from src_retrieval.results import FloatArray

BLOCK = 20_000
BLOCKS_PER_SAVE = 25
NEIGHBOURS = 10


class Exact:
    """The `NEIGHBOURS` nearest rows of each query among the first `rows` rows, in a file."""

    def __init__(self, path: Path, queries: FloatArray, *, key: str) -> None:
        self._path, self._queries, self._key = path, queries, key
        self.rows = 0
        self.found: NDArray[np.int64] = np.zeros((len(queries), 0), dtype=np.int64)
        self._scores: FloatArray = np.zeros((len(queries), 0), dtype=np.float32)
        if path.is_file():
            with np.load(path, allow_pickle=False) as saved:
                if str(saved["key"]) == key and len(saved["found"]) == len(queries):
                    self.rows, self.found, self._scores = int(saved["rows"]), saved["found"], saved["scores"]

    def look_in(self, block: FloatArray) -> None:
        """Look among the next rows too."""
        scores = np.concatenate([self._scores, self._queries @ block.T], axis=1)
        rows = np.arange(self.rows, self.rows + len(block), dtype=np.int64)
        found = np.concatenate([self.found, np.broadcast_to(rows, (len(self._queries), len(rows)))], axis=1)
        best = np.argpartition(-scores, min(NEIGHBOURS, scores.shape[1]) - 1, axis=1)[:, :NEIGHBOURS]
        self._scores, self.found = (np.take_along_axis(one, best, axis=1) for one in (scores, found))
        self.rows += len(block)

    def save(self) -> None:
        """Write what was found."""
        out = io.BytesIO()
        np.savez(out, rows=self.rows, found=self.found, scores=self._scores, key=self._key)
        write_atomic(self._path, out.getvalue())


def queries_of(drawn: Clustered, count: int) -> FloatArray:
    """Vectors that are drawn as the others are, and are not among them (block 0)."""
    return drawn.block(0, count)


def make_vectors(config: BuildConfig, drawn: Clustered, exact: Exact, rows: int, steps: Steps) -> None:
    """Write the vectors as if an encoder had made them; fill `exact`."""

    def blocks(first: int) -> Iterator[FloatArray]:
        begin = min(first, exact.rows) // BLOCK * BLOCK
        with steps("vectors", total=rows, done=begin) as progress:
            for number, start in enumerate(range(begin, rows, BLOCK), start=begin // BLOCK + 1):
                block = drawn.block(number, min(BLOCK, rows - start))
                if start >= exact.rows:
                    exact.look_in(block)
                if start >= first:
                    yield block
                if number % BLOCKS_PER_SAVE == 0:
                    exact.save()
                progress.advance(len(block))
        exact.save()

    hand_over(config, blocks)
