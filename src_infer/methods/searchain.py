"""SearChain: the model plans a chain of queries with its own answers; each is checked against the retriever,
corrected or completed, and from there the chain is written anew (Xu et al. 2024, arXiv 2304.14732).

Checked queries are the steps, in order; what the model itself answered is the step's thought. An answer that
the observation holds, or on which the passages say nothing, stands, and the next query of the same chain is
checked without another call. How we differ: the RAG engine's observation stands for the paper's reader with
its confidence threshold; the tree of chains is the path that was taken (its branches come from corrections,
which never go back).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from src_core.llm import Completion
from src_core.protocols.parsers import plain_answer
from src_core.protocols.records import MAX_REPLY, ParsedStep, ParseError, Turn, make_action
from src_core.types import NO_USAGE, Question, Search, Step, Trajectory
from src_infer.episode import StepWriter
from src_infer.multi_step import Prompted, answer_stepwise, observed, reader_policy, said, user
from src_infer.policy import Policy
from src_infer.runtime import Runtime
from src_tasks.answers import NO_ANSWER, normalize_answer

UNSOLVED = "unsolved"
_LABEL = re.compile(
    r"^[ \t*#-]{0,6}\[?[ \t]{0,2}(?:unsolved[ \t])?(?P<kind>query|answer|final[ \t]answer)"
    r"[ \t]{0,2}\d{0,3}[ \t]{0,2}\]?[ \t*]{0,4}:?[ \t*]{0,4}(?P<text>[^\n]{0,2000})$",
    re.IGNORECASE | re.MULTILINE,
)


class Node(NamedTuple):
    """A query of a chain, the model's own answer ("" when it left it open), and the chain after it."""

    query: str
    own: str
    rest: str


class _Label(NamedTuple):
    """A labelled line of a chain: what it is, what it says, where it ends."""

    kind: str
    text: str
    end: int


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """Plan, check, correct, until a chain ends in a final answer."""
    notation = Prompted(runtime.prompt("searchain"), turns=turns, parse=parse)
    writer = _ChainWriter(reader_policy(runtime, notation))
    return await answer_stepwise(question, runtime, writer=writer, search=runtime.rag.observe)


class _ChainWriter(StepWriter):
    """Writes a chain, and checks it query by query without another call while it stands."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def generate(
        self, question: str, steps: Sequence[Step], *, n: int, attempt: int, functions: Sequence[str]
    ) -> Completion:
        """The rest of the chain, or a new one."""
        rest = _rest(steps[-1]) if steps and not attempt else ""
        if rest:
            return Completion(rest, "stop", NO_USAGE)
        return await self._policy.generate(question, steps, n=n, attempt=attempt, functions=functions)

    def parse(self, reply: Completion, functions: Sequence[str]) -> ParsedStep | ParseError:
        """The first query of the chain, or its final answer."""
        return self._policy.parse(reply, functions)


def turns(text: str, steps: Sequence[Step]) -> list[Turn]:
    """The checked part of the chain."""
    made = [user(text)]
    for step in steps:
        if isinstance(step.action, Search):
            made.append(said(f"[Query {step.n}]: {step.action.query}"))
            made.append(observed(f"[Answer {step.n}]: {_checked(step)}"))
    return made


def parse(text: str, _functions: Sequence[str]) -> ParsedStep | ParseError:
    """The first query of the chain, or its final answer when no query is left."""
    node = first_node(text)
    if node:
        action = make_action("search", node.query)
        thought = f"My own answer: {node.own}" if node.own else UNSOLVED
    else:
        final = _final(text)
        if final is None:
            return ParseError("no_query", "the reply has neither a query nor a final answer")
        action, thought = make_action("finish", final), ""
    return action if isinstance(action, ParseError) else ParsedStep(None, thought, action)


def first_node(text: str) -> Node | None:
    """The first query of a chain that stands before any final answer."""
    labels = _labels(text)
    at = next((k for k, label in enumerate(labels) if label.kind != "answer"), len(labels))
    if at == len(labels) or labels[at].kind != "query":
        return None
    rest, own = labels[at].end, ""
    if at + 1 < len(labels) and labels[at + 1].kind == "answer":
        rest, own = labels[at + 1].end, plain_answer(labels[at + 1].text)
    if normalize_answer(own) in ("", NO_ANSWER, UNSOLVED):
        own = ""
    return Node(labels[at].text, own, text[rest:MAX_REPLY].strip())


def _labels(text: str) -> list[_Label]:
    """The labelled lines, of kind query, answer or final; an "Unsolved Query" is a query."""
    return [
        _Label(match["kind"].lower().split()[0], match["text"], match.end())
        for match in _LABEL.finditer(text[:MAX_REPLY])
    ]


def _final(text: str) -> str | None:
    """The final answer of a chain."""
    return next((plain_answer(label.text) for label in _labels(text) if label.kind == "final"), None)


def _rest(step: Step) -> str:
    """The chain after the last checked query, "" when that was corrected or completed, or nothing is left:
    then the chain has to be written anew.
    """
    node = first_node(step.reply)
    if node is None or not node.own or not (_says_nothing(step) or _agrees(step, node.own)):
        return ""
    return node.rest if first_node(node.rest) or _final(node.rest) else ""


def _checked(step: Step) -> str:
    """What counts as the answer of a checked query."""
    node = first_node(step.reply)
    return node.own if node is not None and node.own and _says_nothing(step) else step.observation or ""


def _says_nothing(step: Step) -> bool:
    return normalize_answer(step.observation or "") in ("", NO_ANSWER)


def _agrees(step: Step, own: str) -> bool:
    return f" {normalize_answer(own)} " in f" {normalize_answer(step.observation or '')} "
