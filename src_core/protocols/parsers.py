"""Parsers of replies in other notations than ReaRAG's: sentences, stated answers, boxes, tags.

Model output is data: every function takes any text, raises nothing, reads a bounded part of it and evaluates
nothing. "" or None means that the text does not hold it; no value is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from src_core.protocols.records import MAX_ARGUMENT, MAX_REPLY
from src_core.think import CLOSE, OPEN

_SENTENCE_END = re.compile(r"[.?!][\"'”’)\]]{0,2}(?=\s|$)|\n")
_SHORT_FORMS = frozenset(
    {"mr", "mrs", "ms", "dr", "st", "jr", "sr", "vs", "prof", "gen", "col", "lt", "sgt", "capt", "rev"}
    | {"inc", "ltd", "co", "ca", "e.g", "i.e", "u.s", "u.k"}
)
# A lookahead: a later statement on the same line can still match.
_AFTER_ANSWER = r"[ \t:*]{0,6}+(?=(?P<answer>\S[^\n]{0,1999}))"
_STATEMENT = r"the[ \t]{1,3}(?:final[ \t]{1,3}|short[ \t]{1,3})?answer(?:[ \t]{1,3}is\b|[ \t]{0,3}:)"
_STATED = re.compile(r"\b" + _STATEMENT + _AFTER_ANSWER, re.IGNORECASE)
_LABELLED = re.compile(
    r"^[ \t*]{0,4}(?:final[ \t]{1,3})?answer[ \t*]{0,3}:" + _AFTER_ANSWER, re.IGNORECASE | re.MULTILINE
)
_NEGATED = re.compile(r"(?:not|yet|still|unclear|found in|in the passage)\b", re.IGNORECASE)
# A model that was to write on after "So the answer is:" may write these words once more.
_STATED_AGAIN = re.compile(r"(?:so,?[ \t]{1,3})?" + _STATEMENT, re.IGNORECASE)
_BOX = "\\boxed{"
_TEXT_IN_BOX = re.compile(r"\\(?:text|textbf|textit|mathrm)\{([^{}]{0,2000})\}")


class Tag(NamedTuple):
    """A pair of marks."""

    open: str
    close: str


class Tagged(NamedTuple):
    """The text before a tag, and the text inside it."""

    before: str
    inside: str


def without_think_marks(text: str) -> str:
    """A thought without the marks of its block, on one line."""
    return " ".join(text.replace(OPEN, " ").replace(CLOSE, " ").split())


def first_sentence(text: str) -> str:
    """The first sentence on one line; initials and abbreviations do not end it. Text without a sentence end
    is one sentence.
    """
    line = " ".join(text[:MAX_ARGUMENT].split())
    return line[: next(_sentence_ends(line), len(line))]


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each sentence of `text`, as `first_sentence` ends them; a line break ends one too. The
    spans cover the whole text: white space belongs to the sentence after it, that at the end to the last one.
    """
    ends = [0]
    for end in [*_sentence_ends(text), len(text)]:
        if text[ends[-1] : end].strip():
            ends.append(end)
    return list(pairwise([*ends[:-1], len(text)])) if len(ends) > 1 else []


def _sentence_ends(text: str) -> Iterator[int]:
    for end in _SENTENCE_END.finditer(text):
        if end[0] != "." or not _is_short_form(text[max(0, end.start() - MAX_ARGUMENT) : end.start()]):
            yield end.end()


def _is_short_form(before: str) -> bool:
    """Whether the text before a full stop ends with an initial or an abbreviation."""
    words = before.rsplit(None, 1) if before[-1:].strip() else []
    word = words[-1].lower().lstrip("(\"'") if words else ""
    return word in _SHORT_FORMS or (len(word) == 1 and word.isalpha())


def stated_answer(text: str) -> str:
    """The text after "the answer is", or after "Answer:" at the start of a line, up to the end of its
    sentence; else "".
    """
    for pattern in (_STATED, _LABELLED):
        for match in pattern.finditer(text[:MAX_REPLY]):
            if not _NEGATED.match(match["answer"]) and not _STATED_AGAIN.match(match["answer"]):
                return plain_answer(first_sentence(match["answer"]))
    return ""


def plain_answer(text: str) -> str:
    """An answer on one line without the markup that models put around it."""
    return " ".join(text.split()).strip('*_`"“” ').rstrip(".").strip('*_`"“” ')


def boxed_answer(text: str) -> str:
    """The content of the last `\\boxed{…}` with balanced braces; "" where no box is closed."""
    text = text[:MAX_REPLY]
    at = text.rfind(_BOX)
    if at < 0:
        return ""
    start, depth = at + len(_BOX), 1
    for place in range(start, min(len(text), start + MAX_ARGUMENT)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if not depth:
            return plain_answer(_TEXT_IN_BOX.sub(r"\1", text[start:place]))
    return ""


def first_tagged(text: str, tag: Tag) -> Tagged | None:
    """The first text inside `tag`. A tag that is not closed extends to the end, since a stop string is not
    part of a reply.
    """
    before, opened, rest = text[:MAX_REPLY].partition(tag.open)
    return Tagged(before, rest.partition(tag.close)[0]) if opened else None
