"""Formats of models that were trained by reinforcement learning to write queries between tags: Search-R1
(arXiv 2503.09516), R1-Searcher (2503.05592), ReSearch (2503.19470); reference r3rag.md, sections 3 to 5.

How we differ from the releases: by default a reply is the assistant's turn and its documents are the next
user turn, which every chat server can do; `layout: growing_turn` continues inside one assistant turn as the
releases do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

from src_core.passage_view import NO_PASSAGE, PassageView
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
from src_core.text import fill, fill_some
from src_core.think import join_think
from src_core.types import Action, DirectAnswer, Finish, Passage, Search, Step

ANSWER = Tag("<answer>", "</answer>")
THINK = Tag("<think>", "</think>")
_BOXED = re.compile(r"\\boxed\{(.*)\}", re.DOTALL)


class SearchR1(Protocol):
    """The dialect of Search-R1; the other two differ in their tags, in the format of a document and in the
    box around an answer.
    """

    name: ClassVar[str] = "search_r1"
    query: ClassVar[Tag] = Tag("<search>", "</search>")
    result: ClassVar[Tag] = Tag("<information>", "</information>")
    document: ClassVar[str] = "Doc {n}(Title: {title}) {text}"
    boxed: ClassVar[bool] = False

    def __init__(self, style: PromptStyle | None = None, *, layout: Layout = Layout.TURNS) -> None:
        super().__init__(style or PromptStyle(observation_role="user"))
        self.layout = layout
        # Servers accept at most four stop strings.
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
            written = f"{self.query.open} {step.action.query} {self.query.close}"
        else:
            answer = f"\\boxed{{{step.action.answer}}}" if self.boxed else step.action.answer
            written = f"{ANSWER.open} {answer} {ANSWER.close}"
        return join_think(step.thought, written, compact=True)

    def render_documents(self, passages: Sequence[Passage], *, view: PassageView, query: str) -> str:
        """The documents in the dialect's format."""
        lines = [
            fill_some(self.document, n=str(n), title=item.title, text=view.text(item, query))
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
        """All steps of a text with the tags of this dialect."""
        tags = {"thought": THINK, "observation": self.result, "search": self.query, "answer": ANSWER}
        opens = {kind: re.escape(tag.open.strip()) for kind, tag in tags.items()}
        closes = {kind: re.escape(tag.close.strip()) for kind, tag in tags.items()}
        tagged = re.compile(
            "|".join(f"{opens[kind]}(?P<{kind}>.*?){closes[kind]}" for kind in tags), re.DOTALL
        )
        opening = re.compile("|".join(opens.values()))

        def action(body: str) -> Action | str:
            match = tagged.fullmatch(body)
            assert match is not None  # the pieces yield actions that match
            return _action(match.lastgroup == "answer", match[match.lastgroup or 0].strip())

        return read_pieces(text, lambda whole: _pieces(whole, tagged, opening), action)


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


def dialect_of(text: str) -> str:
    """The name of the dialect of a trajectory, empty where it has none of the tags. Dialects share tags; the
    tag around documents differs in each.
    """
    for dialect in DIALECTS.values():
        if dialect.result.open.strip() in text:
            return dialect.name
    if R1Searcher.query.open in text:
        return R1Searcher.name
    return SearchR1.name if SearchR1.query.open in text or ANSWER.open in text else ""


def _pieces(text: str, tagged: re.Pattern[str], opening: re.Pattern[str]) -> Iterator[Piece]:
    at = 0
    for match in tagged.finditer(text):
        between = opening.sub(" ", text[at : match.start()]).strip()
        if between:  # words outside of any tag are part of the thought
            yield Piece("thought", between)
        kind = match.lastgroup or ""
        if kind in ("search", "answer"):
            yield Piece("action", match[0])
        else:
            yield Piece(kind, match[kind].strip())
        at = match.end()
    rest = text[at:].strip()
    if rest:
        yield Piece("thought", rest)


def _action(answers: bool, inner: str) -> Action | str:
    boxed = _BOXED.fullmatch(inner) if answers else None
    argument = " ".join((boxed[1] if boxed else inner).split())
    if not argument:
        return f"the {'answer' if answers else 'query'} is empty"
    return Finish(argument) if answers else Search(argument)
