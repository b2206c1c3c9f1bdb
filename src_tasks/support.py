"""Whether the observations of a trajectory support its answer.

Supported means that one observation holds the answer: its words in a row, or all of them near each other,
with numbers and dates in any form ("5 Oct 1987" by "born on October 5, 1987"). Every item of a list may be in
another observation. Two kinds of answer need no such match. A yes or no needs a search that returned
something and shares a word with the question; where the question says "both" or "same", a second search or an
observation that holds two of the names. An option that the question names ("Which is older, A or B?") needs a
query that names it, or an observation that holds the last word of its name.

The filters of data construction ask this of the observations, and abstention (`src_tasks.abstention`) of all
that a trajectory found.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from src_core.types import DirectAnswer, Search, Step
from src_tasks.answer_tokens import contains, covers, tokens
from src_tasks.answers import CLOSED, NO_ANSWER, normalize_answer

_MAX_DISTANCE = 60
"""In tokens. In a long passage, the words of a short name occur together by chance."""

_SEPARATORS = re.compile(r"[,;]| and ")
_NUMBER = re.compile(r"^\[\d+\] ", re.MULTILINE)
_BETWEEN_NAMES = re.compile(r",| and | or ")
_NAME = re.compile(r"\b[A-Z\d][\w'’.-]*(?: (?:[a-z]{1,3} )?[A-Z\d(][\w'’.)-]*)*")


class _Seen(NamedTuple):
    """A search as tokens: its query, and each text that it found."""

    query: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]


def supported(answer: str, question: str, steps: Sequence[Step], *, passages: bool = False) -> bool:
    """Whether the observations support `answer` (see above). With `passages` an answer may also stand in a
    passage, which the observation may have left out or, where a model wrote it, summed up; and in a direct
    answer, which the model gave from its own knowledge because it decided so.
    """
    found = _found(steps) if passages else [(query, [text]) for query, text in _searches(steps)]
    seen = [_Seen(tokens(query), tuple(map(tokens, texts))) for query, texts in found]
    asked, wanted = tokens(question), tokens(answer)
    if normalize_answer(answer) in CLOSED:
        return _about(question, seen)
    if not wanted:
        return False
    if any(_hold(search, wanted) for search in seen):
        return True
    if contains(asked, wanted):
        last = wanted[-1] if asked.count(wanted[-1]) == 1 else ""  # "Stokes" for Francis Stokes
        return any(
            contains(search.query, wanted) or any(last in text for text in search.texts) for search in seen
        )
    items = [tokens(item) for item in _SEPARATORS.split(answer) if tokens(item)]
    return len(items) > 1 and all(any(_hold(search, item) for search in seen) for item in items)


def holds(text: str, answer: str) -> bool:
    """Whether a text holds the words of an answer, in a row or near each other."""
    wanted = tokens(answer)
    return bool(wanted) and _holds(tokens(text), wanted)


def needs_no_text(answer: str, question: str) -> bool:
    """Whether an answer need not stand in a text: a yes or no, or an option that the question names."""
    return normalize_answer(answer) in CLOSED or contains(tokens(question), tokens(answer) or ("",))


def query_key(query: str) -> str:
    """The tokens of a query in order: equal for queries with the same words."""
    return " ".join(tokens(query))


def _searches(steps: Sequence[Step]) -> list[tuple[str, str]]:
    """Query and observation of every search that returned more than an abstention."""
    return [
        (step.action.query, step.observation or "")
        for step in steps
        if isinstance(step.action, Search) and _observed(step)
    ]


def _observed(step: Step) -> bool:
    """Whether a step has an observation that is no abstention."""
    return bool(step.observation) and normalize_answer(step.observation or "") not in ("", NO_ANSWER)


def _found(steps: Sequence[Step]) -> list[tuple[str, list[str]]]:
    """The query of each step, "" without one, and what it found: the observation unless it is an abstention,
    the passages, or a direct answer. A repeated query found nothing new, and the number before a shown
    passage (`passage_view`) is no text.
    """
    found = []
    for step in steps:
        texts = [_NUMBER.sub("", step.observation or "")] if _observed(step) else []
        texts += [passage.contents for passage in step.passages]
        if isinstance(step.action, DirectAnswer):
            texts.append(step.action.answer)
        query = step.action.query if isinstance(step.action, Search) else ""
        if texts and not step.repeated:
            found.append((query, texts))
    return found


def _hold(search: _Seen, wanted: Sequence[str]) -> bool:
    return any(_holds(text, wanted) for text in search.texts)


def _holds(observation: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether an observation holds the tokens in a row, or all of them near each other."""
    if contains(observation, wanted):
        return True
    places = []
    for word in wanted:
        places.append([at for at, token in enumerate(observation) if covers(token, word)])
        if not places[-1]:
            return False
    return any(all(_near(options, start) for options in places) for start in min(places, key=len))


def _near(places: Sequence[int], start: int) -> bool:
    """Whether one of the ascending places is at most `_MAX_DISTANCE` from `start`."""
    at = bisect_left(places, start - _MAX_DISTANCE)
    return at < len(places) and places[at] <= start + _MAX_DISTANCE


def _about(question: str, seen: Sequence[_Seen]) -> bool:
    """Whether some search was about the question; for a comparison, two searches, or one whose observation
    holds two names.
    """
    names = compared_names(question)
    asked = tokens(question)
    words = {word for name in names for word in name} or {word for word in asked if len(word) > 4}
    if all(words.isdisjoint(chain(query, *texts)) for query, texts in seen):
        return False
    if len(seen) > 1 or not {"both", "same"} & {*asked}:
        return True
    return any(sum(any(contains(text, name) for text in texts) for name in names) > 1 for _, texts in seen)


def compared_names(question: str) -> list[tuple[str, ...]]:
    """The capitalised names of a question after its first word, as tokens, separated at "and", "or" and
    commas.
    """
    behind = question.strip(" ?").partition(" ")[2]
    runs = [_NAME.search(part) for part in _BETWEEN_NAMES.split(behind)]
    return [name for run in runs if run and (name := tokens(run.group()))]
