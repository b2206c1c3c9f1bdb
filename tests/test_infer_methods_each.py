"""What is particular to each baseline: what it shows its model, keeps, corrects and leaves out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers_methods import (
    ASKED,
    CASES,
    DOCUMENTS,
    FACTS,
    ITER_RETGEN,
    O1_QUERY,
    OBSERVE,
    QUESTION,
    SEARCH_O1,
    SEARCHAIN,
    SENTENCE,
    WHERE,
    WHO,
    Rows,
    answered,
    queries,
    runtime_for,
    script,
)

from src_core.errors import RetrieverError
from src_core.llm import Token
from src_core.types import Status
from src_infer.methods.flare import likely_part, tokens_of
from src_infer.methods.search_o1 import LIMIT_NOTICE, NOTHING_FOUND
from src_infer.methods.searchain import first_node


def test_in_context_reads_the_questions_own_passages_in_their_order(tmp_path: Path) -> None:
    model = script(tmp_path / "s.jsonl", CASES["in_context"].rows)
    row = answered("in_context", runtime_for(model))
    assert [passage.id for passage in row.steps[0].passages] == ["p3", "p2", "p1"]
    assert row.searches == 0
    prompt = model.calls[0][-1]["content"]
    assert prompt.index("[1] Bath:") < prompt.index("[2] Jane Austen:") < prompt.index("[3] Emma:")


def test_in_context_puts_gold_passages_among_retrieved_ones(tmp_path: Path) -> None:
    def read(name: str) -> list[str]:
        model = script(tmp_path / f"{name}.jsonl", CASES["in_context"].rows)
        asked = replace(QUESTION, id=name, meta={}, supporting=("p3",))
        row = answered("in_context", runtime_for(model), asked)
        assert row.provenance["context"] == "gold and retrieved"
        return [passage.id for passage in row.steps[0].passages]

    assert "p3" in read("a")
    assert len(set(read("a"))) == len(read("a")) > 1
    assert read("a") == read("a")
    assert len({tuple(read(name)) for name in "abcdefgh"}) > 1


def test_in_context_says_when_a_question_brings_no_passages(tmp_path: Path) -> None:
    model = script(tmp_path / "s.jsonl", CASES["in_context"].rows)
    row = answered("in_context", runtime_for(model), replace(QUESTION, meta={}, supporting=()))
    assert (row.status, row.answer, model.calls) == (Status.REFUSED, "", [])
    assert "context_ids" in (row.error or "")
    with pytest.raises(RetrieverError, match="no passage with the id 'p9'"):
        answered("in_context", runtime_for(model), replace(QUESTION, meta={"context_ids": ["p1", "p9"]}))


def test_ircot_shows_the_reader_and_itself_every_passage_once(tmp_path: Path) -> None:
    model = script(tmp_path / "s.jsonl", CASES["ircot"].rows)
    answered("ircot", runtime_for(model))
    second, last = (call[-1]["content"] for call in model.calls[1:])
    for prompt in (second, last):
        assert prompt.count("novel by Jane Austen") == prompt.count("born in Steventon") == 1
    assert "Thoughts so far: Jane Austen wrote it." in second


def test_self_ask_keeps_its_transcript_in_the_users_turn(tmp_path: Path) -> None:
    model = script(tmp_path / "s.jsonl", CASES["self_ask"].rows)
    row = answered("self_ask", runtime_for(model))
    transcript = f"Follow up: {WHO}\nIntermediate answer: {FACTS[0]}\nFollow up: {WHERE}\n"
    assert [message["role"] for message in model.calls[-1]] == ["user"]
    assert transcript in model.calls[-1][0]["content"]
    assert row.steps[1].parse_fixes == ("no_label",)


def test_iter_retgen_reads_the_newest_passages_and_stops_after_its_rounds(tmp_path: Path) -> None:
    texts = ["Jane Austen was born somewhere.", "Still Jane Austen.", "So the answer is: Steventon"]
    model = script(tmp_path / "s.jsonl", [(ITER_RETGEN, texts)])
    row = answered("iter_retgen", runtime_for(model), iterations=3)
    assert queries(row) == [ASKED, f"{ASKED} {texts[0]}", f"{ASKED} {texts[1]}"]
    assert "Steventon" in model.calls[1][-1]["content"]
    assert "novel" not in model.calls[1][-1]["content"]
    assert row.answer == "Steventon"


def test_flare_writes_on_where_it_is_sure_and_says_where_it_cannot_know(tmp_path: Path) -> None:
    rows = CASES["flare"].rows
    sure = answered("flare", runtime_for(script(tmp_path / "a.jsonl", rows, unsure=[])))
    assert queries(sure) == [ASKED]
    assert sure.steps[-1].thought.startswith("Emma was written by Jane Austen. Jane Austen was born in Bath.")
    assert sure.provenance["sentences_without_logprobs"] == 0
    replies = ["A one.", "A two.", "A three.", "So the answer is: A"]
    blind = answered("flare", runtime_for(script(tmp_path / "b.jsonl", [(SENTENCE, replies)])))
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
    row = answered("search_o1", runtime_for(model))
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
    row = answered("search_o1", runtime_for(script(tmp_path / "s.jsonl", rows)), search_limit=1)
    assert queries(row) == ["Emma", "Bath"]
    assert [step.observation for step in row.steps] == [NOTHING_FOUND, LIMIT_NOTICE, None]
    assert row.steps[0].thought == "Hm."
    assert row.provenance["readings_without_marker"] == 1
    assert row.answer == "Steventon"


def test_searchain_keeps_what_is_confirmed_and_corrects_the_rest(tmp_path: Path) -> None:
    model = script(tmp_path / "s.jsonl", CASES["searchain"].rows)
    row = answered("searchain", runtime_for(model))
    assert [step.thought for step in row.steps] == ["My own answer: Jane Austen", "My own answer: Bath", ""]
    assert row.steps[1].usage.calls == 1  # the second query is of the same chain
    assert f"[Query 2]: {WHERE}\n[Answer 2]: {FACTS[1]}" in model.calls[-1][0]["content"]


def test_searchain_lets_an_answer_stand_on_which_the_passages_say_nothing(tmp_path: Path) -> None:
    chain = f"[Query 1]: {WHO}\n[Answer 1]: Jane Austen\n[Unsolved Query 2]: {WHERE}\n[Final Answer]: Bath"
    silent = "The passages do not say."
    rows: Rows = [(SEARCHAIN, [chain, "[Final Answer]: Steventon"]), (OBSERVE, [silent, FACTS[1]])]
    model = script(tmp_path / "s.jsonl", rows)
    row = answered("searchain", runtime_for(model))
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
        row = answered("search_r1", runtime_for(model), **case.settings)
        assert [message["role"] for message in model.calls[1]] == ["user", "assistant", "user"]
        assert model.calls[1][1]["content"] == case.rows[0][1][0]  # what the model itself wrote
        assert model.calls[1][2]["content"] == documents
        assert [step.thought for step in row.steps] == ["I need the author.", "I need the town.", "Done."]
