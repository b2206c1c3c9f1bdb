"""BM25 (Lucene's variant) in the file format of bm25s, built with flat memory and searched
memory-mapped.

`bm25s` tokenises and defines files and scores. Its own builder keeps the tokenised corpus in memory;
ours writes postings to disk and sorts them by token in a second pass (a test compares the scores).
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
from src_core.progress import StepProgress, Steps
from src_retrieval.layout import IndexLayout
from src_retrieval.results import NOTHING, Hits
from src_retrieval.sparse.base import SparseBackend, SparseIndex, Texts

K1, B = 1.5, 0.75
DOCS_PER_CHUNK = 2_000
POSTINGS_PER_BLOCK = 4_000_000
TOKEN_MASK = (1 << 32) - 1
DATA, INDICES, INDPTR = "data.csc.index.npy", "indices.csc.index.npy", "indptr.csc.index.npy"
VOCAB, PARAMS = "vocab.index.json", "params.index.json"

DISK_PER_BYTE = 3
"""Disk at the peak of a build, in units of the corpus."""


@config_class
class Bm25Options:
    """None yet: k1 and b are fixed, as bm25s has them."""


class Bm25Index(SparseIndex):
    """A built BM25 index, its postings mapped."""

    def __init__(self, folder: Path) -> None:
        import bm25s

        if not (folder / PARAMS).is_file():
            raise UserError(f"no BM25 index in {folder}; build it with type=bm25 or type=hybrid")
        self._index = bm25s.BM25.load(str(folder), mmap=True)
        self._rows: int = self._index.scores["num_docs"]
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
        """float32 [rows]. Rows are unique within one token, so plain fancy addition is right, and
        faster than the `np.add.at` of bm25s.
        """
        data, indices, indptr = (self._index.scores[name] for name in ("data", "indices", "indptr"))
        totals = np.zeros(self._rows, dtype=np.float32)
        for token in self._index.get_tokens_ids(tokens):
            span = slice(int(indptr[token]), int(indptr[token + 1]))
            totals[indices[span]] += data[span]
        return totals


def tokenise(texts: Sequence[str]) -> list[list[str]]:
    """Lower-cased words of two letters or more, without English stop words."""
    import bm25s

    tokens: list[list[str]] = bm25s.tokenize(list(texts), return_ids=False, show_progress=False)
    return tokens


def build_bm25(folder: Path, texts: Texts, count: int, steps: Steps) -> None:
    """Write a BM25 index of `count` texts, where `texts(start, stop)` gives some of them."""
    folder.mkdir(parents=True, exist_ok=True)
    builder = _Builder(folder)
    with steps("passages split into words", total=count) as progress:
        for start in range(0, count, DOCS_PER_CHUNK):
            chunk = texts(start, min(start + DOCS_PER_CHUNK, count))
            builder.add(start, tokenise(chunk))
            progress.advance(len(chunk))
    with steps("word occurrences scored", total=builder.postings) as progress:
        builder.finish(count, progress)


class _Builder:
    """Postings to disk in document order, then sorted by token in blocks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._vocabulary: dict[str, int] = {}
        self._counts = np.zeros(1024, dtype=np.int64)
        self._lengths: list[NDArray[np.int32]] = []
        self._paths = {name: folder / f"postings.{name}" for name in ("tokens", "docs", "tf")}
        self._files = {name: path.open("wb") for name, path in self._paths.items()}

    def add(self, first: int, documents: list[list[str]]) -> None:
        """Append the postings of documents `first`, `first` + 1, …"""
        vocabulary = self._vocabulary
        flat = [vocabulary.setdefault(word, len(vocabulary)) for words in documents for word in words]
        lengths = np.array([len(words) for words in documents], dtype=np.int32)
        local = np.repeat(np.arange(len(documents), dtype=np.int64), lengths)
        pairs, times = np.unique((local << 32) | np.array(flat, dtype=np.int64), return_counts=True)
        tokens = (pairs & TOKEN_MASK).astype(np.int32)
        columns = {
            "tokens": tokens,
            "docs": ((pairs >> 32) + first).astype(np.int32),
            "tf": times.astype(np.int32),
        }
        for name, column in columns.items():
            self._files[name].write(column.tobytes())
        if len(vocabulary) > len(self._counts):
            self._counts = np.concatenate([self._counts, np.zeros(len(vocabulary), dtype=np.int64)])
        seen = np.bincount(tokens, minlength=len(self._counts))
        self._counts += seen
        self._lengths.append(lengths)

    @property
    def postings(self) -> int:
        """How many pairs of a word and a passage were added."""
        return int(self._counts.sum())

    def finish(self, count: int, progress: StepProgress) -> None:
        """Write the files of bm25s; PARAMS last, so that a killed build is not taken for a whole one."""
        for handle in self._files.values():
            handle.close()
        # bm25s gives the empty token an id of its own at the end, with no postings.
        words = len(self._vocabulary)
        self._vocabulary.setdefault("", words)
        df = self._counts[:words]
        indptr = np.concatenate([[0], np.cumsum(df), [int(df.sum())]]).astype(np.int64)
        self._place(indptr, df, np.concatenate(self._lengths), count, progress)
        np.save(self._folder / INDPTR, indptr)
        (self._folder / VOCAB).write_bytes(orjson.dumps(self._vocabulary))
        for path in self._paths.values():
            path.unlink()
        (self._folder / PARAMS).write_bytes(orjson.dumps(_params(count)))

    def _place(
        self,
        indptr: NDArray[np.int64],
        df: NDArray[np.int64],
        lengths: NDArray[np.int32],
        count: int,
        progress: StepProgress,
    ) -> None:
        """Score each posting and put it at its token's next free place."""
        total = int(indptr[-1])
        if total == 0:
            raise UserError(
                "no passage of the corpus holds a word that BM25 can index; use another index type"
            )
        shape = (total,)
        data = np.lib.format.open_memmap(self._folder / DATA, mode="w+", dtype=np.float32, shape=shape)
        indices = np.lib.format.open_memmap(self._folder / INDICES, mode="w+", dtype=np.int32, shape=shape)
        maps = {name: np.memmap(path, dtype=np.int32, mode="r") for name, path in self._paths.items()}
        idf = np.log(1 + (count - df + 0.5) / (df + 0.5))
        norms = K1 * (1 - B + B * lengths / lengths.mean())
        free = indptr[: len(df)].copy()
        for start in range(0, total, POSTINGS_PER_BLOCK):
            block = {
                name: np.asarray(array[start : start + POSTINGS_PER_BLOCK]) for name, array in maps.items()
            }
            order = np.argsort(block["tokens"], kind="stable")
            tokens, docs, tf = (block[name][order] for name in ("tokens", "docs", "tf"))
            present, firsts, sizes = np.unique(tokens, return_index=True, return_counts=True)
            places = free[tokens] + np.arange(len(tokens)) - np.repeat(firsts, sizes)
            data[places] = idf[tokens] * (tf / (tf + norms[docs]))
            indices[places] = docs
            free[present] += sizes
            progress.advance(len(tokens))
        data.flush()
        indices.flush()


def _params(count: int) -> dict[str, Any]:
    return {
        "k1": K1,
        "b": B,
        "delta": 0.5,
        "method": "lucene",
        "idf_method": "lucene",
        "dtype": "float32",
        "int_dtype": "int32",
        "num_docs": count,
        "version": "0.3.16",
        "backend": "numpy",
    }


class Bm25Backend(SparseBackend):
    """BM25 in the folder `bm25` of an index."""

    kinds = ("bm25",)
    options = Bm25Options

    def disk_need(self, corpus_bytes: int) -> int:
        """See `SparseBackend.disk_need`."""
        return corpus_bytes * DISK_PER_BYTE

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


BACKEND = Bm25Backend()
