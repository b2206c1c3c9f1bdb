"""The figures of an answered question, and the totals of a run."""

from __future__ import annotations

import pytest
from helpers_scores import answered

from src_core.types import Passage, Question, Search, Status, Step, Trajectory, Usage
from src_tasks.scores import group_of, replies_of, score, totals

PASSAGE = Passage("p1", "Emma", "Emma\nEmma is a novel by Jane Austen.")


def test_totals_count_failed_rows_as_wrong_and_group_by_kind() -> None:
    def made(answer: str, status: Status = Status.FINISHED, **meta: object) -> Trajectory:
        question = Question("i", "q", ("gold",), ("p1", "p2"), meta=dict(meta))
        steps = (Step(1, "", Search("s"), "o", (PASSAGE,), parse_fixes=("no_fence",)),)
        return Trajectory(
            question, steps, answer, status, Usage(2, 3, 4), 1.5, None, {"parse_failures": ["x"]}
        )

    rows = [made("gold", type="bridge", hops=2), made("gold", Status.MODEL_ERROR, type="comparison")]
    found = totals(rows)
    assert found["all"] == {
        "questions": 2,
        "without_gold": 0,
        "em": 0.5,
        "f1": 0.5,
        "gold_recall": 0.5,
        "searches": 1.0,
        "searches_right": 1.0,
        "searches_wrong": 1.0,
        "tokens": 7.0,
        "seconds": 1.5,
    }
    assert list(found["by_group"]) == ["bridge 2-hop", "comparison"]
    assert found["outcomes"] == {"finished": 1, "model_error": 1}
    assert found["parse_fixes"] == {"no_fence": 2}
    assert (found["parse_failures"], found["parse_failure_share"]) == (2, 0.5)
    assert found["tokens"] == {"calls": 4, "prompt": 6, "completion": 8}


def test_a_question_without_golds_has_no_answer_metrics_and_is_counted() -> None:
    unknown = answered("Who?", "Emma")
    assert score(unknown) == {"searches": 0.0, "tokens": 110.0, "seconds": 1.5}
    whole = totals([unknown, answered("Where?", "x", "x")])["all"]
    assert (whole["questions"], whole["without_gold"], whole["em"]) == (2, 1, 1.0)
    alone = totals([unknown])["all"]
    assert (alone["em"], alone["searches_right"], alone["searches_wrong"]) == (None, None, None)


@pytest.mark.parametrize("status", [Status.MODEL_ERROR, Status.RETRIEVER_ERROR, Status.REFUSED])
def test_a_failed_question_scores_0_whatever_its_answer(status: Status) -> None:
    found = score(answered("Who?", "Emma", "Emma", status=status))
    assert [found[name] for name in ("em", "f1", "cover_em", "rouge_l")] == [0.0] * 4


@pytest.mark.parametrize("gold", ["A", "The", "The The", "yes", "!!!"])
def test_a_blank_answer_scores_0_whatever_the_gold(gold: str) -> None:
    found = score(answered("Who?", " \n", gold))
    assert [found[name] for name in ("em", "f1", "cover_em", "rouge_l")] == [0.0] * 4
    assert score(answered("Who?", gold, gold))["em"] == 1.0


def test_recall_is_that_of_the_run_or_of_none() -> None:
    quiet = answered("Who?", "x", "x", supporting=["g"])
    assert totals([quiet])["all"]["gold_recall"] is None
    searching = answered("Where?", "x", "x", searches=[["g", "y"], ["h"]], supporting=["g", "h"])
    assert totals([quiet, searching])["all"]["gold_recall"] == 0.5


def test_the_group_of_a_question() -> None:
    assert group_of(Question("i", "q", group="anatomy", meta={"type": "bridge"})) == "anatomy"
    assert group_of(Question("i", "q", meta={"type": "bridge", "hops": 3})) == "bridge 3-hop"
    assert group_of(Question("i", "q", meta={"type": "comparison", "hops": 2})) == "comparison"
    assert group_of(Question("i", "q")) == ""
    assert list(totals([answered("Who?", "x", "x")])["by_group"]) == ["all"]


def chosen(answer: str, *, group: str = "", status: Status = Status.FINISHED) -> Trajectory:
    question = Question("i", "q", ("1",), choices=("0", "-1", "1", "2"), group=group)
    return Trajectory(question, (), answer, status)


def test_multiple_choice_is_right_or_wrong_by_the_choice() -> None:
    wanted = {"choice_accuracy": 1.0, "em": 1.0, "f1": 1.0, "choice_unread": 0.0, "searches": 0.0}
    for answer in ("C", "(c)", "C. 1", "1"):
        assert score(chosen(answer)) == wanted | {"tokens": 0.0, "seconds": 0.0}
    for answer, unread in (("B", 0.0), ("-1", 0.0), ("1.", 1.0), ("A or C", 1.0), ("", 0.0)):
        found = score(chosen(answer))
        assert (found["choice_accuracy"], found["em"], found["choice_unread"]) == (0.0, 0.0, unread), answer
    assert score(chosen("C", status=Status.MODEL_ERROR))["em"] == 0.0


def test_totals_of_multiple_choice_by_group() -> None:
    rows = [chosen("C", group="physics"), chosen("B", group="physics"), chosen("either", group="anatomy")]
    found = totals(rows)
    assert found["by_group"]["physics"]["choice_accuracy"] == 0.5
    assert (found["by_group"]["anatomy"]["choice_accuracy"], found["all"]["choice_unread"]) == (0.0, 1)
    assert "choice_accuracy" not in totals([answered("Who?", "x", "x")])["all"]


@pytest.mark.parametrize(
    ("steps", "rejected", "calls", "replies"),
    [(2, 0, 1, 1), (2, 1, 3, 3), (2, 1, 7, 3), (2, 1, 0, 3), (0, 3, 0, 3), (2, 1, None, 3)],
)
def test_replies_are_no_more_than_the_calls(
    steps: int, rejected: int, calls: int | None, replies: int
) -> None:
    assert replies_of(steps, rejected=rejected, calls=calls) == replies
