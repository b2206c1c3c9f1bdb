"""Recall and nDCG of supporting passages, worked out by hand."""

from __future__ import annotations

from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_tasks.retrieval import first_seen, ndcg_at, per_search, recall_at, retrieval_scores

SEARCHES = [["x", "g1", "y"], ["g1", "z", "g2"]]


def test_a_trajectory_is_the_union_of_its_searches_in_first_seen_order() -> None:
    assert first_seen(SEARCHES) == ["x", "g1", "y", "z", "g2"]


def test_recall() -> None:
    ranking = first_seen(SEARCHES)
    assert recall_at(ranking, ["g1", "g2"]) == 1
    assert recall_at(ranking, ["g1", "g2"], k=3) == 0.5
    assert recall_at(ranking, ["g3"]) == 0
    assert recall_at([], ["g1"]) == 0


def test_ndcg() -> None:
    ideal = 1 + 1 / log2(3)
    assert ndcg_at(["g1", "g2"], ["g2", "g1"], k=5) == pytest.approx(1)
    assert ndcg_at(["x", "g1", "y", "g2"], ["g1", "g2"], k=5) == pytest.approx(
        (1 / log2(3) + 1 / log2(5)) / ideal
    )
    assert ndcg_at(["x", "g1"], ["g1", "g2"], k=1) == 0
    assert ndcg_at(["g1"], ["g1", "g2", "g3"], k=1) == pytest.approx(1)
    assert ndcg_at(["g1", "g1"], ["g1", "g2"], k=2) == pytest.approx(1 / ideal)


def test_per_search_and_whole() -> None:
    steps = per_search(SEARCHES, ["g1", "g2"], k=2)
    assert [step["recall@2"] for step in steps] == [0.5, 0.5]
    whole = retrieval_scores(SEARCHES, ["g1", "g2"], k=2)
    assert whole["recall"] == whole["all_found"] == 1
    assert whole["recall@2"] == whole["step_recall@2"] == 0.5
    assert whole["step_ndcg@2"] == pytest.approx((steps[0]["ndcg@2"] + steps[1]["ndcg@2"]) / 2)
    assert retrieval_scores([["g1"]], ["g1", "g2"], k=5)["all_found"] == 0


def test_without_gold_passages_there_is_nothing_to_report() -> None:
    assert retrieval_scores(SEARCHES, [], k=5) == {}
    with pytest.raises(ValueError, match="gold passage"):
        recall_at(["x"], [])
    with pytest.raises(ValueError, match="gold passage"):
        ndcg_at(["x"], [], k=5)


IDS = st.lists(st.sampled_from("abcdefgh"), max_size=8)


@given(st.lists(IDS, max_size=4), IDS.filter(bool), st.integers(1, 6))
def test_bounds(searches: list[list[str]], gold: list[str], k: int) -> None:
    scores = retrieval_scores(searches, gold, k=k)
    assert all(-1e-12 <= value <= 1 + 1e-12 for value in scores.values())
    assert scores[f"recall@{k}"] <= scores["recall"]
    assert retrieval_scores([gold], gold, k=len(gold))[f"ndcg@{len(gold)}"] == pytest.approx(1)
