"""The baselines with a scripted model and the toy retriever: what is searched, kept, counted, answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from helpers_methods import (
    ANSWERED,
    ASKED,
    CASES,
    DOCUMENTS,
    FACTS,
    FROM_PASSAGES,
    FROM_SEARCHES,
    ITER_RETGEN,
    O1_QUERY,
    OBSERVE,
    QUESTION,
    SEARCH_O1,
    SEARCHAIN,
    SENTENCE,
    WHERE,
    WHO,
    WORLD,
    Case,
    Rows,
    answered,
    kit_for,
    queries,
    script,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.errors import RetrieverError, UserError
from src_core.llm import Completion, Message, Sampling, Token
from src_core.types import Finish, Passage, Status, Step, Usage, to_json, trajectory_from_json
from src_infer.episode import Limits
from src_infer.methods import load_method, method_names
from src_infer.methods.flare import likely_part, tokens_of
from src_infer.methods.search_o1 import LIMIT_NOTICE, NOTHING_FOUND
from src_infer.methods.searchain import first_node
from src_retrieval.toy import ToyRetriever

ELSEWHERE = {"closed_book", "naive_rag", "rearag"}  # tests/test_infer_rag.py
BY_NAME = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
STEPWISE = [case for case in CASES.values() if case.method != "in_context"]
BY_STEPS = pytest.mark.parametrize("case", STEPWISE, ids=[name for name in CASES if CASES[name] in STEPWISE])


def test_every_method_has_its_case_here_or_with_the_engine() -> None:
    assert {case.method for case in CASES.values()} | ELSEWHERE == set(method_names())
    for helper in ("__init__", "stepwise", "../stepwise"):
        with pytest.raises(UserError, match="no method"):
            load_method(helper)


@BY_NAME
def test_a_method_searches_answers_and_leaves_all_on_record(case: Case, tmp_path: Path) -> None:
    model = script(tmp_path / "s.jsonl", case.rows, unsure=case.unsure)
    printed: list[Step] = []
    row = answered(case.method, kit_for(model, printed=printed, **case.settings))
    assert (row.status, row.answer, row.error) == (Status.FINISHED, case.answer, None)
    assert queries(row) == case.queries
    assert isinstance(row.steps[-1].action, Finish)
    assert [step.n for step in row.steps] == list(range(1, len(row.steps) + 1))
    assert tuple(printed) == row.steps
    assert row.usage.calls == len(model.calls) == case.calls
    assert row.usage.completion_tokens > 0
    assert {passage.id for step in row.steps for passage in step.passages} >= {"p1", "p2"}
    assert not row.provenance.get("rejected_replies")
    assert trajectory_from_json(to_json(row)) == row


NONSENSE = {"ircot": "", "flare": "", "iter_retgen": " \n"}
CODES = {
    "ircot": "empty_argument",
    "flare": "empty_argument",
    "iter_retgen": "empty_reply",
    "self_ask": "no_follow_up",
    "searchain": "no_query",
    "search_o1": "no_query_or_answer",
    "search_r1": "no_tag",
}
READER: Rows = [(FROM_PASSAGES, ["by reader"]), (FROM_SEARCHES, ["by reader"]), (OBSERVE, FACTS)]


@BY_STEPS
def test_replies_that_cannot_be_read_are_counted_and_the_reader_answers(case: Case, tmp_path: Path) -> None:
    first = case.rows[0][0]
    rows: Rows = [*READER, (first, [NONSENSE.get(case.method, "well, I think")] * 2)]
    row = answered(case.method, kit_for(script(tmp_path / "s.jsonl", rows), **case.settings))
    assert (row.status, row.answer) == (Status.MALFORMED_THEN_ANSWERED, "by reader")
    assert row.provenance["rejected_replies"] == [CODES[case.method]] * 2
    assert queries(row) == case.queries[: row.searches]  # an opening retrieval, or nothing


@BY_STEPS
def test_a_malformed_reply_is_asked_for_again(case: Case, tmp_path: Path) -> None:
    (first, replies), *others = case.rows
    rows = [(first, [NONSENSE.get(case.method, "well, I think"), *replies]), *others]
    row = answered(
        case.method, kit_for(script(tmp_path / "s.jsonl", rows, unsure=case.unsure), **case.settings)
    )
    assert (row.status, row.answer) == (Status.FINISHED, case.answer)
    assert row.provenance["rejected_replies"] == [CODES[case.method]]
    assert sum(step.rejected for step in row.steps) == 1


@BY_STEPS
def test_at_the_cap_the_reader_answers_from_what_was_found(case: Case, tmp_path: Path) -> None:
    steps = len(case.queries) - 1
    row = answered(
        case.method,
        kit_for(
            script(tmp_path / "s.jsonl", [*READER, *case.rows], unsure=case.unsure),
            limits=Limits(t_max=steps),
            **case.settings,
        ),
    )
    assert (row.status, row.answer) == (Status.CAPPED_THEN_ANSWERED, "by reader")
    assert queries(row) == case.queries[:steps]


@BY_STEPS
def test_a_model_that_fails_is_a_row_with_the_steps_before(case: Case, tmp_path: Path) -> None:
    (first, replies), *others = case.rows
    model = script(tmp_path / "s.jsonl", [*others, (first, replies[:1])], unsure=case.unsure)
    row = answered(case.method, kit_for(model, **case.settings))
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
    row = answered(case.method, kit_for(model, retriever=Broken(WORLD), **case.settings))
    assert (row.status, row.error, row.steps) == (Status.RETRIEVER_ERROR, "down", ())


def test_in_context_reads_the_questions_own_passages_in_their_order(tmp_path: Path) -> None:
    model = script(tmp_path / "s.jsonl", CASES["in_context"].rows)
    row = answered("in_context", kit_for(model))
    assert [passage.id for passage in row.steps[0].passages] == ["p3", "p2", "p1"]
    assert row.searches == 0
    prompt = model.calls[0][-1]["content"]
    assert prompt.index("[1] Bath:") < prompt.index("[2] Jane Austen:") < prompt.index("[3] Emma:")


def test_in_context_says_when_a_question_brings_no_passages(tmp_path: Path) -> None:
    model = script(tmp_path / "s.jsonl", CASES["in_context"].rows)
    row = answered("in_context", kit_for(model), replace(QUESTION, meta={}))
    assert (row.status, row.answer, model.calls) == (Status.REFUSED, "", [])
    assert "context_ids" in (row.error or "")
    with pytest.raises(RetrieverError, match="no passage with the id 'p9'"):
        answered("in_context", kit_for(model), replace(QUESTION, meta={"context_ids": ["p1", "p9"]}))


def test_ircot_shows_the_reader_and_itself_every_passage_once(tmp_path: Path) -> None:
    model = script(tmp_path / "s.jsonl", CASES["ircot"].rows)
    answered("ircot", kit_for(model))
    second, last = (call[-1]["content"] for call in model.calls[1:])
    for prompt in (second, last):
        assert prompt.count("novel by Jane Austen") == prompt.count("born in Steventon") == 1
    assert "Thoughts so far: Jane Austen wrote it." in second


def test_self_ask_keeps_its_transcript_in_the_users_turn(tmp_path: Path) -> None:
    model = script(tmp_path / "s.jsonl", CASES["self_ask"].rows)
    row = answered("self_ask", kit_for(model))
    transcript = f"Follow up: {WHO}\nIntermediate answer: {FACTS[0]}\nFollow up: {WHERE}\n"
    assert [message["role"] for message in model.calls[-1]] == ["user"]
    assert transcript in model.calls[-1][0]["content"]
    assert row.steps[1].repairs == ("no_label",)


def test_iter_retgen_reads_the_newest_passages_and_stops_after_its_rounds(tmp_path: Path) -> None:
    texts = ["Jane Austen was born somewhere.", "Still Jane Austen.", "So the answer is: Steventon"]
    model = script(tmp_path / "s.jsonl", [(ITER_RETGEN, texts)])
    row = answered("iter_retgen", kit_for(model, iterations=3))
    assert queries(row) == [ASKED, f"{ASKED} {texts[0]}", f"{ASKED} {texts[1]}"]
    assert "Steventon" in model.calls[1][-1]["content"]
    assert "novel" not in model.calls[1][-1]["content"]
    assert row.answer == "Steventon"


def test_flare_writes_on_where_it_is_sure_and_says_where_it_cannot_know(tmp_path: Path) -> None:
    rows = CASES["flare"].rows
    sure = answered("flare", kit_for(script(tmp_path / "a.jsonl", rows, unsure=[])))
    assert queries(sure) == [ASKED]
    assert sure.steps[-1].thought.startswith("Emma was written by Jane Austen. Jane Austen was born in Bath.")
    assert sure.provenance["sentences_without_logprobs"] == 0
    replies = ["A one.", "A two.", "A three.", "So the answer is: A"]
    blind = answered("flare", kit_for(script(tmp_path / "b.jsonl", [(SENTENCE, replies)])))
    assert queries(blind) == [ASKED, "A one.", "A three."]
    assert [step.thought for step in blind.steps[2:]] == ["A two.", "So the answer is: A"]
    assert blind.provenance["sentences_without_logprobs"] == 2


def test_flare_leaves_unlikely_tokens_out_of_its_query() -> None:
    tokens = [
        Token(" It", -0.1),
        Token(" was", -0.1),
        Token(" Ba", -9.0),
        Token("th", -0.1),
        Token(".", -0.1),
    ]
    assert likely_part("It was Bath.", tokens, 0.2) == "It was"
    assert likely_part("It was Bath.", [], 0.2) == "It was Bath."
    assert likely_part("Bath", [Token("Bath", -9.0)], 0.2) == "Bath"
    assert tokens_of("was", tokens) == [tokens[1]]
    assert tokens_of("Oslo", tokens) == tokens_of("", tokens) == []


def test_search_o1_reads_its_documents_apart(tmp_path: Path) -> None:
    model = script(tmp_path / "s.jsonl", CASES["search_o1"].rows)
    row = answered("search_o1", kit_for(model))
    assert [step.observation for step in row.steps] == [*FACTS, None]
    assert [step.usage.calls for step in row.steps] == [2, 2, 1]
    assert row.provenance["readings_without_marker"] == 0
    result = f"<|end_search_query|>\n<|begin_search_result|>\n{FACTS[0]}\n<|end_search_result|>"
    assert result in model.calls[2][0]["content"]
    assert "[1] Emma: Emma is a novel" in model.calls[1][0]["content"]
    assert "novel" not in model.calls[2][0]["content"]  # only what helps comes back


def test_search_o1_searches_while_it_thinks_within_its_limit(tmp_path: Path) -> None:
    ask = ["<think>Hm. <|begin_search_query|>Emma<|end_search_query|>", O1_QUERY.format("Bath")]
    rows = [(SEARCH_O1, [*ask, "<think>ok</think>\\boxed{Steventon}"]), (DOCUMENTS, ["no marker"])]
    row = answered("search_o1", kit_for(script(tmp_path / "s.jsonl", rows), search_limit=1))
    assert queries(row) == ["Emma", "Bath"]
    assert [step.observation for step in row.steps] == [NOTHING_FOUND, LIMIT_NOTICE, None]
    assert row.steps[0].thought == "Hm."
    assert row.provenance["readings_without_marker"] == 1
    assert row.answer == "Steventon"


def test_searchain_keeps_what_is_confirmed_and_corrects_the_rest(tmp_path: Path) -> None:
    model = script(tmp_path / "s.jsonl", CASES["searchain"].rows)
    row = answered("searchain", kit_for(model))
    assert [step.thought for step in row.steps] == ["My own answer: Jane Austen", "My own answer: Bath", ""]
    assert row.steps[1].usage.calls == 1  # the second query is of the same chain
    assert f"[Query 2]: {WHERE}\n[Answer 2]: {FACTS[1]}" in model.calls[-1][0]["content"]


def test_searchain_lets_an_answer_stand_on_which_the_passages_say_nothing(tmp_path: Path) -> None:
    chain = f"[Query 1]: {WHO}\n[Answer 1]: Jane Austen\n[Unsolved Query 2]: {WHERE}\n[Final Answer]: Bath"
    silent = "The passages do not say."
    rows: Rows = [(SEARCHAIN, [chain, "[Final Answer]: Steventon"]), (OBSERVE, [silent, FACTS[1]])]
    model = script(tmp_path / "s.jsonl", rows)
    row = answered("searchain", kit_for(model))
    assert (row.answer, queries(row)) == ("Steventon", [WHO, WHERE])
    assert row.steps[1].thought == "unsolved"
    assert "[Answer 1]: Jane Austen" in model.calls[-1][0]["content"]
    assert first_node("[Final Answer]: x\n[Query 1]: y") is None


def test_search_r1_talks_in_turns_with_the_tags_of_its_protocol(tmp_path: Path) -> None:
    shown = {
        "search_r1": "<information>Doc 1(Title: Emma) Emma is a novel by Jane Austen.</information>",
        "r1_searcher": "<|begin_of_documents|>\n(1) Emma: Emma is a novel by Jane Austen.\n"
        "<|end_of_documents|>",
        "research": "<result>\nEmma: Emma is a novel by Jane Austen.\n</result>",
    }
    for protocol, documents in shown.items():
        case = CASES[protocol]
        model = script(tmp_path / f"{protocol}.jsonl", case.rows)
        row = answered("search_r1", kit_for(model, **case.settings))
        assert [message["role"] for message in model.calls[1]] == ["user", "assistant", "user"]
        assert model.calls[1][1]["content"] == case.rows[0][1][0]  # what the model itself wrote
        assert model.calls[1][2]["content"] == documents
        assert [step.thought for step in row.steps] == ["I need the author.", "I need the town.", "Done."]


FRAGMENTS = st.sampled_from(
    [
        *(
            "<think>",
            "</think>",
            "<search>",
            "</search>",
            "<answer>",
            "</answer>",
            "\\boxed{",
            "}",
            "\n",
            " ",
        ),
        *("<|begin_search_query|>", "<|end_search_query|>", "<|begin_of_query|>", "Final Information:"),
        *("[Query 1]: ", "[Answer 1]: ", "[Final Answer]: ", "Follow up: ", "So the answer is: ", "?", "."),
        *("\ud800", "\x00", "{question}", "{context}", "x" * 2100),
    ]
)
REPLIES = st.lists(
    st.lists(FRAGMENTS | st.text(max_size=12), max_size=8).map("".join), min_size=1, max_size=5
)


class Parrot:
    """Says the same things over and over, with random-looking probabilities."""

    name = "parrot"

    def __init__(self, replies: Sequence[str]) -> None:
        self._replies = replies
        self._at = 0

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling,
        stop: Sequence[str] = (),
        constraint: object = None,
        logprobs: bool = False,
    ) -> Completion:
        text = self._replies[self._at % len(self._replies)]
        self._at += 1
        tokens = tuple(Token(text[k : k + 3], -float(k % 5)) for k in range(0, len(text), 3))
        return Completion(text, "stop", Usage(1, 1, 1), tokens=tokens)

    async def ready(self) -> None: ...

    async def close(self) -> None: ...


@BY_NAME
@given(replies=REPLIES)
@settings(max_examples=20, deadline=None)
def test_no_reply_can_break_a_method_or_keep_it_going(case: Case, replies: list[str]) -> None:
    kit = kit_for(Parrot(replies), limits=Limits(t_max=4, step_tries=2), **case.settings)
    row = answered(case.method, kit)
    assert row.status in ANSWERED - {Status.REFUSED}
    assert len(row.steps) <= 4
    assert to_json(row)
