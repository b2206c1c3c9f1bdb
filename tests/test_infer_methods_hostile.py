"""Baselines and models that say anything: no reply breaks a method, keeps it going or costs it its row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from helpers_methods import (
    ANSWERED,
    CASES,
    O1_QUERY,
    Case,
    answered,
    runtime_for,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.errors import ModelError
from src_core.llm import Completion, Sampling, Token
from src_core.passage_view import PassageView
from src_core.protocols.records import Message
from src_core.types import Passage, Question, Status, Usage, to_json
from src_infer.episode import Limits
from src_retrieval.toy import ToyRetriever

BY_NAME = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
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
        logprobs: int = 0,
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
    runtime = runtime_for(Parrot(replies), limits=Limits(t_max=4, step_tries=2))
    row = answered(case.method, runtime, **case.settings)
    assert row.status in ANSWERED - {Status.REFUSED}
    assert len(row.steps) <= 4
    assert to_json(row)


class Narrow(Parrot):
    """Refuses what is longer than `chars`, as llama.cpp does."""

    def __init__(self, replies: Sequence[str], chars: int) -> None:
        super().__init__(replies)
        self._chars = chars
        self.refused = 0

    async def chat(self, messages: Sequence[Message], **more: object) -> Completion:  # type: ignore[override]
        if sum(len(message["content"]) for message in messages) > self._chars:
            self.refused += 1
            raise ModelError("HTTP 400: request exceeds the available context size")
        return await super().chat(messages, **more)  # type: ignore[arg-type]


LONG = [Passage(name[0], name, f"{name}\n" + "word " * 300) for name in ("Emma", "Bath", "Oslo")]
IN_STEPS = {
    "search_o1": [O1_QUERY.format("Emma"), "Final Information: Emma", "\\boxed{A}"],
    "r3rag": [
        "The problem analysis: a\nThe retrieval query: Emma, Bath, Oslo",
        "The problem analysis: b\nThe final answer: A",
    ],
    "iterdrag": ["Follow up: Emma, Bath, Oslo", "x", "So the final answer is: A"],
    "auto_rag": ["Refined Query: Emma, Bath, Oslo", "Final Answer: A"],
    "search_r1": ["<search>Emma, Bath, Oslo", "<answer>A"],
    "r1_searcher": ["<|begin_of_query|>Emma, Bath, Oslo", "<answer>A"],
    "research": ["<search>Emma, Bath, Oslo", "<answer>A"],
}


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("self_ask", "searchain")])
def test_passages_are_shortened_until_the_server_takes_them(name: str) -> None:
    """The other two read passages through the RAG engine alone."""
    case = CASES[name]
    model = Narrow(IN_STEPS.get(name, ["About Emma.", "About Bath.", "So the answer is: A"]), 1800)
    runtime = runtime_for(model, retriever=ToyRetriever(LONG))
    question = Question("id", "Emma, Bath, Oslo?", meta={"context_ids": ["E", "B", "O"]})
    row = answered(case.method, replace(runtime, top_k=3, view=PassageView(1500)), question, **case.settings)
    assert (row.status, row.error) == (Status.FINISHED, None)
    assert row.answer
    assert model.refused > 0
