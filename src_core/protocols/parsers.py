"""Reading replies in other notations than the project's own: sentences, stated answers, boxes, tags.

Model output is data: every function takes any text, raises nothing, reads a bounded part of it and evaluates
nothing. "" or None says that something is not there; nothing is guessed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from src_core.protocols.records import MAX_ARGUMENT, MAX_REPLY
from src_core.think import CLOSE, OPEN

_SENTENCE_END = re.compile(r"[.?!][\"'”’)\]]{0,2}(?=\s|$)")
_SHORT_FORMS = frozenset(
    {"mr", "mrs", "ms", "dr", "st", "jr", "sr", "vs", "prof", "gen", "col", "lt", "sgt", "capt", "rev"}
    | {"inc", "ltd", "co", "ca", "e.g", "i.e", "u.s", "u.k"}
)
# Looked at, not consumed: a later statement on the same line may be the one that counts.
_AFTER_ANSWER = r"[ \t:*]{0,6}+(?=(?P<answer>\S[^\n]{0,1999}))"
_STATED = re.compile(
    r"\bthe[ \t]{1,3}(?:final[ \t]{1,3}|short[ \t]{1,3})?answer(?:[ \t]{1,3}is\b|[ \t]{0,3}:)"
    + _AFTER_ANSWER,
    re.IGNORECASE,
)
_LABELLED = re.compile(
    r"^[ \t*]{0,4}(?:final[ \t]{1,3})?answer[ \t*]{0,3}:" + _AFTER_ANSWER, re.IGNORECASE | re.MULTILINE
)
_NEGATED = re.compile(r"(?:not|yet|still|unclear|found in|in the passage)\b", re.IGNORECASE)
_BOX = "\\boxed{"
_TEXT_IN_BOX = re.compile(r"\\(?:text|textbf|textit|mathrm)\{([^{}]{0,2000})\}")


class Tag(NamedTuple):
    """A pair of marks."""

    open: str
    close: str


class Tagged(NamedTuple):
    """What stood before a tag, and what it holds."""

    before: str
    inside: str


def without_think_marks(text: str) -> str:
    """A thought without the marks of its block, on one line."""
    return " ".join(text.replace(OPEN, " ").replace(CLOSE, " ").split())


def first_sentence(text: str) -> str:
    """The first sentence on one line, without being led astray by initials and short forms. Text without an
    end is one sentence.
    """
    line = " ".join(text[:MAX_ARGUMENT].split())
    for end in _SENTENCE_END.finditer(line):
        word = line[: end.start()].rsplit(" ", 1)[-1].lower().lstrip("(\"'")
        if end[0] == "." and (word in _SHORT_FORMS or (len(word) == 1 and word.isalpha())):
            continue
        return line[: end.end()]
    return line


def stated_answer(text: str) -> str:
    """What follows "the answer is" or begins a line with "Answer:", to the end of its sentence; else ""."""
    for pattern in (_STATED, _LABELLED):
        for match in pattern.finditer(text[:MAX_REPLY]):
            if not _NEGATED.match(match["answer"]):
                return plain_answer(first_sentence(match["answer"]))
    return ""


def plain_answer(text: str) -> str:
    """An answer on one line without the marks that models put around it."""
    return " ".join(text.split()).strip('*_`"“” ').rstrip(".").strip('*_`"“” ')


def boxed_answer(text: str) -> str:
    """The content of the last `\\boxed{…}` with balanced braces; "" when there is none that closes."""
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
    """The first piece of text inside `tag`; one that is never closed runs to the end, since a stop string
    is not part of a reply.
    """
    before, opened, rest = text[:MAX_REPLY].partition(tag.open)
    return Tagged(before, rest.partition(tag.close)[0]) if opened else None
