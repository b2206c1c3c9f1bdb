"""Building a BM25 index in the file format of bm25s, with flat memory.

bm25s's own builder keeps the tokenised corpus in memory; ours writes postings to disk (`bm25_collect.py`) and
sorts them by token in a second pass (a test compares the scores).
"""

from __future__ import annotations

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
from src_retrieval.sparse.bm25_collect import RECORD, Divided, Field, collect

K1, B = 1.5, 0.75
POSTINGS_PER_BLOCK = 8_000_000
DATA, INDICES, INDPTR = "data.csc.index.npy", "indices.csc.index.npy", "indptr.csc.index.npy"
VOCAB, PARAMS = "vocab.index.json", "params.index.json"

NO_WORD = "no passage of the corpus holds a word that BM25 can index; use another index type"

POSTING_BYTES = 8 + 8
"""On disk, of a pair of a word and a passage: as it is collected, and as it is sorted and scored."""
WORD_BYTES = 8 + 16
"""Beside its letters, of a distinct word: its place, and its lines in the two files of words."""
PASSAGE_BYTES = 2 * 8
"""Of a passage, as it is collected, in at most two fields: its number of words and its length."""
SAMPLE_BLOCKS, SAMPLE_ROWS = 20, 100
MARGIN = 1.15
"""Of the estimate from the sample."""


class Analysis(NamedTuple):
    """How passages are scored. `factor` multiplies all scores. `as_lucene`: lengths are rounded
    as Lucene stores them, and passages without any word do not count.
    """

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
    vocabulary = sum(WORD_BYTES + 2 * len(word.encode()) for word in distinct)
    passages = count * PASSAGE_BYTES
    if len(sample) == count:
        return passages + postings + vocabulary
    times = count / len(sample)
    # Heaps: words grow as a root of the text.
    return passages + int(MARGIN * (postings * times + vocabulary * times**0.5))


def build_bm25(folder: Path, texts: Texts, count: int, steps: Steps) -> None:
    """Write a BM25 index of `count` texts, where `texts(start, stop)` gives some of them, or complete one of
    the same texts whose build was interrupted. Raises `UserError` for texts without a word.
    """
    record = folder / RECORD
    fields = collect([folder], record, lambda chunk: [divided(chunk)], texts, count, steps)
    finish_fields(fields, Analysis(K1, B), count, steps)
    record.unlink()


def finish_fields(fields: Sequence[Field], analysis: Analysis, count: int, steps: Steps) -> None:
    """Write the index of each field that has words, then remove what was collected. Raises `UserError` where
    none has any.
    """
    if not any(field.pairs for field in fields):
        raise UserError(NO_WORD)
    with steps("word occurrences scored", total=sum(field.pairs for field in fields)) as progress:
        for field in fields:
            if field.pairs:
                Finisher(field, analysis, count).finish(progress)
    for field in fields:
        field.remove()
        if not field.pairs:
            field.folder.rmdir()


class Finisher:
    """Writes the files of bm25s for a collected field of `count` passages: each pair is scored and put at its
    word's next free place, block by block.
    """

    def __init__(self, field: Field, analysis: Analysis, count: int) -> None:
        self._field, self._analysis, self._count = field, analysis, count

    def finish(self, progress: StepProgress) -> None:
        """Write them; PARAMS last, so that the files of a killed build do not count as complete."""
        vocabulary, folder = self._field.vocabulary, self._field.folder
        # bm25s gives the empty token a separate id at the end, with no postings.
        words = len(vocabulary)
        vocabulary.setdefault("", words)
        df = self._frequencies(words)
        indptr = np.concatenate([[0], np.cumsum(df), [int(df.sum())]]).astype(np.int64)
        self._place(indptr, df, progress)
        save_npy(folder / INDPTR, indptr)
        (folder / VOCAB).write_bytes(orjson.dumps(vocabulary))
        (folder / PARAMS).write_bytes(orjson.dumps(_params(self._count, self._analysis)))

    def _frequencies(self, words: int) -> NDArray[np.int64]:
        """In how many passages each word is."""
        tokens, found = self._field.column("tokens"), np.zeros(words, dtype=np.int64)
        for start in range(0, len(tokens), POSTINGS_PER_BLOCK):
            found += np.bincount(tokens[start : start + POSTINGS_PER_BLOCK], minlength=words)
        return found

    def _place(self, indptr: NDArray[np.int64], df: NDArray[np.int64], progress: StepProgress) -> None:
        total, folder = int(indptr[-1]), self._field.folder
        data = create_npy(folder / DATA, "<f4", total)
        indices = create_npy(folder / INDICES, "<i4", total)
        all_tokens, all_tf = self._field.column("tokens"), self._field.column("tf")
        ends = np.cumsum(self._field.column("sizes"), dtype=np.int64)
        norms, idf = self._norms(), self._idf(df)
        free = indptr[: len(df)].copy()
        for start in range(0, total, POSTINGS_PER_BLOCK):
            block = slice(start, min(start + POSTINGS_PER_BLOCK, total))
            tokens = np.asarray(all_tokens[block])
            order = np.argsort(tokens, kind="stable")
            tokens, tf, docs = tokens[order], all_tf[block][order], _passages(ends, block)[order]
            present, firsts, sizes = np.unique(tokens, return_index=True, return_counts=True)
            places = free[tokens] + np.arange(len(tokens)) - np.repeat(firsts, sizes)
            data[places] = idf[tokens] * (tf / (tf + norms[docs]))
            indices[places] = docs
            free[present] += sizes
            progress.advance(len(tokens))
        for array in (data, indices):
            assert isinstance(array, np.memmap)
            array.flush()

    def _norms(self) -> NDArray[np.float64]:
        """What the length of each passage adds to the denominator of its scores."""
        lengths, scored = self._field.column("lengths"), self._analysis
        shares = (_stored(lengths) if scored.as_lucene else lengths) / (lengths.sum() / self._counted())
        norms: NDArray[np.float64] = scored.k1 * (1 - scored.b + scored.b * shares)
        return norms

    def _idf(self, df: NDArray[np.int64]) -> NDArray[np.float64]:
        idf: NDArray[np.float64] = self._analysis.factor * np.log(
            1 + (self._counted() - df + 0.5) / (df + 0.5)
        )
        return idf

    def _counted(self) -> int:
        """Passages that count."""
        lengths = self._field.column("lengths")
        return int(np.count_nonzero(lengths)) if self._analysis.as_lucene else self._count


def _passages(ends: NDArray[np.int64], block: slice) -> NDArray[np.int32]:
    """The passage of each of the pairs of a block; those of passage p end before pair `ends[p]`."""
    first, last = np.searchsorted(ends, [block.start, block.stop - 1], side="right")
    inside = np.clip(ends[first : last + 1], block.start, block.stop)
    return np.repeat(np.arange(first, last + 1, dtype=np.int32), np.diff(inside, prepend=block.start))


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
