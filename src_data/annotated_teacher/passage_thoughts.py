"""The thoughts of `passage_steps`: several wordings each; a hash of question, trajectory number and step
selects one, as in `thought_templates`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from src_data.annotated_teacher.decomposition import Decomposition, Kind, as_clause, bare_title
from src_data.annotated_teacher.thought_templates import capital, choose, fill_thought
from src_tasks.answer_tokens import tokens

_FIRST = (
    "I do not know {goal} yet, so I look for that first.",
    "First I have to find {goal}.",
    "More than one fact is needed here. I start with {goal}.",
    "The question leads through {goal}. That comes first.",
    "Before the rest I need to know one thing: {query}",
    "The first thing to find is {goal}.",
    "I begin with the inner part of the question: {query}",
)
_FIRST_COMPARED = (
    "Two facts have to be compared, so I look both up. First: {query}",
    "I need the same fact for both. I start with the first one: {query}",
    "To compare them I search for each in turn. First: {query}",
    "Both have to be known before I can say anything. The first search is: {query}",
)
_FIRST_SINGLE = (
    "One fact is asked for, and I search for it directly.",
    "This is a single fact. I search with the words of the question.",
    "One search should tell this: {query}",
    "I look this up as it is asked.",
    "The question asks for one thing only, so I search for that.",
)
_READ = (  # the quote before what follows from it: a small model that names the value first quotes anything
    "The passage “{title}” says: “{quote}”. So {known}.",
    "I read in “{title}”: “{quote}”. That means {known}.",
    "“{title}” tells it: “{quote}”. {Known}.",
    "In the passage “{title}” it says “{quote}”, so {known}.",
)
_NEXT = (
    "Now I ask: {query}",
    "The next question is: {query}",
    "With that I can ask: {query}",
    "What is still missing: {query}",
    "Next I search for {goal}.",
    "I still need {goal}.",
)
_LAST = (
    "That is what the question asks for.",
    "This answers the question: {answer}.",
    "Nothing else is needed. The answer is {answer}.",
    "So the answer is {answer}.",
    "With this the question is answered.",
)
_COMPARE = (
    "For {one} I found {first}, for {other} {second}. {Reason}, so the answer is {answer}.",
    "{One}: {first}. {Other}: {second}. {Reason}. The answer is {answer}.",
    "Now both are known, {first} for {one} and {second} for {other}. As {reason}, the answer is {answer}.",
)
_RETRY = (
    "None of these passages tells me the answer to “{query}”. I ask in other words.",
    "That search did not show it. I word the question differently.",
    "The answer to “{query}” is not in these passages, so I try another wording.",
)
_RETRY_SHOWN = (
    "The passage “{title}” is here, but it does not say this. I ask once more in other words.",
    "I see the passage “{title}”, but the answer to “{query}” is not in it. I try another wording.",
    "“{title}” tells other things, not what I asked. I try other words.",
)
_UNKNOWN = (
    "No passage about this was found in any wording, so I cannot answer it.",
    "The searches did not show the answer to “{query}”. I do not know it.",
)
_UNKNOWN_SHOWN = (
    "The passage “{title}” does not tell this, and no other passage does. So the answer is unknown.",
    "I have read “{title}”, and it does not answer “{query}”. The passages do not tell it.",
    "No wording found it: the passages tell of {title}, but not this. I cannot answer it from them.",
)
_YEAR = re.compile(r"\b(?:1[0-9]|20)\d\d\b")
_DAY = re.compile(r"@(\d{4})-(\d\d)-(\d\d)")
_AMOUNT = re.compile(r"\d+(?:\.\d+)?")


class Reading(NamedTuple):
    """A fact that was read: the passage, the sentence, and the value for `goal` (or else for `question`)."""

    title: str
    quote: str
    goal: str
    question: str
    value: str


def first_thought(decomposition: Decomposition, goal: str, query: str, *, key: str) -> str:
    """The thought before the first search."""
    if decomposition.kind is Kind.COMPARISON:
        return _fill(choose(_FIRST_COMPARED, key), goal, query)
    if len(decomposition.hops) == 1:
        return _fill(choose(_FIRST_SINGLE, key), goal, query)
    return _fill(choose(_FIRST, key), goal, query)


def next_thought(read: Reading, goal: str, query: str, *, key: str) -> str:
    """The thought after a fact was read, before the next search."""
    return f"{_read(read, key)} {_fill(choose(_NEXT, f'{key}/next'), goal, query)}"


def retry_thought(title: str, query: str, *, shown: bool, key: str) -> str:
    """The thought after a search that did not show the fact; `shown`: its passage was there."""
    return fill_thought(choose(_RETRY_SHOWN if shown else _RETRY, key), title=bare_title(title), query=query)


def unknown_thought(title: str, query: str, *, shown: bool, key: str) -> str:
    """The thought before an abstention."""
    return fill_thought(
        choose(_UNKNOWN_SHOWN if shown else _UNKNOWN, key), title=bare_title(title), query=query
    )


def last_thought(decomposition: Decomposition, readings: Sequence[Reading], *, key: str) -> str:
    """The thought before `finish`: the last fact, and what follows from all of them."""
    answer = decomposition.answer.rstrip(".")
    read = _read(readings[-1], key)
    if decomposition.kind is not Kind.COMPARISON:
        return f"{read} {fill_thought(choose(_LAST, f'{key}/last'), answer=answer)}"
    one, other = readings[0], readings[-1]
    reason = reason_of(one, other, answer)
    conclusion = fill_thought(
        choose(_COMPARE, f"{key}/last"),
        one=one.title, One=capital(one.title), other=other.title, Other=capital(other.title),
        first=one.value, second=other.value, reason=reason, Reason=capital(reason), answer=answer,
    )  # fmt: skip
    return f"{read} {conclusion}"


def reason_of(one: Reading, other: Reading, answer: str) -> str:
    """How two values compare: which date is earlier, which number is less, or whether they are the same. Each
    value stands with its name, and the `answer`, where it is one of both, comes first. The questions that are
    answered with yes all ask whether something is the same.
    """
    if tokens(one.value) == tokens(other.value) or answer == "yes":  # two dates of one year
        return "both are the same"
    found = _dates(one.value, other.value) or _amounts(one.value, other.value)
    if found is None or found.keys[0] == found.keys[1]:
        return f"{one.value} and {other.value} are not the same"
    sides = [(one.title, found.texts[0]), (other.title, found.texts[1])]
    (low, less), (high, more) = sides if found.keys[0] < found.keys[1] else reversed(sides)
    if tokens(answer) == tokens(bare_title(high)):
        return f"{high} with {more} is {found.higher} than {low} with {less}"
    return f"{low} with {less} is {found.lower} than {high} with {more}"


class _Comparable(NamedTuple):
    """Two values that compare: by which keys, how they are written, the words for the relation."""

    keys: tuple[tuple[float, ...], tuple[float, ...]]
    texts: tuple[str, str]
    lower: str
    higher: str


def _dates(first: str, second: str) -> _Comparable | None:
    """By years; by whole dates where the years are the same."""
    texts = (first, second)
    years = [_YEAR.findall(value) for value in texts]
    if any(len(found) != 1 for found in years):
        return None
    (one,), (other,) = years
    if one != other:
        return _Comparable(((float(one),), (float(other),)), (one, other), "earlier", "later")
    days = [_DAY.findall(" ".join(tokens(value))) for value in texts]
    if any(len(found) != 1 for found in days):
        return None
    first_key, second_key = (tuple(map(float, found[0])) for found in days)
    return _Comparable((first_key, second_key), texts, "earlier", "later")


def _amounts(first: str, second: str) -> _Comparable | None:
    found = [_AMOUNT.findall(value.replace(",", "")) for value in (first, second)]
    if any(len(each) != 1 for each in found):
        return None
    return _Comparable(((float(found[0][0]),), (float(found[1][0]),)), (first, second), "less", "more")


def _read(read: Reading, key: str) -> str:
    known = (
        f"{read.goal} is {read.value}" if read.goal else f"the answer to “{read.question}” is {read.value}"
    )
    if not read.quote:  # the observation is a reader's reply
        return f"{capital(known)}."
    return fill_thought(
        choose(_READ, key), title=read.title, quote=read.quote, known=known, Known=capital(known)
    )


def _fill(template: str, goal: str, query: str) -> str:
    return fill_thought(template, goal=goal or as_clause(query), query=query)
