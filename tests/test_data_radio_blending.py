"""Min-max, blends and samplers of RADIO, pure functions (reference radio_flashrag.md, 1.4 and 1.7)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.rankings import RankedPassage, Ranking
from src_core.types import Question
from src_data.radio.blending import (
    SHIFT,
    Picked,
    Sampler,
    gold_groups,
    groups_of,
    order_of,
)
from src_data.radio.config import Blend, Gold
from src_data.radio.groups import blended_list, part_of, picked_groups
from src_retrieval.fusion import blended, min_max

SCORES = st.lists(st.floats(-1e6, 1e6), max_size=60)


def test_twenty_documents_give_the_published_negatives() -> None:
    assert groups_of(20, Sampler.SHIFT) == [Picked((0,), (3, 4, 6, 9, 13, 18))]
    assert groups_of(50, Sampler.SHIFT) == groups_of(20, Sampler.SHIFT)
    assert SHIFT == (3, 4, 6, 9, 13, 18)


def test_the_other_samplers_are_the_releases() -> None:
    assert groups_of(50, Sampler.SHIFT_ALL_NEG) == [Picked((0,), tuple(range(3, 20)))]
    iteration = groups_of(20, Sampler.ITERATION)
    assert len(iteration) == 16
    assert iteration[:4] == [
        Picked((0,), (1, 2, 3, 4)),
        Picked((1,), (2, 3, 4)),
        Picked((2,), (3, 4)),
        Picked((3,), (4,)),
    ]
    assert iteration[-1] == Picked((18,), (19,))


@pytest.mark.parametrize(
    ("length", "negatives"),
    [(19, SHIFT), (18, (3, 4, 6, 9, 13, 17)), (8, (3, 4, 6, 7)), (5, (3, 4)), (4, (3,))],
)
def test_a_short_list_clamps_the_ranks(length: int, negatives: tuple[int, ...]) -> None:
    assert groups_of(length, Sampler.SHIFT) == [Picked((0,), negatives)]


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_too_few_candidates_give_no_group(length: int) -> None:
    assert groups_of(length, Sampler.SHIFT) == groups_of(length, Sampler.SHIFT_ALL_NEG) == []


@given(st.integers(0, 60), st.sampled_from(Sampler))
def test_no_group_names_a_rank_twice_or_beyond_the_list(length: int, sampler: Sampler) -> None:
    for group in groups_of(length, sampler):
        ranks = [*group.positives, *group.negatives]
        assert len(set(ranks)) == len(ranks) > 1
        assert max(ranks) < min(length, 20)
        assert max(group.positives) < min(group.negatives)


@given(SCORES)
def test_scaled_scores_lie_in_zero_to_one_and_keep_the_order(scores: list[float]) -> None:
    scaled = min_max(scores)
    assert len(scaled) == len(scores)
    assert all(0 <= score <= 1 for score in scaled)
    if len(set(scores)) < 2:
        assert scaled == [0.0] * len(scores)
        return
    assert (min(scaled), max(scaled)) == (0.0, 1.0)
    order = order_of(scores)
    assert all(scaled[one] >= scaled[other] for one, other in pairwise(order))


def test_a_constant_list_is_all_zeros_and_leaves_the_retrievers_order() -> None:
    assert min_max([0.7, 0.7, 0.7]) == [0.0, 0.0, 0.0]
    assert order_of(blended([0.0] * 3, [0.0] * 3, weight=0.5)) == [0, 1, 2]


def test_the_weight_is_that_of_the_rationale() -> None:
    assert blended([1.0, 0.0], [0.0, 0.5], weight=1) == [1.0, 0.0]
    assert blended([1.0, 0.0], [0.0, 0.5], weight=0) == [0.0, 0.5]
    assert blended([1.0, 0.0], [0.0, 0.5], weight=0.5) == [0.5, 0.25]


def test_known_golds_are_positives_and_never_negatives() -> None:
    gold = [at in (4, 9) for at in range(20)]
    (group,) = gold_groups(gold, Sampler.SHIFT)
    assert group.positives == (4, 9)
    others = [at for at in range(20) if not gold[at]]
    assert group.negatives == tuple(dict.fromkeys(others[min(rank, 18) - 1] for rank in SHIFT))
    assert gold_groups([False] * 20, Sampler.SHIFT) == []
    assert gold_groups([True, False], Sampler.SHIFT) == []


@given(st.lists(st.booleans(), max_size=40), st.sampled_from(Sampler))
def test_golds_and_negatives_are_disjoint(gold: list[bool], sampler: Sampler) -> None:
    for group in gold_groups(gold, sampler):
        assert all(gold[at] for at in group.positives)
        assert not any(gold[at] for at in group.negatives)
        assert group.negatives


def ranking(scores: list[tuple[float, float | None]]) -> Ranking:
    """Candidates p0, p1, … with scaled scores (retriever, rationale)."""
    return Ranking(
        "q",
        "asked",
        tuple(
            RankedPassage(
                f"p{at}",
                {"retrieval_scaled": first} | ({} if second is None else {"rationale_scaled": second}),
            )
            for at, (first, second) in enumerate(scores)
        ),
    )


def test_another_weight_is_a_re_sort() -> None:
    asked = Question("q", "asked", ("a",), ("p2",))
    table = ranking([(1.0, 0.0), (0.5, 0.5), (0.0, 1.0)])
    orders = [blended_list(asked, table, weight=weight) for weight in (0, 0.5, 1)]
    assert [found.ids for found in orders if found] == [
        ("p0", "p1", "p2"),
        ("p0", "p1", "p2"),  # all equal: the retriever's order
        ("p2", "p1", "p0"),
    ]
    assert orders[0] is not None
    assert orders[0].is_gold() == [False, False, True]


def test_without_a_rationale_only_the_retriever_can_rank() -> None:
    table = ranking([(1.0, None), (0.0, None)])
    assert blended_list(Question("q", "asked"), table, weight=0.5) is None
    assert blended_list(Question("q", "asked"), table, weight=0) is not None


@pytest.mark.parametrize(
    ("gold", "known", "positives"),
    [
        (Gold.IGNORE, "p7", [(0,)]),
        (Gold.FIRST, "p7", [(7,)]),
        (Gold.FIRST, "elsewhere", [(0,)]),
        (Gold.ONLY, "p7", [(7,)]),
        (Gold.ONLY, "elsewhere", []),
    ],
)
def test_the_use_of_known_golds(gold: Gold, known: str, positives: list[tuple[int, ...]]) -> None:
    asked = Question("q", "asked", ("a",), (known,))
    found = blended_list(asked, ranking([(1 - at / 20, 0.0) for at in range(20)]), weight=0)
    assert found is not None
    assert [group.positives for group in picked_groups(found, Blend(gold=gold))] == positives


def test_a_question_stays_in_its_part_whatever_the_others_are() -> None:
    parts = [part_of(f"q{n}", 0.25) for n in range(400)]
    assert 60 < parts.count("validation") < 140
    assert all(part_of(f"q{n}", 0.5) == "validation" for n in range(400) if parts[n] == "validation")
    assert {part_of(f"q{n}", 0) for n in range(50)} == {"train"}
