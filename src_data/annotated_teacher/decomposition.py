"""The plan of a decomposition teacher: the hops of a question with their annotated answers, from the
annotation in its set (MuSiQue's sub-questions, 2Wiki's evidence triples, HotpotQA's supporting facts, a
single fact).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

NO_CLAUSE = "the answer to"
"""The beginning of `as_clause` for a question that does not start with a question word."""
_REFERENCE = re.compile(r"#(\d+)")


@dataclass(frozen=True, slots=True)
class Hop:
    """One fact to look up. `queries` are wordings of the same question, in the order in which they are
    searched; `#k` in them and in `goal` is the answer of hop k (from 1). `answers` are aliases of what should
    be found; `goal` names the fact as a noun phrase ("the director of Jaws") or, with `indirect`, as an
    indirect question ("who directed Jaws"). `title` names the passage that states the fact, where the set
    names one for each hop, and `sentence` the sentence that does.
    """

    queries: tuple[str, ...]
    answers: tuple[str, ...]
    goal: str
    indirect: bool = False
    title: str = ""
    sentence: str = ""


class Kind(StrEnum):
    """How the hops give the answer: the last hop has it, their values are compared, or the question is the
    only query. With `GATHER` the question is also the only hop, but the passages that answer it are searched
    one by one (`src_data.annotated_teacher.gather`). With `ABSTAIN` no passage answers the last hop.
    """

    CHAIN = "chain"
    COMPARISON = "comparison"
    SINGLE = "single"
    GATHER = "gather"
    ABSTAIN = "abstain"


@dataclass(frozen=True, slots=True)
class Decomposition:
    """The hops of one question, in the order of their searches, and the gold answer. `compared` are the hops
    (from 1) whose values are compared. `titles` are those of the supporting passages where the set names
    them: a fact counts as found only if one of these passages states it. With `quoted` every hop names its
    passage, and the thoughts quote what they take from it (`src_data.annotated_teacher.passage_steps`).
    """

    hops: tuple[Hop, ...]
    answer: str
    kind: Kind = Kind.CHAIN
    compared: tuple[int, ...] = ()
    titles: tuple[str, ...] = ()
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class NoDecomposition:
    """Why the annotation of a question gives no hops: a stable `reason` for the filter report."""

    reason: str


def resolve(text: str, found: Sequence[str]) -> str:
    """`text` with every `#k` replaced by what hop k found. Raises `ValueError` for a reference beyond
    `found`: the hops are out of order.
    """

    def value(match: re.Match[str]) -> str:
        number = int(match[1])
        if not 0 < number <= len(found):
            raise ValueError(f"{text!r} refers to hop {number}, but {len(found)} were answered")
        return found[number - 1]

    return _REFERENCE.sub(value, text)


def references(text: str) -> frozenset[int]:
    """The hops that `text` refers to."""
    return frozenset(int(number) for number in _REFERENCE.findall(text))


def as_question(text: str) -> str:
    """A sub-question in normal spelling: single spaces, a capital in front, a question mark at the end."""
    plain = " ".join(text.split()).rstrip(" ?.!,")
    plain = re.sub(r"\s+(['’]s\b)", r"\1", plain)
    return f"{plain[:1].upper()}{plain[1:]}?" if plain else ""


def bare_title(title: str) -> str:
    """A title without its disambiguation in brackets."""
    return re.sub(r"\s*\([^)]*\)$", "", title).strip()


def as_clause(question: str) -> str:
    """A question as the object of "I need to know …": lower-case question word, no question mark."""
    plain = as_question(question).rstrip("?")
    first, _, rest = plain.partition(" ")
    return f"{first.lower()} {rest}" if first.lower() in _QUESTION_WORDS else f"{NO_CLAUSE} “{plain}?”"


_QUESTION_WORDS = frozenset({"who", "whom", "whose", "what", "which", "when", "where", "why", "how"})
