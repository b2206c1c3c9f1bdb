"""From a recorded trajectory to one reward per step, by the name of a rule."""

from __future__ import annotations

from dataclasses import replace

import pytest

from src_core.types import DirectAnswer, Finish, Passage, Question, Search, Status, Step, Trajectory
from src_tasks.reward_rules import RewardConfig, Verdicts, score
from src_tasks.rewards import Ending, FormatCosts, Penalties, SearchR1Rewards

QUESTION = Question("q", "Where is Orrin?", ("Velby",), ("g1", "g2"))
FIRST = Step(1, "t", Search("a"), "seen", (Passage("g1", "A", "A\nIn Velby."), Passage("x", "X", "X\nx")))
SECOND = Step(2, "t", Search("b"), "seen", (Passage("x", "X", "X\nx"), Passage("y", "Y", "Y\ny")))
RIGHT, WRONG = Step(3, "t", Finish("Velby")), Step(3, "t", Finish("Orrin"))


def played(*steps: Step, status: Status = Status.FINISHED, question: Question = QUESTION) -> Trajectory:
    return Trajectory(question, steps, "", status)


CAPPED, MALFORMED = Status.CAPPED_THEN_ANSWERED, Status.MALFORMED_THEN_ANSWERED
ENDED = {
    Ending.CORRECT: played(FIRST, SECOND, RIGHT),
    Ending.INCORRECT: played(FIRST, SECOND, WRONG),
    Ending.UNANSWERED: played(FIRST, SECOND, status=CAPPED),
    Ending.MALFORMED: played(FIRST, SECOND, status=MALFORMED),
}


@pytest.mark.parametrize(
    ("rule", "ending", "rewards"),
    [
        ("outcome", Ending.CORRECT, [0, 0, 1]),
        ("outcome", Ending.INCORRECT, [0, 0, 0]),
        ("outcome", Ending.UNANSWERED, [0, 0]),
        ("outcome", Ending.MALFORMED, [0, 0, 0]),
        ("r3rag", Ending.CORRECT, [0.8, 0, 2]),
        ("r3rag", Ending.INCORRECT, [0.4, 0, 0]),
        ("r3rag", Ending.UNANSWERED, [0.45, 0]),
        ("r3rag", Ending.MALFORMED, [0.5, 0, -0.9]),
        ("r3rag_repaired", Ending.CORRECT, [0.15, 0, 1]),
        ("r3rag_repaired", Ending.INCORRECT, [0.15, 0, 0]),
        ("r3rag_repaired", Ending.UNANSWERED, [0, -0.2]),
        ("r3rag_repaired", Ending.MALFORMED, [0, 0, -0.5]),
        ("deeprag", Ending.CORRECT, [0, 0, 0.8]),
        ("deeprag", Ending.INCORRECT, [0, 0, 0.1]),
        ("deeprag", Ending.UNANSWERED, [0, 0]),
        ("deeprag", Ending.MALFORMED, [0, 0, 0]),
        ("search_r1", Ending.CORRECT, [0, 0, 1]),
        ("search_r1", Ending.INCORRECT, [0, 0, 0.2]),
        ("search_r1", Ending.UNANSWERED, [0, 0]),
        ("search_r1", Ending.MALFORMED, [0, 0, 0]),
    ],
)
def test_every_rule_and_ending(rule: str, ending: Ending, rewards: list[float]) -> None:
    found = score(ENDED[ending], RewardConfig(rule=rule))
    assert found is not None
    assert found.ending is ending
    assert found.steps == pytest.approx(rewards)
    assert found.process == 0.5
    assert found.total == pytest.approx(sum(rewards))


def test_relevance_as_hits_and_by_a_judge() -> None:
    hits = score(ENDED[Ending.INCORRECT], RewardConfig(rule="r3rag", relevance="gold_hit"))
    assert hits is not None
    assert hits.steps == pytest.approx([0.8, 0.08, 0])  # the second search brought only something new
    config = RewardConfig(rule="r3rag", relevance="judge")
    judged = score(ENDED[Ending.INCORRECT], config, Verdicts((0.7, 0.2), right=True))
    assert judged is not None
    assert judged.steps == pytest.approx([1.12, 0.32, 2.0])
    assert judged.ending is Ending.CORRECT


@pytest.mark.parametrize("relevance", ["judge", "gold_hit"])
def test_more_relevant_searches_do_not_make_a_wrong_answer_worth_more_than_a_right_one(
    relevance: str,
) -> None:
    config = RewardConfig(relevance=relevance)
    found = [
        replace(FIRST, n=n, passages=(Passage("g1" if n == 1 else f"new{n}", "A", "A\na"),))
        for n in range(1, 7)
    ]
    many = score(played(*found, replace(WRONG, n=7)), config, Verdicts((1.0,) * 6))
    none = score(played(replace(RIGHT, n=1)), config, Verdicts())
    assert many is not None
    assert none is not None
    assert 0.2 < many.total <= 0.3 + 1e-9 < none.total


@pytest.mark.parametrize("verdicts", [None, Verdicts(), Verdicts((0.7, None))])
def test_nothing_stands_for_a_verdict_that_did_not_come(verdicts: Verdicts | None) -> None:
    assert score(ENDED[Ending.CORRECT], RewardConfig(rule="r3rag", relevance="judge"), verdicts) is None


def test_questions_without_golds() -> None:
    no_answer = played(RIGHT, question=replace(QUESTION, answers=()))
    assert score(no_answer, RewardConfig()) is None
    no_passages = replace(ENDED[Ending.CORRECT], question=replace(QUESTION, supporting=()))
    found = score(no_passages, RewardConfig())
    assert found is not None
    assert found.steps == (0.0, 0.0, 1.0)
    assert found.process is None


def test_a_repeated_query_finds_nothing_and_costs() -> None:
    again = replace(FIRST, n=2, repeated=True)
    config = RewardConfig(penalties=Penalties(repeat=0.1, over_search=0.05, free_searches=1))
    found = score(played(FIRST, again, RIGHT), config)
    assert found is not None
    assert found.steps == pytest.approx([0.15, -0.15, 1.0])


def test_the_costs_of_the_format() -> None:
    fixed = replace(FIRST, parse_failures=1, parse_fixes=("renumbered",))
    costs = FormatCosts(failure=0.2, fix=0.1, most=0.9)
    config = RewardConfig(rule="outcome", format=costs)
    right = score(played(fixed, RIGHT), config)
    assert right is not None
    assert right.steps == pytest.approx([-0.3, 1.0])
    malformed = score(played(fixed, status=MALFORMED), config)
    assert malformed is not None
    assert malformed.steps == pytest.approx([-0.3, -0.2])


def test_direct_answers_have_no_reward_of_their_own() -> None:
    direct = Step(2, "", DirectAnswer("When?", "1956"))
    found = score(played(FIRST, direct, RIGHT), RewardConfig())
    assert found is not None
    assert found.steps == pytest.approx([0.15, 0, 1.0])
    ended = score(played(FIRST, direct, status=CAPPED), RewardConfig())
    assert ended is not None
    assert ended.steps == pytest.approx([0, -0.2])
    stalled = score(played(replace(direct, n=1), direct, status=CAPPED), RewardConfig())
    assert stalled is not None
    assert stalled.steps == pytest.approx([0, -0.2]), "also without any search"


def test_search_r1_pays_a_gold_answer_in_a_passage() -> None:
    numbers = SearchR1Rewards(found=0.3)
    found = score(ENDED[Ending.INCORRECT], RewardConfig(rule="search_r1", search_r1=numbers))
    assert found is not None
    assert found.total == pytest.approx(0.5)


@pytest.mark.parametrize("rule", ["outcome", "r3rag", "r3rag_repaired", "deeprag", "search_r1"])
@pytest.mark.parametrize("status", [CAPPED, MALFORMED])
def test_an_empty_trajectory(rule: str, status: Status) -> None:
    found = score(played(status=status), RewardConfig(rule=rule))
    assert found is not None
    assert len(found.steps) == (status is MALFORMED)
