"""Building a BM25 index in the file format of bm25s, with flat memory.

bm25s's own builder keeps the tokenised corpus in memory; ours writes postings to disk and sorts them by
token in a second pass (a test compares the scores).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from src_core.errors import UserError
from src_core.progress import StepProgress, Steps
from src_core.segment import segment
from src_retrieval.npyfile import create_npy, save_npy
from src_retrieval.sparse.base import Texts

K1, B = 1.5, 0.75
DOCS_PER_CHUNK = 2_000
POSTINGS_PER_BLOCK = 4_000_000
TOKEN_MASK = (1 << 32) - 1
DATA, INDICES, INDPTR = "data.csc.index.npy", "indices.csc.index.npy", "indptr.csc.index.npy"
VOCAB, PARAMS = "vocab.index.json", "params.index.json"

NO_WORD = "no passage of the corpus holds a word that BM25 can index; use another index type"

POSTING_BYTES = 12 + 8
"""On disk, of a pair of a word and a passage: as it is collected, and as it is sorted and scored."""
WORD_BYTES = 8 + 16
"""Beside its letters, of a distinct word: its place, and its line of the vocabulary."""
SAMPLE_BLOCKS, SAMPLE_ROWS = 20, 100
MARGIN = 1.15
"""Of the estimate from the sample."""


class Divided(NamedTuple):
    """The words of a text, and its length in the words of bm25s alone: by it long passages are scored lower,
    and a name in Chinese letters does not make an English passage ten words longer.
    """

    words: list[str]
    length: int


class Analysis(NamedTuple):
    """How passages are divided and scored. `factor` multiplies all scores. `as_lucene`: lengths are rounded
    as Lucene stores them, and passages without any word do not count.
    """

    divide: Callable[[Sequence[str]], list[Divided]]
    k1: float
    b: float
    factor: float = 1.0
    as_lucene: bool = False


def divided(texts: Sequence[str]) -> list[Divided]:
    """Lower-cased words of two letters or more, without English stop words; text without spaces as
    `src_core.segment` divides it.
    """
    parts = [segment(text) for text in texts]
    spaced = _words([part.rest for part in parts])
    mixed = [at for at, part in enumerate(parts) if part.words]
    usual = _words([texts[at] for at in mixed])
    lengths = {at: max(1, len(words)) for at, words in zip(mixed, usual, strict=True)}
    return [
        Divided(words + part.words, lengths.get(at, len(words)))
        for at, (words, part) in enumerate(zip(spaced, parts, strict=True))
    ]


def tokenise(texts: Sequence[str]) -> list[list[str]]:
    """The words of each text."""
    return [text.words for text in divided(texts)]


def _words(texts: list[str]) -> list[list[str]]:
    import bm25s

    tokens: list[list[str]] = bm25s.tokenize(texts, return_ids=False, show_progress=False)
    return tokens


def disk_need(texts: Texts, count: int, split: Callable[[Sequence[str]], list[list[str]]]) -> int:
    """Bytes that a build writes, estimated from passages of all parts of the corpus, which `split` divides
    into words.
    """
    step = max(SAMPLE_ROWS, count // SAMPLE_BLOCKS)
    starts = range(0, count, step)
    sample = [words for start in starts for words in split(texts(start, min(start + SAMPLE_ROWS, count)))]
    postings = sum(len(set(words)) for words in sample) * POSTING_BYTES
    distinct = {word for words in sample for word in words}
    vocabulary = sum(WORD_BYTES + len(word.encode()) for word in distinct)
    if len(sample) == count:
        return postings + vocabulary
    times = count / len(sample)
    return int(
        MARGIN * (postings * times + vocabulary * times**0.5)
    )  # Heaps: words grow as a root of the text


def build_bm25(folder: Path, texts: Texts, count: int, steps: Steps) -> None:
    """Write a BM25 index of `count` texts, where `texts(start, stop)` gives some of them."""
    builder = Bm25Builder(folder, Analysis(divided, K1, B))
    with steps("passages split into words", total=count) as progress:
        for start in range(0, count, DOCS_PER_CHUNK):
            chunk = texts(start, min(start + DOCS_PER_CHUNK, count))
            builder.add(start, chunk)
            progress.advance(len(chunk))
    if not builder.postings:
        raise UserError(NO_WORD)
    with steps("word occurrences scored", total=builder.postings) as progress:
        builder.finish(count, progress)


class Bm25Builder:
    """Postings to disk in document order, then sorted by token in blocks."""

    def __init__(self, folder: Path, analysis: Analysis) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._analysis = folder, analysis
        self._vocabulary: dict[str, int] = {}
        self._counts = np.zeros(1024, dtype=np.int64)
        self._lengths: list[NDArray[np.int32]] = []
        self._paths = {name: folder / f"postings.{name}" for name in ("tokens", "docs", "tf")}
        self._files = {name: path.open("wb") for name, path in self._paths.items()}

    def add(self, first: int, texts: Sequence[str]) -> None:
        """Append the postings of passages `first`, `first` + 1, …"""
        documents = self._analysis.divide(texts)
        vocabulary = self._vocabulary
        flat = [vocabulary.setdefault(word, len(vocabulary)) for text in documents for word in text.words]
        counts = [len(text.words) for text in documents]
        local = np.repeat(np.arange(len(documents), dtype=np.int64), counts)
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
        self._lengths.append(np.array([text.length for text in documents], dtype=np.int32))

    @property
    def postings(self) -> int:
        """The number of added pairs of a word and a passage."""
        return int(self._counts.sum())

    def discard(self) -> None:
        """Remove the files of a build without postings."""
        for handle in self._files.values():
            handle.close()
        shutil.rmtree(self._folder)

    def finish(self, count: int, progress: StepProgress) -> None:
        """Write the files of bm25s; PARAMS last, so that the files of a killed build do not count as
        complete.
        """
        for handle in self._files.values():
            handle.close()
        # bm25s gives the empty token a separate id at the end, with no postings.
        words = len(self._vocabulary)
        self._vocabulary.setdefault("", words)
        df = self._counts[:words]
        indptr = np.concatenate([[0], np.cumsum(df), [int(df.sum())]]).astype(np.int64)
        self._place(indptr, df, np.concatenate(self._lengths), count, progress)
        save_npy(self._folder / INDPTR, indptr)
        (self._folder / VOCAB).write_bytes(orjson.dumps(self._vocabulary))
        for path in self._paths.values():
            path.unlink()
        (self._folder / PARAMS).write_bytes(orjson.dumps(_params(count, self._analysis)))

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
        data = create_npy(self._folder / DATA, "<f4", total)
        indices = create_npy(self._folder / INDICES, "<i4", total)
        maps = {name: np.memmap(path, dtype=np.int32, mode="r") for name, path in self._paths.items()}
        scored = self._analysis
        counted = int(np.count_nonzero(lengths)) if scored.as_lucene else count
        idf = scored.factor * np.log(1 + (counted - df + 0.5) / (df + 0.5))
        shares = (_stored(lengths) if scored.as_lucene else lengths) / (lengths.sum() / counted)
        norms = scored.k1 * (1 - scored.b + scored.b * shares)
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
        for array in (data, indices):
            assert isinstance(array, np.memmap)
            array.flush()


def _stored(lengths: NDArray[np.int32]) -> NDArray[np.int64]:
    """Lengths as Lucene keeps them in one byte each: exact below 40, then the next lower number of four
    binary digits above 24 (`SmallFloat.intToByte4`).
    """
    codes = np.arange(256 - 24)
    shifts = (codes >> 3) - 1
    above = np.where(shifts < 0, codes, ((codes & 7) | 8) << np.maximum(shifts, 0))
    known = np.concatenate([np.arange(24), 24 + above])
    return known[np.searchsorted(known, lengths, side="right") - 1]


def _params(count: int, analysis: Analysis) -> dict[str, Any]:
    return {
        "k1": analysis.k1,
        "b": analysis.b,
        "delta": 0.5,
        "method": "lucene",
        "idf_method": "lucene",
        "dtype": "float32",
        "int_dtype": "int32",
        "num_docs": count,
        "version": "0.3.16",
        "backend": "numpy",
    }
