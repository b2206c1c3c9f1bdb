"""Joins several rankings by their ranks (reciprocal rank fusion: Cormack, Clarke and Büttcher, SIGIR 2009),
or two lists of scores of the same passages by their scaled values.
"""

from __future__ import annotations

from collections.abc import Sequence

from src_retrieval.results import Ranked

RRF_K = 60


def fuse(rankings: Sequence[Sequence[Ranked]], k: int, *, constant: int = RRF_K) -> list[Ranked]:
    """The `k` rows with the largest sum of 1 / (constant + rank), ranks counted from 1 over the lists that
    hold the row. Ties go to the row that is higher in the earlier list, so that the order is deterministic.
    """
    totals: dict[int, float] = {}
    for ranking in rankings:
        for rank, result in enumerate(ranking, start=1):
            totals[result.row] = totals.get(result.row, 0.0) + 1.0 / (constant + rank)
    # Insertion order is rank order in the first list, then the second; `sorted` is stable.
    best = sorted(totals.items(), key=lambda item: -item[1])[:k]
    return [Ranked(row, score) for row, score in best]


def min_max(scores: Sequence[float]) -> list[float]:
    """Scores scaled to [0, 1]; a constant list becomes all zeros."""
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    if high <= low:
        return [0.0] * len(scores)
    return [(score - low) / (high - low) for score in scores]


def blended(one: Sequence[float], other: Sequence[float], *, weight: float) -> list[float]:
    """`weight * one + (1 - weight) * other` of scaled scores: 1 is `one` alone, 0 `other` alone."""
    return [weight * ours + (1 - weight) * theirs for ours, theirs in zip(one, other, strict=True)]


def with_retrieval(rerank: Sequence[float], retrieval: Sequence[float], *, weight: float) -> list[float]:
    """The scores that a reranker's order follows where the retriever's scores have a `weight`: both scaled
    over the candidates of the query, and blended. With weight 0 the reranker's own scores.
    """
    if weight == 0:
        return list(rerank)
    return blended(min_max(retrieval), min_max(rerank), weight=weight)
