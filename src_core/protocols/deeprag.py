"""The format of DeepRAG (arXiv 2502.01142): one growing turn of sub-questions, each answered from the model's
own knowledge or after a search (reference deeprag.md, section 5.1).

    Follow up: Who wrote Emma?
    Intermediate answer: Jane Austen
    Follow up: Where was Jane Austen born?
    Let's search the question in Wikipedia.
    Context:
    [1] Title: Jane Austen Text: …
    Intermediate answer: Steventon
    So the final answer is: <answer long>She was born in Steventon.</answer long><answer short>Steventon</…>

A reply is one line, and the line break that ends it is part of it. So the sub-question stands alone before
the decision, and a line is the same tokens whether it was trained on, sampled or read.

How we differ from the release: a search is a whole line, so that "Who wrote Let It Be?" is a sub-question
(there the word `Let` starts a search); fewer hits are not padded with empty documents; the question always
follows `Question:`, and training and inference have the same blank lines and spaces (section 15).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from src_core.passage_view import NO_PASSAGE, PassageView
from src_core.protocols.base import Protocol
from src_core.protocols.deeprag_lines import (
    ANSWER,
    CONTEXT,
    EACH_LINE,
    FINAL,
    FOLLOW_UP,
    LONG,
    LONG_TEXT,
    NO_INFO,
    NO_SHORT,
    SEARCH,
    SHORT,
    SHORT_TEXT,
    TAG,
    TAGS,
    Line,
    ask_line,
    asks_nothing,
    one_line,
    read_line,
    read_lines,
    untagged,
)
from src_core.protocols.records import (
    FUNCTIONS,
    MAX_ARGUMENT,
    TURN_MARKS,
    Layout,
    ParsedStep,
    ParseError,
    PromptStyle,
    ReadTrajectory,
    Turn,
    make_action,
)
from src_core.protocols.trajectory_text import MAX_TRAJECTORY
from src_core.types import DirectAnswer, Finish, Passage, Search, Step

INSTRUCTION = (
    "Instruction: Answer the question with the help of a search engine. Split it into simple sub-questions "
    f"and settle them one after the other: write each sub-question after '{FOLLOW_UP}' and its answer after "
    f"'{ANSWER}'. Decide for each sub-question whether you know the answer. If you are sure of it, write it "
    f"at once. If not, write '{SEARCH}' and answer from the text that then follows. Once nothing is open, "
    f"end with '{FINAL}', the answer as a sentence and the answer in short.\n\n"
)


class DeepRag(Protocol):
    """See the module. A step is a search (its conclusion is the intermediate answer), a direct answer, or the
    end, whose thought is the answer as a sentence. With `documents=False` the steps are written without the
    searches, as the teacher of the tree search reads them.
    """

    name: ClassVar[str] = "deeprag"
    functions: ClassVar[tuple[str, ...]] = FUNCTIONS
    concludes: ClassVar[bool] = True
    needs_conclusion: ClassVar[bool] = True
    user_template: ClassVar[str] = f"{INSTRUCTION}Question: {{question}}"
    observation_template: str = f"{CONTEXT}\n{{observation}}\n"
    layout: Layout = Layout.GROWING_TURN
    closers = ("\n",)
    stops = TURN_MARKS[:2]  # servers take four in all

    def __init__(self, style: PromptStyle | None = None, *, documents: bool = True) -> None:
        super().__init__(style)
        self.documents = documents

    def render_step(self, step: Step) -> str:
        """The lines of a step; all but the last line of a trajectory end in a line break."""
        action = step.action
        if isinstance(action, Search):
            return f"{ask_line(action.query)}{SEARCH}\n"
        if isinstance(action, DirectAnswer):
            return f"{ask_line(action.sub_question)}{ANSWER} {one_line(action.answer)}\n"
        answer = untagged(action.answer)
        long = untagged(step.thought) or answer
        return f"{FINAL} {LONG}{long}</answer long>{SHORT}{answer}</answer short>"

    def render_conclusion(self, step: Step) -> str:
        """The line of the intermediate answer after the documents."""
        return f"{ANSWER} {one_line(step.conclusion)}\n"

    def render_documents(self, passages: Sequence[Passage], *, view: PassageView, query: str) -> str:
        """Numbered lines of title and text; only passages that were found."""
        lines = [
            one_line(f"[{n}] Title: {item.title} Text: {view.text(item, query)}")
            for n, item in enumerate(passages, start=1)
        ]
        return "\n".join(lines) or NO_PASSAGE

    def turns(self, question: str, steps: Sequence[Step]) -> list[Turn]:
        """As the base class; without documents a search reads like a direct answer."""
        return super().turns(question, steps if self.documents else [_without_search(step) for step in steps])

    def segments(self, text: str) -> list[str]:
        """The lines, each of which is a reply."""
        return EACH_LINE.findall(text)

    def unfinished(self, text: str) -> str:
        """A sub-question whose decision is missing."""
        lines = read_lines(text)
        if len(lines) != 1 or lines[0].kind != "ask" or asks_nothing(lines[0].text):
            return ""
        return ask_line(lines[0].text)

    def parse(
        self, text: str, *, think: str = "", functions: Sequence[str] = FUNCTIONS
    ) -> ParsedStep | ParseError:
        """A sub-question with its decision, or the end."""
        lines = read_lines(text)
        if not lines:
            return ParseError("empty_reply", "the reply is empty")
        at = next((n for n, line in enumerate(lines) if line.kind in ("ask", "final")), None)
        if at is None:
            return ParseError("no_follow_up", f"the reply has neither '{FOLLOW_UP}' nor '{FINAL}'")
        before = ("text_before",) if at else ()
        if lines[at].kind == "final":
            return _end(lines[at:], before)
        return _sub_question(lines[at:], before)

    def parse_conclusion(self, text: str) -> str:
        """See `conclusion_of`."""
        return conclusion_of(text)

    def parse_trajectory(self, text: str) -> ReadTrajectory:
        """All steps of one text, from its first sub-question on."""
        if len(text) > MAX_TRAJECTORY:
            return ReadTrajectory((), f"longer than {MAX_TRAJECTORY} characters", {})
        steps: list[Step] = []
        for lines in _parts(text):
            step = _read_step(lines, len(steps) + 1)
            if isinstance(step, ParseError):
                return ReadTrajectory(tuple(steps), f"step {len(steps) + 1}: {step.message}", {})
            steps.append(step)
            if isinstance(step.action, Finish):
                break
        return ReadTrajectory(tuple(steps), "" if steps else "no sub-question found", {})


FORMAT = DeepRag
NO_QUESTION = ParseError("empty_argument", "the sub-question is empty, or another label stands in its place")


def parse_proposal(text: str) -> ParsedStep | str | ParseError:
    """The first sub-question of a reply, whatever follows it, or the end; "" where its answer is missing."""
    lines = read_lines(text)
    for at, line in enumerate(lines):
        if line.kind == "final":
            return end if isinstance(end := _end(lines[at:], ()), ParsedStep) else ""
        if line.kind == "ask":
            return NO_QUESTION if asks_nothing(line.text) else line.text[:MAX_ARGUMENT]
    return ParseError("no_follow_up", f"the reply has neither '{FOLLOW_UP}' nor '{FINAL}'")


def conclusion_of(text: str) -> str:
    """The intermediate answer on one line, without its label; "" where another label stands there."""
    first = next(iter(read_lines(text)), None)
    return first.text[:MAX_ARGUMENT] if first and first.kind in ("answer", "") else ""


def _without_search(step: Step) -> Step:
    if not isinstance(step.action, Search):
        return step
    return Step(step.n, "", DirectAnswer(step.action.query, step.conclusion or NO_INFO))


def _fixes(lines: Sequence[Line], before: tuple[str, ...]) -> tuple[str, ...]:
    return before if all(line.exact for line in lines) else (*before, "other_label")


def _sub_question(lines: Sequence[Line], before: tuple[str, ...]) -> ParsedStep | ParseError:
    """The sub-question and the line after it: a search, or an answer."""
    asked, decided = lines[0].text, lines[1] if len(lines) > 1 else Line("", "", True)
    if asks_nothing(asked):
        return NO_QUESTION
    fixes = _fixes(lines[:2], before)
    if decided.kind == "search":
        action = make_action("search", asked)
        return action if isinstance(action, ParseError) else ParsedStep(None, "", action, fixes)
    if decided.kind != "answer":
        return ParseError("no_decision", "neither a search nor an answer follows the sub-question")
    if not decided.text:
        return ParseError("empty_argument", "the intermediate answer is empty")
    if max(len(asked), len(decided.text)) > MAX_ARGUMENT:
        return ParseError("long_argument", f"a line is longer than {MAX_ARGUMENT} characters")
    return ParsedStep(None, "", DirectAnswer(asked, decided.text), fixes)


def _end(lines: Sequence[Line], before: tuple[str, ...]) -> ParsedStep | ParseError:
    """The long and the short answer: the last short tag counts, then the long one, then the bare text
    (section 5.3).
    """
    rest = " ".join(line.text for line in lines)
    long, short = LONG_TEXT.findall(rest), SHORT_TEXT.findall(rest)
    found = next((text for text in (*short[-1:], *long[-1:], lines[0].text) if text.strip()), "")
    action = make_action("finish", untagged(found))
    if isinstance(action, ParseError):
        return action
    fixes = _fixes(lines[:1], before)
    if not (short and short[-1].strip()):
        fixes = (*fixes, NO_SHORT)
    if any(tag not in TAGS for tag in TAG.findall(rest)):
        fixes = (*fixes, "other_tag")
    return ParsedStep(None, untagged(long[-1]) if long else "", action, fixes)


def _parts(text: str) -> Iterator[list[str]]:
    """The lines of each step. A label counts at the start of a line and outside of documents, which begin
    with `Context:` and end with the intermediate answer.
    """
    part: list[str] = []
    documents = False
    for line in filter(str.strip, text.split("\n")):
        kind = read_line(line).kind
        documents = kind != "answer" if documents else kind == "context"
        if kind in ("ask", "final") and not documents:
            if part:
                yield part
            part = []
        if part or (kind in ("ask", "final") and not documents):
            part.append(line)
    if part:
        yield part


def _read_step(lines: Sequence[str], n: int) -> Step | ParseError:
    read = [read_line(line) for line in lines]
    parsed = _end(read, ()) if read[0].kind == "final" else _sub_question(read, ())
    if isinstance(parsed, ParseError):
        return parsed
    step = Step(n, parsed.thought, parsed.action)
    kinds = [line.kind for line in read]
    if not isinstance(step.action, Search) or "context" not in kinds:
        return step
    start = kinds.index("context")
    end = kinds.index("answer", start) if "answer" in kinds[start:] else len(kinds)
    documents = "\n".join(filter(None, [read[start].text, *lines[start + 1 : end]]))
    conclusion = read[end].text[:MAX_ARGUMENT] if end < len(read) else ""
    return Step(n, "", step.action, observation=documents, conclusion=conclusion)
