"""Rewards, worked out by hand from the tables of R3-RAG (r3rag.md, 1.9) and DeepRAG (deeprag.md, 9)."""

from __future__ import annotations

import pytest

from src_tasks.rewards import (
    DeepRagRewards,
    Ending,
    FormatCosts,
    OutcomeMetric,
    Penalties,
    R3Rewards,
    SearchR1Rewards,
    deeprag_reward,
    format_reward,
    outcome_reward,
    penalties,
    process_rewards,
    r3rag_rewards,
    repaired_rewards,
    search_r1_reward,
)


@pytest.mark.parametrize(
    ("answer", "metric", "reward"),
    [
        ("the Velby", OutcomeMetric.EM, 1.0),
        ("Velby town", OutcomeMetric.EM, 0.0),
        ("Velby town", OutcomeMetric.F1, 2 / 3),
        ("Velby town", OutcomeMetric.COVER_EM, 1.0),
        ("Orrin", OutcomeMetric.COVER_EM, 0.0),
        ("", OutcomeMetric.COVER_EM, 0.0),
    ],
)
def test_an_outcome_pays_its_metric(answer: str, metric: OutcomeMetric, reward: float) -> None:
    assert outcome_reward(answer, ["Velby", "Port Velby"], metric=metric) == pytest.approx(reward)


def test_what_cannot_be_known_is_no_number() -> None:
    assert outcome_reward("Velby", []) is None
    assert process_rewards([["a"]], []) is None


def test_no_answer_earns_nothing_even_from_a_gold_that_is_an_article() -> None:
    assert outcome_reward(" ", ["A"]) == 0.0
    assert outcome_reward("A", ["A"]) == 1.0


def test_the_format_term() -> None:
    assert format_reward(failures=0) == 0.0
    assert format_reward(failures=0, fixes=3) == 0.0
    assert format_reward(failures=1) == format_reward(failures=4) == -0.9
    costs = FormatCosts(failure=0.5, fix=0.1, most=0.8)
    assert format_reward(failures=1, fixes=2, costs=costs) == pytest.approx(-0.7)
    assert format_reward(failures=2, fixes=2, costs=costs) == pytest.approx(-0.8)


def test_a_search_is_paid_for_the_gold_passages_that_it_finds_first() -> None:
    searches = [["x", "g1"], ["g1", "x"], ["g3", "g2", "g2"], []]
    assert process_rewards(searches, ["g1", "g2", "g3", "g4", "g4"]) == [0.25, 0.0, 0.5, 0.0]
    assert process_rewards([], ["g1"]) == []


@pytest.mark.parametrize(
    ("ending", "rewards"),
    [
        (Ending.CORRECT, [1.6, 0.8, 2.0]),
        (Ending.INCORRECT, [0.8, 0.4, 0.0]),
        (Ending.UNANSWERED, [0.9, 0.45]),
        (Ending.MALFORMED, [1.0, 0.5, -0.9]),
    ],
)
def test_r3rag_as_shipped(ending: Ending, rewards: list[float]) -> None:
    assert r3rag_rewards([1.0, 0.5], ending) == pytest.approx(rewards)
    assert r3rag_rewards([1 / 3], Ending.CORRECT) == [0.533, 2.0], "three decimals"


def test_the_numbers_of_r3rag_are_settings() -> None:
    outcome_only = R3Rewards(correct_factor=0, incorrect_factor=0, unanswered_factor=0, malformed_factor=0)
    assert r3rag_rewards([1.0, 0.5], Ending.CORRECT, numbers=outcome_only) == [0, 0, 2.0]


@pytest.mark.parametrize(("searches", "reward"), [(0, 1.0), (1, 0.9), (3, 0.7), (5, 0.5), (9, 0.5)])
def test_a_right_answer_is_worth_less_with_each_search_up_to_five(searches: int, reward: float) -> None:
    found = deeprag_reward(right=True, retrievals=searches, sub_questions=9, well_formed=True)
    assert found == pytest.approx(reward)


@pytest.mark.parametrize(
    ("right", "sub_questions", "well_formed", "reward"),
    [
        (False, 2, True, 0.1),
        (False, 2, False, 0.0),
        (True, 2, False, 0.0),  # the answer is read from its tags
        (True, 0, True, 0.0),  # a lucky guess without a sub-question
        (False, 0, True, 0.0),
    ],
)
def test_a_wrong_answer_is_worth_its_form_and_a_guess_nothing(
    right: bool, sub_questions: int, well_formed: bool, reward: float
) -> None:
    made = {"right": right, "sub_questions": sub_questions, "well_formed": well_formed}
    assert deeprag_reward(retrievals=0, **made) == reward


def test_the_release_pays_a_guess_when_no_sub_question_is_wanted() -> None:
    numbers = DeepRagRewards(min_sub_questions=0)
    made = deeprag_reward(right=True, retrievals=0, sub_questions=0, well_formed=True, numbers=numbers)
    assert made == 1.0


@pytest.mark.parametrize(
    ("shares", "outcome", "ending", "rewards"),
    [
        ([0.5, 0.5], 1.0, Ending.CORRECT, [0.15, 0.15, 1.0]),
        ([0.5, 0.0], 0.4, Ending.INCORRECT, [0.15, 0.0, 0.4]),
        ([], 1.0, Ending.CORRECT, [1.0]),
        ([0.5, 0.5], 0.0, Ending.UNANSWERED, [0.0, 0.0, -0.2]),
        ([], 0.0, Ending.UNANSWERED, [-0.2]),
        ([0.5, 0.5], 0.0, Ending.MALFORMED, [0.0, 0.0, -0.5]),
        ([], 0.0, Ending.MALFORMED, [-0.5]),
    ],
)
def test_the_repaired_r3rag(
    shares: list[float], outcome: float, ending: Ending, rewards: list[float]
) -> None:
    assert repaired_rewards(shares, outcome, ending) == pytest.approx(rewards)


def test_searching_on_pays_as_shipped_and_not_once_repaired() -> None:
    """Five relevant searches without an answer against two and the right one (r3rag.md, 1.13, point 12)."""
    assert sum(r3rag_rewards([1.0] * 5, Ending.UNANSWERED)) > sum(r3rag_rewards([0.5, 0.5], Ending.CORRECT))
    stalled = sum(repaired_rewards([0.2] * 5, 0.0, Ending.UNANSWERED))
    wrong = sum(repaired_rewards([0.0], 0.0, Ending.INCORRECT))
    assert sum(repaired_rewards([], 1.0, Ending.CORRECT)) > wrong > stalled


def test_relevant_searches_never_pay_more_than_the_right_answer_once_repaired() -> None:
    """A judge may find each of them relevant: their sum is then above 1, and they share the same 0.3."""
    assert repaired_rewards([1.0, 0.5, 0.5], 0.0, Ending.INCORRECT) == pytest.approx([0.15, 0.075, 0.075, 0])
    for searches in (1, 5, 15):
        wrong = repaired_rewards([0.9] * searches, 0.0, Ending.INCORRECT)
        assert sum(wrong) <= 0.3 + 1e-9 < sum(repaired_rewards([], 1.0, Ending.CORRECT))


@pytest.mark.parametrize(
    ("right", "answered", "valid", "found", "reward"),
    [
        (True, True, True, False, 1.0),
        (True, True, False, False, 0.8),
        (False, True, True, False, 0.2),
        (False, True, True, True, 0.5),
        (False, False, True, False, 0.2),
        (False, True, False, True, 0.1),
        (False, False, False, False, 0.0),
    ],
)
def test_search_r1(right: bool, answered: bool, valid: bool, found: bool, reward: float) -> None:
    numbers = SearchR1Rewards(found=0.3)
    made = {"right": right, "answered": answered, "valid": valid, "found": found}
    assert search_r1_reward(**made, numbers=numbers) == pytest.approx(reward)
    assert search_r1_reward(**made, numbers=SearchR1Rewards(format=False)) == float(right)


def test_penalties_of_each_step() -> None:
    costs = Penalties(no_answer=0.3, repeat=0.1, over_search=0.05, free_searches=2)
    searches, repeated = [True, True, True, False], [False, False, True, False]
    assert penalties(searches, repeated, answered=True, costs=costs) == pytest.approx([0, 0, -0.15, 0])
    assert penalties(searches, repeated, answered=False, costs=costs) == pytest.approx([0, 0, -0.15, -0.3])
    assert penalties([], [], answered=False, costs=costs) == []
    assert penalties(searches, repeated, answered=False) == [0, 0, 0, 0]
