"""HotpotQA's supporting facts as hops. The set ships no sub-questions, so they are cut out of the question:

- bridge: a description that holds the named supporting title ("the woman who portrayed Corliss Archer in the
  film Kiss and Tell") is asked for first, the hidden title is what must be found, and the question with the
  title in the description's place is the second hop;
- comparison: the question's own property, asked of either title.

A question that fits no pattern is decomposed by its titles alone: the question itself is searched, then the
supporting passages that the observations mention (`Kind.GATHER`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from src_core.types import Question
from src_data.annotated_teacher.decomposition import (
    Decomposition,
    Hop,
    Kind,
    NoDecomposition,
    as_clause,
    as_question,
    bare_title,
)
from src_data.annotated_teacher.properties import property_of
from src_tasks.answers import normalize_answer

_PERSON_WORDS = (
    "man|woman|actor|actress|person|singer|director|author|writer|player|footballer|artist|musician"
    "|politician|composer|producer|comedian|rapper|president|coach|king|queen|general|poet|novelist|scientist"
    "|designer|founder|host|narrator"
)
_HEAD = re.compile(
    r"\b(?P<article>the|an?)\s+(?P<noun>(?:[\w'’-]+\s+){0,6}?[\w'’-]+)\s+"
    r"(?P<link>who|that|which|whose|in which|for which|where|of|by|in|on|from|for"
    r"|starring|directed|written|founded)\b",
    re.IGNORECASE,
)
_NO_DESCRIPTION = frozenset({"same", "first", "most", "only", "other", "name", "year", "city", "number"})
_MAIN_VERB = re.compile(
    r"\s+(?:is|was|are|were|has|had|did|does|won|plays?|played|received|died|served|belongs?)\b"
)
# A relative clause whose verb follows the title ("the stadium at which the game was held") is torn
# apart.
_TORN = re.compile(r"\S\s+#1\s+(?:is|was|are|were|plays?|in\b|had|has|did)|\bwho #1|^\W*#1\W*$")
_AUXILIARY = re.compile(r"\b(?:was|were|is|are|did|does|do|has|have)\s*$", re.IGNORECASE)


def decompose_supporting_facts(question: Question) -> Decomposition | NoDecomposition:
    """The hops of one HotpotQA question, or why there are none."""
    titles = tuple(question.meta.get("supporting_titles", ()))
    if len(titles) != 2 or not question.answers:
        return NoDecomposition("not_two_titles")
    named = [title for title in titles if _named(title, question.question)]
    made: Decomposition | None = None
    if question.meta.get("type") == "comparison":
        made = _comparison(question, titles) if len(named) == 2 else None
    elif len(named) == 1:
        hidden = next(title for title in titles if title not in named)
        made = _bridge(question, named=named[0], hidden=hidden)
    return made or Decomposition((_whole(question),), question.answers[0], Kind.GATHER)


def _whole(question: Question) -> Hop:
    query = as_question(question.question)
    return Hop((query,), question.answers, as_clause(query), indirect=True)


def _bridge(question: Question, *, named: str, hidden: str) -> Decomposition | None:
    """Hop 1 finds the hidden title from its description, hop 2 asks the rest about it. None where there is no
    second question or no description can be cut out.
    """
    bridge = bare_title(hidden)
    if normalize_answer(bridge) in map(normalize_answer, question.answers):
        return None  # the hidden passage is the answer: there is no second question
    description = _description(question.question, bare_title(named))
    if description is None:
        return None
    start, end = description
    text = question.question[start:end].strip(" ,.?")
    text = text[:1].lower() + text[1:]
    rest = question.question[:start] + "#1" + question.question[end:]
    if len(rest.split()) < 4 or _TORN.search(rest):
        return None
    word = "Who" if re.search(rf"\b(?:{_PERSON_WORDS})s?\b", text.lower()) else "What"
    first = Hop((as_question(f"{word} is {text}"), as_question(text)), (bridge,), text)
    second = as_question(rest)
    return Decomposition(
        (first, Hop((second,), question.answers, as_clause(second), indirect=True)), question.answers[0]
    )


def _description(text: str, named: str) -> tuple[int, int] | None:
    """Start and end of the noun phrase that describes the hidden entity: from an article to the end of the
    clause with the named title. The phrase nearest before the title is taken.
    """
    at = text.lower().find(named.lower())
    heads = [match for match in _HEAD.finditer(text, 0, at) if _describes(match)]
    if not heads:
        return None
    start, end = heads[-1].start(), at + len(named)
    closing = re.match(r"[^,?]*", text[end:])
    tail = closing.group() if closing else ""
    verb = _MAIN_VERB.search(tail)
    if verb:
        return start, end + verb.start()
    tail = tail.rstrip()
    if _AUXILIARY.search(text[:start]):  # "was the man who … born?": the last word belongs to "was"
        tail = tail.rpartition(" ")[0] if tail.strip() and tail.split()[-1].islower() else tail
    return start, end + len(tail)


def _describes(match: re.Match[str]) -> bool:
    return match["noun"].split()[0].lower() not in _NO_DESCRIPTION


def _comparison(question: Question, titles: Sequence[str]) -> Decomposition | None:
    """Either title is asked for the property that the question weighs."""
    lower = question.question.lower()
    ordered = sorted(titles, key=lambda title: lower.find(bare_title(title).lower()))
    weighed = property_of(_without(titles, question.question))
    if weighed is None:
        return None
    hops = tuple(
        Hop(
            tuple(query.replace("{s}", bare_title(title)) for query in weighed.queries),
            (),
            f"the {weighed.goal} of {bare_title(title)}",
            title=title,
        )
        for title in ordered
    )
    return Decomposition(hops, question.answers[0], Kind.COMPARISON, (1, 2))


def _without(titles: Sequence[str], text: str) -> str:
    """The question without its titles: "Colorado State University" does not weigh states."""
    for title in titles:
        text = re.sub(re.escape(bare_title(title)), " ", text, flags=re.IGNORECASE)
    return text


def _named(title: str, text: str) -> bool:
    return bare_title(title).lower() in text.lower()
