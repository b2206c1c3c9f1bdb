"""What a decomposition teacher follows: the hops of a question with their annotated answers, from the
annotation that its set ships (MuSiQue's sub-questions, 2Wiki's evidence triples, HotpotQA's supporting facts,
a single fact).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

NO_CLAUSE = "the answer to"
"""How `as_clause` begins for a question without a question word in front."""
_REFERENCE = re.compile(r"#(\d+)")


@dataclass(frozen=True, slots=True)
class Hop:
    """One fact to look up. `queries` are wordings of the same question, the first is asked first; `#k` in
    them and in `goal` is the answer of hop k (from 1). `answers` are aliases of what should be found;
    `goal` names the fact as a noun phrase ("the director of Jaws") or, with `indirect`, as an indirect
    question ("who directed Jaws"). `title` names the passage that states the fact, for a hop without
    annotated answers.
    """

    queries: tuple[str, ...]
    answers: tuple[str, ...]
    goal: str
    indirect: bool = False
    title: str = ""


class Kind(StrEnum):
    """How the hops lead to the answer: the last one holds it, their values are compared, or the question is
    itself the only query. With `GATHER` the only hop is the question too, but the passages that answer it
    are looked up one by one (`src_data.annotated_teacher.gather`).
    """

    CHAIN = "chain"
    COMPARISON = "comparison"
    SINGLE = "single"
    GATHER = "gather"


@dataclass(frozen=True, slots=True)
class Decomposition:
    """The hops of one question, in the order in which they are asked, and the gold answer they lead to.
    `compared` are the hops (from 1) whose values a comparison weighs. `titles` are the supporting passages'
    where the set names them: only a fact that one of those states counts as found.
    """

    hops: tuple[Hop, ...]
    answer: str
    kind: Kind = Kind.CHAIN
    compared: tuple[int, ...] = ()
    titles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NoDecomposition:
    """Why the annotation of a question gives no hops: a stable `reason` for the filter report."""

    reason: str


def resolve(text: str, found: Sequence[str]) -> str:
    """`text` with every `#k` replaced by what hop k found. A reference beyond `found` is a ValueError: the
    hops are out of order.
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
    """A sub-question as a person would type it: one space between words, a capital in front, a question mark
    behind.
    """
    plain = " ".join(text.split()).rstrip(" ?.!,")
    plain = re.sub(r"\s+(['’]s\b)", r"\1", plain)
    return f"{plain[:1].upper()}{plain[1:]}?" if plain else ""


def bare_title(title: str) -> str:
    """A title without its bracketed disambiguation."""
    return re.sub(r"\s*\([^)]*\)$", "", title).strip()


def as_clause(question: str) -> str:
    """A question as the object of "I need to know …": lower-case question word, no question mark."""
    plain = as_question(question).rstrip("?")
    first, _, rest = plain.partition(" ")
    return f"{first.lower()} {rest}" if first.lower() in _QUESTION_WORDS else f"{NO_CLAUSE} “{plain}?”"


_QUESTION_WORDS = frozenset({"who", "whom", "whose", "what", "which", "when", "where", "why", "how"})
