"""The lines of DeepRAG's format: their labels and tags, and how a line that a model wrote is read
(`src_core.protocols.deeprag` has the format).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from src_core.protocols.records import MAX_REPLY

FOLLOW_UP = "Follow up:"
SEARCH = "Let's search the question in Wikipedia."
CONTEXT = "Context:"
ANSWER = "Intermediate answer:"
FINAL = "So the final answer is:"
LONG, SHORT = "<answer long>", "<answer short>"
TAGS = (LONG, SHORT, "</answer long>", "</answer short>")
NO_SHORT = "no_short_answer"
"""The repair of a final line without the short answer."""
NO_INFO = "[No related Info]"
"""The intermediate answer where the documents do not hold one."""
_LABEL = re.compile(
    r"[\s*_#>-]{0,4}(?:"
    r"(?P<ask>follow[- ]?up(?: question)?[ \t]?:)"
    r"|(?P<search>let['’]?s search the question in wikipedia\b\.?)"
    r"|(?P<context>context[ \t]?:)"
    r"|(?P<answer>intermediate answer[ \t]?:)"
    r"|(?P<final>so the final answer is[ \t]?:)"
    r")[*_]{0,2}",
    re.IGNORECASE,
)
_LABELS = {"ask": FOLLOW_UP, "search": SEARCH, "context": CONTEXT, "answer": ANSWER, "final": FINAL}
TAG = re.compile(r"</?answer(?: long| short)?>|</answer[a-z ]{0,6}$")
"""Small models write `</answer>` for both closing tags, and a reply may be cut within one."""
LONG_TEXT = re.compile(rf"<answer long>(.*?)(?={TAG.pattern}|$)", re.DOTALL)
SHORT_TEXT = re.compile(rf"<answer short>(.*?)(?={TAG.pattern}|$)", re.DOTALL)
EACH_LINE = re.compile(r"[^\n]*\n|[^\n]+")


class Line(NamedTuple):
    """A line: the kind of its label ("" for none), the text after it, whether it is written as we do it."""

    kind: str
    text: str
    exact: bool


def ask_line(sub_question: str) -> str:
    """The line of a sub-question; its decision follows."""
    return f"{FOLLOW_UP} {one_line(sub_question)}\n"


def one_line(text: str) -> str:
    """The text with single spaces in place of line breaks and runs of blanks."""
    return " ".join(text.split())


def untagged(text: str) -> str:
    """The text on one line without the tags of the answers."""
    return one_line(TAG.sub(" ", text))


def read_line(line: str) -> Line:
    """A line with its label, however it is written."""
    label = _LABEL.match(line)
    if label is None:
        return Line("", one_line(line), True)
    kind = label.lastgroup or ""
    rest, exact = line[label.end() :], label[0] == _LABELS[kind]
    while kind == "ask" and (again := _LABEL.match(rest)) and again.lastgroup == "ask":
        rest, exact = rest[again.end() :], False  # a label that continues the same label
    return Line(kind, one_line(rest), exact)


def asks_nothing(sub_question: str) -> bool:
    """Whether a sub-question is empty or another label of the format, which small models write in its place
    ("Follow up: Let's search the question in Wikipedia.").
    """
    return not sub_question or _LABEL.match(sub_question) is not None


def read_lines(text: str) -> list[Line]:
    """The lines of a reply that are not blank."""
    return [read_line(line) for line in text[:MAX_REPLY].split("\n") if line.strip()]
