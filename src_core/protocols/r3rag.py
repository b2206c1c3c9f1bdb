"""The format of R3-RAG (arXiv 2505.23794): numbered steps of an analysis and a query or an answer. Each step
is asked for anew, with the question, the steps before it and their documents in the user's turn (reference
r3rag.md, sections 1.2 and 1.3).

How we differ from the release: a field keeps its question mark and its letters. There `?` ends a query, and
`n` and the backslash are stripped from both ends, so that `London` becomes `Londo`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

from src_core.passage_view import NO_PASSAGE, PassageView
from src_core.protocols.base import Protocol
from src_core.protocols.records import (
    FUNCTIONS,
    MAX_REPLY,
    TURN_MARKS,
    Layout,
    ParsedStep,
    ParseError,
    ReadTrajectory,
    Turn,
    make_action,
)
from src_core.protocols.trajectory_text import Piece, read_pieces
from src_core.types import Action, DirectAnswer, Passage, Search, Step

ANALYSIS = "The problem analysis:"
QUERY = "The retrieval query:"
ANSWER = "The final answer:"
DOCUMENTS = "The retrieval documents:"
QUESTION = "The question:"
_LABEL = re.compile("|".join(map(re.escape, (ANALYSIS, QUERY, ANSWER, DOCUMENTS))))
_LINE = re.compile(rf"^(?:[ \t#*]*Step[ \t]+\d{{1,3}}[ \t]*:)?[ \t#*]*({_LABEL.pattern})", re.MULTILINE)
"""A label that begins a line: one inside a question or a passage is a part of its text."""
_STEP = re.compile(r"^[ \t#*]*Step[ \t]+(\d{1,3})[ \t]*:", re.MULTILINE)
_FIELD_END = re.compile(r"\n[ \t#*]*Step\b|###")
_HEADING = re.compile(r"^#+ | #+$|^#+$")
"""Marks of a heading around a field; the last character of `C#` is none."""
_KINDS = {ANALYSIS: "thought", QUERY: "action", ANSWER: "action", DOCUMENTS: "observation"}


class R3Rag(Protocol):
    """See the module."""

    name: ClassVar[str] = "r3rag"
    needs_thought: ClassVar[bool] = True
    user_template: ClassVar[str] = f"{QUESTION} {{question}}"
    layout: Layout = Layout.HISTORY_IN_USER_TURN
    stops: tuple[str, ...] = (*TURN_MARKS[:2], f"\n{DOCUMENTS}")

    def render_step(self, step: Step) -> str:
        """`Step k:`, the analysis, and the query or the answer."""
        if isinstance(step.action, DirectAnswer):
            raise ValueError("R3-RAG has no action for a direct answer")
        if isinstance(step.action, Search):
            last = f"{QUERY} {step.action.query}"
        else:
            last = f"{ANSWER} {step.action.answer}"
        return f"Step {step.n}:\n{ANALYSIS} {step.thought}\n{last}"

    def render_documents(self, passages: Sequence[Passage], *, view: PassageView, query: str) -> str:
        """Title and text of each passage on lines of their own."""
        shown = [line for item in passages for line in (item.title, view.text(item, query)) if line]
        return "\n".join(shown) or NO_PASSAGE

    def render_history(self, turns: Sequence[Turn]) -> str:
        """The question, then each step with its documents."""
        lines = []
        for turn in turns:
            if turn["role"] == "assistant":
                lines.append(turn["reasoning"])
            elif turn["role"] == "observation":
                lines.append(f"{DOCUMENTS} {turn['content']}")
            else:
                lines.append(turn["content"])
        return "\n".join(lines)

    def parse(
        self, text: str, *, think: str = "", functions: Sequence[str] = FUNCTIONS
    ) -> ParsedStep | ParseError:
        """The analysis and the query or answer after it, whichever comes first."""
        text = text[:MAX_REPLY]
        labels = list(_LABEL.finditer(text))
        at = next((n for n, label in enumerate(labels) if label[0] == ANALYSIS), None)
        if at is None:
            return ParseError("no_analysis", f"the reply has no '{ANALYSIS}'")
        last = next((label for label in labels[at + 1 :] if label[0] in (QUERY, ANSWER)), None)
        if last is None:
            return ParseError("no_query_or_answer", "no query and no answer follow the analysis")
        thought = _field(text, labels[at])
        if not thought:
            return ParseError("empty_analysis", "the analysis is empty")
        action = make_action("search" if last[0] == QUERY else "finish", _field(text, last))
        if isinstance(action, ParseError):
            return action
        numbers = _STEP.findall(text[: labels[at].start()])
        return ParsedStep(int(numbers[-1]) if numbers else None, thought, action)

    def step_problem(self, parsed: ParsedStep, number: int) -> str:
        """In a conversation every step carries its number."""
        return "" if parsed.n == number else f"step {number} has the number {parsed.n}"

    def parse_trajectory(self, text: str) -> ReadTrajectory:
        """All steps of one text, with or without the question in front."""
        return read_pieces(text, _pieces, _action)


FORMAT = R3Rag


def _field(text: str, label: re.Match[str]) -> str:
    """The text behind a label, up to the next label, the next step or `###`, on one line."""
    rest = text[label.end() :]
    ends = [match.start() for match in (_LABEL.search(rest), _FIELD_END.search(rest)) if match]
    return _HEADING.sub("", " ".join(rest[: min(ends, default=len(rest))].split()))


def _pieces(text: str) -> Iterator[Piece]:
    labels = list(_LINE.finditer(text))
    starts = [*(label.start() for label in labels), len(text)]
    for label, end in zip(labels, starts[1:], strict=True):
        kind = _KINDS[label[1]]
        if kind == "action":
            yield Piece(kind, text[label.start(1) : end])
        elif kind == "observation":
            yield Piece(kind, _STEP.split(text[label.end() : end])[0].strip())
        else:
            yield Piece(kind, _field(text, label))


def _action(body: str) -> Action | str:
    label = _LABEL.match(body)
    assert label is not None  # the pieces begin with their label
    action = make_action("search" if label[0] == QUERY else "finish", _field(body, label))
    return action.message if isinstance(action, ParseError) else action
