"""What a search returns: rows of the corpus with their scores, as arrays of a batch and as ranked rows of a
query.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Facts = dict[str, str | int | float | bool]
"""Plain data that names what an answer depends on."""
NOTHING = -1
"""Stands in `Hits.rows` where an index found fewer rows than were wanted."""


class Hits(NamedTuple):
    """Rows int64 [queries, k] with scores float32 of the same shape, best first; -1 fills what was not
    found.
    """

    rows: NDArray[np.int64]
    scores: FloatArray


class Ranked(NamedTuple):
    """One result: a corpus row, its retrieval score (inner product, BM25, or the sum of a fusion), and the
    reranker's score where there is one.
    """

    row: int
    retrieval: float
    rerank: float | None = None

    @property
    def score(self) -> float:
        """What the row is ranked by."""
        return self.retrieval if self.rerank is None else self.rerank

    def scores(self) -> dict[str, float]:
        """By name, as a `Passage` keeps them."""
        named = {"retrieval": self.retrieval}
        return named if self.rerank is None else {**named, "rerank": self.rerank}


def ranked(hits: Hits, query: int, k: int) -> list[Ranked]:
    """The results of one query, without FAISS's -1 (which as a Python index would mean the last
    document).
    """
    pairs = zip(hits.rows[query].tolist(), hits.scores[query].tolist(), strict=True)
    return [Ranked(row, score) for row, score in pairs if row > NOTHING][:k]
