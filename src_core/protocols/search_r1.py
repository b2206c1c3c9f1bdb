"""Formats of models that were trained by reinforcement to write their queries between tags: Search-R1 (arXiv
2503.09516), R1-Searcher (2503.05592), ReSearch (2503.19470); reference r3rag.md, sections 3 to 5.

How we differ from the releases: by default a reply is the assistant's turn and its documents are the next
user turn, which every chat server can do; `layout: growing_turn` goes on inside one assistant turn as the
releases do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

from src_core.protocols.base import Protocol
from src_core.protocols.parsers import Tag, boxed_answer, first_tagged, plain_answer, without_think_marks
from src_core.protocols.records import (
    FUNCTIONS,
    MAX_REPLY,
    TURN_MARKS,
    Layout,
    ParsedStep,
    ParseError,
    PromptStyle,
    ReadTrajectory,
    make_action,
)
from src_core.protocols.trajectory_text import Piece, read_pieces
from src_core.text import NO_PASSAGE, fill, shorten
from src_core.think import join_think
from src_core.types import Action, DirectAnswer, Finish, Passage, Search, Step

ANSWER = Tag("<answer>", "</answer>")
_TAG = re.compile(r"<(think|search|information|answer)>(.*?)</\1>", re.DOTALL)
_OPENING = re.compile(r"<(?:think|search|information|answer)>")
_BOXED = re.compile(r"\\boxed\{(.*)\}", re.DOTALL)


class SearchR1(Protocol):
    """The dialect of Search-R1; the other two differ in their tags, in how a document is shown and in the box
    around an answer.
    """

    name: ClassVar[str] = "search_r1"
    query: ClassVar[Tag] = Tag("<search>", "</search>")
    result: ClassVar[Tag] = Tag("<information>", "</information>")
    document: ClassVar[str] = "Doc {n}(Title: {title}) {text}"
    boxed: ClassVar[bool] = False

    def __init__(self, style: PromptStyle | None = None, *, layout: Layout = Layout.TURNS) -> None:
        super().__init__(style or PromptStyle(observation_role="user"))
        self.layout = layout
        # Four strings in all are what servers take.
        self.stops = TURN_MARKS[:2]
        self.closers = (self.query.close, ANSWER.close)
        around = "\n\n" if layout is Layout.GROWING_TURN else ""
        self.observation_template = f"{around}{self.result.open}{{observation}}{self.result.close}{around}"

    def render_question(self, question: str) -> str:
        """The prompt with the question in its slot, which may be followed by more text."""
        return fill(self.style.user_template or self.user_template, question=question)

    def render_step(self, step: Step) -> str:
        """The thought in a think block, then the query or the answer in its tag."""
        if isinstance(step.action, DirectAnswer):
            raise ValueError(f"{self.name} has no tag for a direct answer")
        if isinstance(step.action, Search):
            said = f"{self.query.open} {step.action.query} {self.query.close}"
        else:
            answer = f"\\boxed{{{step.action.answer}}}" if self.boxed else step.action.answer
            said = f"{ANSWER.open} {answer} {ANSWER.close}"
        return join_think(step.thought, said, compact=True)

    def render_documents(self, passages: Sequence[Passage], *, max_chars: int) -> str:
        """The documents as the dialect shows them."""
        lines = [
            fill(self.document, n=str(n), title=item.title, text=shorten(item.text, max_chars))
            for n, item in enumerate(passages, start=1)
        ]
        return "\n".join(lines) or NO_PASSAGE

    def parse(
        self, text: str, *, think: str = "", functions: Sequence[str] = FUNCTIONS
    ) -> ParsedStep | ParseError:
        """A query or an answer, whichever comes first; some models search while they think."""
        text = join_think(think, text, compact=True)[:MAX_REPLY]
        query, answer = first_tagged(text, self.query), first_tagged(text, ANSWER)
        if query and not (answer and len(answer.before) < len(query.before)):
            thought, action = query.before, make_action("search", query.inside)
        elif answer:
            inside = boxed_answer(answer.inside) if self.boxed else ""
            thought, action = answer.before, make_action("finish", inside or plain_answer(answer.inside))
        else:
            return ParseError("no_tag", "the reply has neither a query nor an answer between tags")
        if isinstance(action, ParseError):
            return action
        return ParsedStep(None, without_think_marks(thought), action)

    def parse_trajectory(self, text: str) -> ReadTrajectory:
        """All steps of a text with Search-R1's tags."""
        return read_pieces(text, _pieces, _action)

    @staticmethod
    def reads(text: str) -> bool:
        """Whether a text looks like a trajectory in this format."""
        return "<search>" in text or "<answer>" in text


class R1Searcher(SearchR1):
    """The dialect of R1-Searcher."""

    name: ClassVar[str] = "r1_searcher"
    query: ClassVar[Tag] = Tag("<|begin_of_query|>", "<|end_of_query|>")
    result: ClassVar[Tag] = Tag("<|begin_of_documents|>\n", "\n<|end_of_documents|>")
    document: ClassVar[str] = "({n}) {title}: {text}"


class ReSearch(SearchR1):
    """The dialect of ReSearch."""

    name: ClassVar[str] = "research"
    result: ClassVar[Tag] = Tag("<result>\n", "\n</result>")
    document: ClassVar[str] = "{title}: {text}"
    boxed: ClassVar[bool] = True


FORMAT = SearchR1
DIALECTS: dict[str, type[SearchR1]] = {made.name: made for made in (SearchR1, R1Searcher, ReSearch)}


def _pieces(text: str) -> Iterator[Piece]:
    kinds = {"think": "thought", "information": "observation", "search": "action", "answer": "action"}
    at = 0
    for match in _TAG.finditer(text):
        between = _OPENING.sub(" ", text[at : match.start()]).strip()
        if between:  # words outside of any tag are part of what the model says
            yield Piece("thought", between)
        yield Piece(kinds[match[1]], match[0] if kinds[match[1]] == "action" else match[2].strip())
        at = match.end()
    rest = text[at:].strip()
    if rest:
        yield Piece("thought", rest)


def _action(body: str) -> Action | str:
    match = _TAG.fullmatch(body)
    assert match is not None  # the pieces are made so
    inner = match[2].strip()
    if match[1] == "answer":
        boxed = _BOXED.fullmatch(inner)
        inner = boxed[1] if boxed else inner
    argument = " ".join(inner.split())
    if not argument:
        return f"<{match[1]}> is empty"
    return Finish(argument) if match[1] == "answer" else Search(argument)
