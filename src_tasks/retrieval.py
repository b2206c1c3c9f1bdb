"""Whether the supporting passages were found: recall@k and nDCG@k, per search and over a trajectory.

Gold passages are binary; a trajectory's ranking is the union of its searches' passages in the order in which
they were first seen. Ids are compared, not texts (FlashRAG's `retrieval_recall` looks for the answer string
instead, which counts passages that merely mention it).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache


def recall_at(ranking: Sequence[str], gold: Sequence[str], *, k: int | None = None) -> float:
    """Share of gold ids among the first `k` of `ranking` (None: all of it). Raises `ValueError` without gold
    ids.
    """
    wanted = _wanted(gold)
    return len(wanted.intersection(ranking[:k])) / len(wanted)


def ndcg_at(ranking: Sequence[str], gold: Sequence[str], *, k: int) -> float:
    """Normalised discounted cumulative gain with binary gains and log2 discount (Järvelin and Kekäläinen
    2002, as trec_eval's `ndcg_cut`); a repeated id counts once. Raises `ValueError` without gold ids.
    """
    wanted = _wanted(gold)
    ranks = (rank for rank, passage in enumerate(dict.fromkeys(ranking), start=1) if passage in wanted)
    return sum(_gain(rank) for rank in ranks if rank <= k) / _ideal(min(k, len(wanted)))


def reciprocal_rank(ranking: Sequence[str], gold: Sequence[str]) -> float:
    """1 / rank of the first gold id, 0 without one (its mean over questions is the MRR). Raises `ValueError`
    without gold ids.
    """
    wanted = _wanted(gold)
    ranks = (rank for rank, passage in enumerate(dict.fromkeys(ranking), start=1) if passage in wanted)
    return 1 / next(ranks, math.inf)


def ranking_scores(ranking: Sequence[str], gold: Sequence[str]) -> dict[str, float]:
    """The metrics of one ranking: `recall@2`, `recall@5`, `ndcg@10`, `mrr`; empty without gold passages."""
    if not gold:
        return {}
    whole = [whole_id(name, gold) for name in ranking]
    return {
        "recall@2": recall_at(whole, gold, k=2),
        "recall@5": recall_at(whole, gold, k=5),
        "ndcg@10": ndcg_at(whole, gold, k=10),
        "mrr": reciprocal_rank(whole, gold),
    }


def whole_id(name: str, gold: Sequence[str]) -> str:
    """The gold passage that `ID#2` is a part of: long rows of a corpus are cut, and any part counts."""
    before, mark, number = name.rpartition("#")
    return before if mark and number.isdigit() and name not in gold and before in gold else name


def first_seen(searches: Iterable[Sequence[str]]) -> list[str]:
    """All ids that the searches returned, each once, in the order of their first occurrence."""
    return list(dict.fromkeys(passage for search in searches for passage in search))


def per_search(searches: Sequence[Sequence[str]], gold: Sequence[str], *, k: int) -> list[dict[str, float]]:
    """`recall@k` and `ndcg@k` of each search."""
    return [
        {f"recall@{k}": recall_at(found, gold, k=k), f"ndcg@{k}": ndcg_at(found, gold, k=k)}
        for found in searches
    ]


def retrieval_scores(searches: Sequence[Sequence[str]], gold: Sequence[str], *, k: int) -> dict[str, float]:
    """The retrieval metrics of a question's searches: `recall` over the whole trajectory, `recall@k` and
    `ndcg@k` of its ranking, `all_found` (1.0 when no gold passage is missing), and `step_recall@k` and
    `step_ndcg@k`, the means over its searches. Empty without gold passages; all 0.0 without a search.
    """
    if not gold:
        return {}
    searches = [[whole_id(name, gold) for name in found] for found in searches]
    ranking = first_seen(searches)
    recall = recall_at(ranking, gold)
    steps = per_search(searches, gold, k=k)
    scores = {
        "recall": recall,
        f"recall@{k}": recall_at(ranking, gold, k=k),
        f"ndcg@{k}": ndcg_at(ranking, gold, k=k),
        "all_found": float(recall == 1.0),
    }
    for name in (f"recall@{k}", f"ndcg@{k}"):
        scores[f"step_{name}"] = sum(step[name] for step in steps) / max(len(steps), 1)
    return scores


def _wanted(gold: Sequence[str]) -> frozenset[str]:
    if not gold:
        raise ValueError("recall needs at least one gold passage")
    return frozenset(gold)


@lru_cache(maxsize=1024)
def _ideal(found: int) -> float:
    return sum(_gain(rank) for rank in range(1, found + 1))


@lru_cache(maxsize=1024)
def _gain(rank: int) -> float:
    return 1 / math.log2(rank + 1)
