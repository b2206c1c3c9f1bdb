"""A small world in which every method answers one question, and the scripts that it answers with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from src_core.endpoints import make_model
from src_core.llm import ChatModel, Endpoint, Sampling
from src_core.passage_view import PassageView
from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import PromptStyle
from src_core.scripted import ScriptedModel
from src_core.types import Passage, Question, Search, Status, Step, Trajectory
from src_infer.episode import Limits
from src_infer.methods import load_method
from src_infer.policy import Policy
from src_infer.prompts import load_prompt
from src_infer.rag_engine import ObservationMode, RagEngine
from src_infer.runtime import Runtime
from src_retrieval.client import Retriever
from src_retrieval.toy import ToyRetriever

WORLD = [
    Passage("p1", "Emma", "Emma\nEmma is a novel by Jane Austen."),
    Passage("p2", "Jane Austen", "Jane Austen\nJane Austen was born in Steventon."),
    Passage("p3", "Bath", "Bath\nBath is a city in England."),
]
ASKED = "Where was the author of Emma born?"
QUESTION = Question("id", ASKED, ("Steventon",), ("p1", "p2"), meta={"context_ids": ["p3", "p2", "p1"]})

OBSERVE = "Answer the question at the end in one short sentence"
FROM_SEARCHES = "Using the search results, answer"
FROM_PASSAGES = "Answer the question with a short phrase from the passages"
# What is only in the prompt of one method.
SENTENCE = "Write only the next sentence"
SELF_ASK = "asking follow-up questions"
ITER_RETGEN = "in at most three short sentences"
SEARCHAIN = "a chain of short questions"
SEARCH_O1 = "Reasoning so far:"
DOCUMENTS = "after the words Final Information"
R3_RAG = "The question: "
TAGGED = "between <think> and </think>"
ITERDRAG = "Now this question, with these documents:"
AUTO_RAG = "by asking a retriever"

Rows = list[tuple[str, list[str]]]


@dataclass(frozen=True)
class Case:
    """A method with its script, and what has to come of it."""

    method: str
    rows: Rows
    queries: list[str]
    answer: str = "Steventon"
    calls: int = 0
    settings: dict[str, object] = field(default_factory=dict)
    unsure: list[str] | None = None


O1_QUERY = "Hm. <|begin_search_query|>{}<|end_search_query|>"
WHO, WHERE = "Who wrote Emma?", "Where was Jane Austen born?"
FACTS = ["Jane Austen wrote Emma.", "Jane Austen was born in Steventon."]


def tagged(protocol: str, opened: str, closed: str, answer: str) -> Case:
    ask = "<think>I need {}.</think>\n" + opened + " {} " + closed
    replies = [
        ask.format("the author", WHO),
        ask.format("the town", WHERE),
        f"<think>Done.</think>\n{answer}",
    ]
    settings: dict[str, object] = {"protocol": protocol}
    return Case("search_r1", [(TAGGED, replies)], [WHO, WHERE], calls=3, settings=settings)


CASES = {
    "in_context": Case("in_context", [(FROM_PASSAGES, ["Steventon"])], [], calls=1),
    "ircot": Case(
        "ircot",
        [
            (SENTENCE, ["Jane Austen wrote it. She", "So the answer is: Steventon."]),
            (FROM_PASSAGES, ["Steventon, Hampshire"]),
        ],
        [ASKED, "Jane Austen wrote it."],
        answer="Steventon, Hampshire",
        calls=3,
    ),
    "self_ask": Case(
        "self_ask",
        [
            (
                SELF_ASK,
                [
                    f"Follow up: {WHO}\nIntermediate answer: invented",
                    WHERE,
                    "So the final answer is: Steventon",
                ],
            ),
            (OBSERVE, FACTS),
        ],
        [WHO, WHERE],
        calls=5,
    ),
    "iter_retgen": Case(
        "iter_retgen",
        [(ITER_RETGEN, ["Jane Austen wrote it. So the answer is: Bath", "So the answer is: Steventon."])],
        [ASKED, f"{ASKED} Jane Austen wrote it. So the answer is: Bath"],
        calls=2,
        settings={"iterations": 2},
    ),
    "flare": Case(
        "flare",
        [
            (
                SENTENCE,
                [
                    "Emma was written by Jane Austen.",
                    "Jane Austen was born in Bath.",
                    "Jane Austen was born in Steventon.",
                    "So the answer is: Steventon",
                ],
            )
        ],
        [ASKED, "Jane Austen was born in"],
        calls=4,
        unsure=["Bath"],
    ),
    "search_o1": Case(
        "search_o1",
        [
            (
                SEARCH_O1,
                [O1_QUERY.format(WHO), O1_QUERY.format(WHERE), "So it is \\boxed{\\text{Steventon}}."],
            ),
            (DOCUMENTS, [f"Final Information: {FACTS[0]}", f"I read.\n**Final Information**\n\n{FACTS[1]}"]),
        ],
        [WHO, WHERE],
        calls=5,
    ),
    "searchain": Case(
        "searchain",
        [
            (
                SEARCHAIN,
                [
                    f"[Query 1]: {WHO}\n[Answer 1]: Jane Austen\n[Query 2]: {WHERE}\n[Answer 2]: Bath\n"
                    "[Final Answer]: Bath",
                    "[Final Answer]: Steventon",
                ],
            ),
            (OBSERVE, FACTS),
        ],
        [WHO, WHERE],
        calls=4,
    ),
    "fs_rag": Case(
        "fs_rag",
        [(SENTENCE, ["Jane Austen wrote it. She", "So the answer is: Steventon."])],
        [ASKED, "Jane Austen wrote it."],
        calls=2,
    ),
    "iterdrag": Case(
        "iterdrag",
        [
            (
                ITERDRAG,
                [
                    f"Follow up: {WHO}\nIntermediate answer: invented",
                    f"Intermediate answer: {FACTS[0]}",
                    f"Follow up: {WHERE}",
                    FACTS[1],
                    "So the final answer is: Steventon",
                ],
            )
        ],
        [ASKED, WHO, WHERE],
        calls=5,
    ),
    "auto_rag": Case(
        "auto_rag",
        [
            (
                AUTO_RAG,
                [
                    f"I need the author.\nRefined Query: {WHO}\nRetrieved Document_1: invented",
                    f"It is Jane Austen.\n**Refined Query:** {WHERE}",
                    "She was born in Steventon.\nFinal Answer: Steventon.",
                ],
            )
        ],
        [WHO, WHERE],
        calls=3,
    ),
    "r3rag": Case(
        "r3rag",
        [
            (
                R3_RAG,
                [
                    f"Step 1:\nThe problem analysis: I need the author.\nThe retrieval query: {WHO}",
                    f"Step 2:\nThe problem analysis: Now the town.\nThe retrieval query: {WHERE}",
                    "Step 3:\nThe problem analysis: Done.\nThe final answer: Steventon",
                ],
            )
        ],
        [WHO, WHERE],
        calls=3,
    ),
    "search_r1": tagged("search_r1", "<search>", "</search>", "<answer> Steventon </answer>"),
    "r1_searcher": tagged(
        "r1_searcher", "<|begin_of_query|>", "<|end_of_query|>", "<answer> Steventon </answer>"
    ),
    "research": tagged(
        "research", "<search>", "</search>", "<answer> The answer is \\boxed{Steventon} </answer>"
    ),
}


def script(path: Path, rows: Rows, *, unsure: Sequence[str] | None = None) -> ScriptedModel:
    """A scripted model made as a configuration makes it; the replies to one prompt come in order, once."""
    extra = {} if unsure is None else {"unsure": list(unsure)}
    data = [{"when": when, "replies": replies, "anywhere": True, **extra} for when, replies in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in data), encoding="utf-8")
    model = make_model(Endpoint(url=f"scripted:{path}"), connections=1, token=None)
    assert isinstance(model, ScriptedModel)
    return model


def runtime_for(
    model: ChatModel,
    *,
    retriever: Retriever | None = None,
    limits: Limits | None = None,
    printed: list[Step] | None = None,
) -> Runtime:
    """The runtime of a run over `WORLD`, one passage per search."""
    retriever = ToyRetriever(WORLD) if retriever is None else retriever
    policy = Policy(
        model, ReaRag(PromptStyle()), sampling=Sampling(temperature=0.0, seed=1), prompt_tokens=2000
    )
    rag = RagEngine(
        retriever=retriever,
        reader=model,
        prompt=load_prompt("observe"),
        sampling=Sampling(),
        top_k=1,
        mode=ObservationMode.READER,
        view=PassageView(200),
    )
    return Runtime(
        policy=policy,
        reader=model,
        rag=rag,
        retriever=retriever,
        limits=limits or Limits(t_max=8, step_tries=2),
        final_sampling=Sampling(max_tokens=8),
        answer_from="reader",
        top_k=1,
        view=PassageView(200),
        on_step=(lambda _, step: printed.append(step)) if printed is not None else None,
    )


def answered(method: str, runtime: Runtime, question: Question = QUESTION, **settings: object) -> Trajectory:
    """The row of one question."""
    made = load_method(method, settings)
    return asyncio.run(made.answer(question, replace(runtime, settings=made.settings)))


def queries(trajectory: Trajectory) -> list[str]:
    """What was searched for, in order."""
    return [step.action.query for step in trajectory.steps if isinstance(step.action, Search)]


ANSWERED = frozenset(status for status in Status if not status.retryable)


def short_rows(question: str, answer: str) -> Rows:
    """Script rows with which every method answers the question at its first reply."""
    return [
        (f"{question}\nThoughts so far:", [f"So the answer is: {answer}"]),
        (f"{question}\nReasoning:", [f"So the answer is: {answer}"]),
        (f"final answer is: Norway\n\nQuestion: {question}", [f"So the final answer is: {answer}"]),
        (f"[Final Answer]: Norway\n\nQuestion: {question}", [f"[Final Answer]: {answer}"]),
        (f"{question}\n\nReasoning so far:", [f"\\boxed{{{answer}}}"]),
        (f"</answer>\n\nQuestion: {question}", [f"<answer>{answer}</answer>"]),
        (f"the answer is: no\n\nQuestion: {question}\nAnswer:", [f"So the answer is: {answer}"]),
        (f"say what you believe.\n\nQuestion: {question}\nAnswer:", [f"So the answer is: {answer}"]),
        (f"[Yes]\n\nQuestion: {question}\nReply:", ["[Yes]"]),
        (f"Text: {question}\nReply:", ["yes"]),
        (f"with these documents:\nQuestion: {question}", [f"So the final answer is: {answer}"]),
        (f"Final Answer: Norway\n\nQuestion: {question}", [f"Final Answer: {answer}"]),
    ]
