"""Reciprocal rank fusion of several rankings (Cormack, Clarke and Büttcher, SIGIR 2009)."""

from __future__ import annotations

from collections.abc import Sequence

from src_retrieval.results import Ranked

RRF_K = 60


def fuse(rankings: Sequence[Sequence[Ranked]], k: int, *, constant: int = RRF_K) -> list[Ranked]:
    """The `k` rows with the largest sum of 1 / (constant + rank), ranks counted from 1 over the lists
    that hold the row. Ties go to the row that stands higher in the earlier list, so the order is
    deterministic.
    """
    totals: dict[int, float] = {}
    for ranking in rankings:
        for rank, result in enumerate(ranking, start=1):
            totals[result.row] = totals.get(result.row, 0.0) + 1.0 / (constant + rank)
    # Insertion order is rank order in the first list, then the second; `sorted` is stable.
    best = sorted(totals.items(), key=lambda item: -item[1])[:k]
    return [Ranked(row, score) for row, score in best]
