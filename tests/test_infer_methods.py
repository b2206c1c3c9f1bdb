"""The baselines with a scripted model and the toy retriever: what is searched, kept, counted, answered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from helpers_methods import (
    CASES,
    FACTS,
    FROM_PASSAGES,
    FROM_SEARCHES,
    OBSERVE,
    WORLD,
    Case,
    Rows,
    answered,
    queries,
    runtime_for,
    script,
)

from src_core.errors import RetrieverError, UserError
from src_core.types import Finish, Passage, Status, Step, to_json, trajectory_from_json
from src_infer.episode import Limits
from src_infer.methods import load_method, method_names
from src_retrieval.toy import ToyRetriever

ELSEWHERE = {"closed_book", "naive_rag", "rearag"}  # tests/test_infer_rag.py
ELSEWHERE |= {"cot", "cot_retrieve", "fl_rag", "dragin", "uar", "taare"}  # tests/test_infer_baselines.py
BY_NAME = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
STEPWISE = [case for case in CASES.values() if case.method != "in_context"]
BY_STEPS = pytest.mark.parametrize("case", STEPWISE, ids=[name for name in CASES if CASES[name] in STEPWISE])


def test_the_cases_are_of_methods_and_helpers_are_none() -> None:
    """A new module in `src_infer/methods` needs no case here."""
    assert {case.method for case in CASES.values()} | ELSEWHERE <= set(method_names())
    for helper in ("__init__", "stepwise", "../stepwise"):
        with pytest.raises(UserError, match="no method"):
            load_method(helper)


@BY_NAME
def test_a_method_searches_answers_and_leaves_all_on_record(case: Case, tmp_path: Path) -> None:
    model = script(tmp_path / "s.jsonl", case.rows, unsure=case.unsure)
    printed: list[Step] = []
    row = answered(case.method, runtime_for(model, printed=printed), **case.settings)
    assert (row.status, row.answer, row.error) == (Status.FINISHED, case.answer, None)
    assert queries(row) == case.queries
    assert isinstance(row.steps[-1].action, Finish)
    assert [step.n for step in row.steps] == list(range(1, len(row.steps) + 1))
    assert tuple(printed) == row.steps
    assert row.usage.calls == len(model.calls) == case.calls
    assert row.usage.completion_tokens > 0
    assert {passage.id for step in row.steps for passage in step.passages} >= {"p1", "p2"}
    assert not row.provenance.get("parse_failures")
    assert trajectory_from_json(to_json(row)) == row


NONSENSE = {"ircot": "", "flare": "", "fs_rag": "", "iter_retgen": " \n"}
CODES = {
    "ircot": "empty_argument",
    "flare": "empty_argument",
    "iter_retgen": "empty_reply",
    "self_ask": "no_follow_up",
    "searchain": "no_query",
    "search_o1": "no_query_or_answer",
    "search_r1": "no_tag",
    "r3rag": "no_analysis",
    "fs_rag": "empty_argument",
    "iterdrag": "no_follow_up",
    "auto_rag": "no_query_or_answer",
}
READER: Rows = [(FROM_PASSAGES, ["by reader"]), (FROM_SEARCHES, ["by reader"]), (OBSERVE, FACTS)]


@BY_STEPS
def test_replies_that_cannot_be_read_are_counted_and_the_reader_answers(case: Case, tmp_path: Path) -> None:
    first = case.rows[0][0]
    rows: Rows = [*READER, (first, [NONSENSE.get(case.method, "well, I think")] * 2)]
    row = answered(case.method, runtime_for(script(tmp_path / "s.jsonl", rows)), **case.settings)
    assert (row.status, row.answer) == (Status.MALFORMED_THEN_ANSWERED, "by reader")
    assert row.provenance["parse_failures"] == [CODES[case.method]] * 2
    assert queries(row) == case.queries[: row.searches]  # an opening retrieval, or nothing


@BY_STEPS
def test_a_malformed_reply_is_asked_for_again(case: Case, tmp_path: Path) -> None:
    (first, replies), *others = case.rows
    rows = [(first, [NONSENSE.get(case.method, "well, I think"), *replies]), *others]
    row = answered(
        case.method, runtime_for(script(tmp_path / "s.jsonl", rows, unsure=case.unsure)), **case.settings
    )
    assert (row.status, row.answer) == (Status.FINISHED, case.answer)
    assert row.provenance["parse_failures"] == [CODES[case.method]]
    assert sum(step.parse_failures for step in row.steps) == 1


@BY_STEPS
def test_at_the_cap_the_reader_answers_from_what_was_found(case: Case, tmp_path: Path) -> None:
    steps = len(case.queries) - 1
    row = answered(
        case.method,
        runtime_for(
            script(tmp_path / "s.jsonl", [*READER, *case.rows], unsure=case.unsure),
            limits=Limits(t_max=steps),
        ),
        **case.settings,
    )
    assert (row.status, row.answer) == (Status.CAPPED_THEN_ANSWERED, "by reader")
    assert queries(row) == case.queries[:steps]


@BY_STEPS
def test_a_model_that_fails_is_a_row_with_the_steps_before(case: Case, tmp_path: Path) -> None:
    (first, replies), *others = case.rows
    model = script(tmp_path / "s.jsonl", [*others, (first, replies[:1])], unsure=case.unsure)
    row = answered(case.method, runtime_for(model), **case.settings)
    assert row.status is Status.MODEL_ERROR
    assert "no reply left" in (row.error or "")
    assert queries(row) == case.queries[: row.searches]
    assert row.searches > 0


class Broken(ToyRetriever):
    """Finds nothing any more."""

    async def search(self, query: str, top_n: int) -> list[Passage]:
        raise RetrieverError("down")

    async def passages(self, ids: Sequence[str]) -> list[Passage]:
        raise RetrieverError("down")


@BY_STEPS
def test_a_retriever_that_fails_is_a_row(case: Case, tmp_path: Path) -> None:
    model = script(tmp_path / "s.jsonl", case.rows)
    row = answered(case.method, runtime_for(model, retriever=Broken(WORLD)), **case.settings)
    assert (row.status, row.error, row.steps) == (Status.RETRIEVER_ERROR, "down", ())


def test_only_methods_that_search_while_they_think_read_the_think_block(tmp_path: Path) -> None:
    """A think block that speaks of a follow-up question is no reply of Self-Ask; Search-o1 searches inside
    it.
    """
    thinks = "<think>Follow up: Where is Bath?</think>So the final answer is: Steventon"
    asked = answered("self_ask", runtime_for(script(tmp_path / "a.jsonl", [("", [thinks])])))
    assert (asked.answer, queries(asked)) == ("Steventon", [])
    inside = "<think>Hm. <|begin_search_query|>Who wrote Emma?<|end_search_query|>"
    rows = [("Reasoning so far:", [inside, "\\boxed{Steventon}"]), ("", ["Final Information: Jane Austen"])]
    searched = answered("search_o1", runtime_for(script(tmp_path / "b.jsonl", rows)))
    assert (searched.answer, queries(searched)) == ("Steventon", ["Who wrote Emma?"])
