"""BM25 (Lucene's variant) in the file format of bm25s, built with flat memory (`bm25_build.py`) and searched
memory-mapped. `bm25s` defines files, words and scores.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from typing_extensions import override

from src_core.config import config_class
from src_core.errors import UserError
from src_core.progress import Steps
from src_core.segment import segment, segmenter_version
from src_retrieval.layout import IndexLayout
from src_retrieval.results import NOTHING, Hits
from src_retrieval.sparse.base import SparseBackend, SparseIndex, Texts
from src_retrieval.sparse.bm25_build import PARAMS, VOCAB, build_bm25, disk_need, tokenise


@config_class
class Bm25Options:
    """There are none: k1 and b have the fixed values of bm25s."""


class Bm25Index(SparseIndex):
    """A built BM25 index, its postings mapped."""

    def __init__(self, folder: Path) -> None:
        import bm25s

        if not (folder / PARAMS).is_file():
            raise UserError(f"no BM25 index in {folder}; build it with type=bm25 or type=hybrid")
        try:
            self._index = bm25s.BM25.load(str(folder), mmap=True)
            self._rows: int = self._index.scores["num_docs"]
            _require_whole(self._index)
        except (ValueError, KeyError, TypeError, EOFError, OSError) as error:
            raise UserError(
                f"the BM25 index in {folder} is damaged ({error}); build it again with overwrite=true"
            ) from error
        self.identity = {"kind": "bm25", "k1": self._index.k1, "b": self._index.b}

    def search(self, queries: Sequence[str], k: int) -> Hits:
        """The `k` best rows per query; rows that share no word with the query are left out."""
        k = min(k, self._rows)
        rows = np.full((len(queries), k), NOTHING, dtype=np.int64)
        scores = np.zeros((len(queries), k), dtype=np.float32)
        for at, tokens in enumerate(tokenise(queries)):
            totals = self._scores(tokens)
            best = np.argpartition(totals, len(totals) - k)[len(totals) - k :]
            best = best[totals[best] > 0]
            # Equal scores in row order, so that results do not depend on the partition.
            best = best[np.lexsort((best, -totals[best]))]
            rows[at, : len(best)] = best
            scores[at, : len(best)] = totals[best]
        return Hits(rows, scores)

    def _scores(self, tokens: list[str]) -> NDArray[np.float32]:
        """float32 [rows]. Rows are unique within one token, so plain indexed addition is correct, and faster
        than the `np.add.at` of bm25s.
        """
        data, indices, indptr = (self._index.scores[name] for name in ("data", "indices", "indptr"))
        totals = np.zeros(self._rows, dtype=np.float32)
        for token in self._index.get_tokens_ids(tokens):
            span = slice(int(indptr[token]), int(indptr[token + 1]))
            totals[indices[span]] += data[span]
        return totals


def _require_whole(index: Any) -> None:
    """Raises ValueError unless the four files belong together."""
    data, indices, indptr = (index.scores[name] for name in ("data", "indices", "indptr"))
    if len(data) != len(indices) or int(indptr[-1]) != len(data) or len(indptr) != len(index.vocab_dict) + 1:
        raise ValueError("its files have different sizes")


class Bm25Backend(SparseBackend):
    """BM25 in the folder `bm25` of an index."""

    kinds = ("bm25",)
    options = Bm25Options

    @override
    def disk_need(self, texts: Texts, count: int) -> int:
        """See `SparseBackend.disk_need`."""
        return disk_need(texts, count)

    @override
    def build(
        self, kind: str, layout: IndexLayout, texts: Texts, count: int, options: Any, steps: Steps
    ) -> None:
        """See `SparseBackend.build`."""
        build_bm25(layout.bm25, texts, count, steps)

    @override
    def open(self, kind: str, layout: IndexLayout, options: Any) -> SparseIndex:
        """See `SparseBackend.open`."""
        return Bm25Index(layout.bm25)

    def remove(self, layout: IndexLayout) -> None:
        """See `SparseBackend.remove`."""
        shutil.rmtree(layout.bm25, ignore_errors=True)

    def version(self) -> str:
        """The words of bm25s, and those of text without spaces."""
        return f"bm25s words, {segmenter_version()}"

    @override
    def reads_unversioned(self, layout: IndexLayout) -> bool:
        """Where no word would be divided today, the same index would be built."""
        try:
            words = orjson.loads((layout.bm25 / VOCAB).read_bytes())
        except (OSError, ValueError):
            return True  # `open` reports it
        return not any(segment(word).words for word in words)


BACKEND = Bm25Backend()
