"""Whether the observations of a trajectory support its answer.

Supported means that one observation holds the answer: its words in a row, or all of them near each other,
with numbers and dates in any form ("5 Oct 1987" by "born on October 5, 1987"). Every item of a list may be in
another observation. Two kinds of answer need no such match. A yes or no needs a search that returned
something and shares a word with the question; where the question says "both" or "same", a second search or an
observation that holds two of the names. An option that the question names ("Which is older, A or B?") needs a
query that names it, or an observation that holds the last word of its name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from src_core.types import Search, Step
from src_data.filters.answer_tokens import contains, covers, tokens
from src_tasks.answers import CLOSED, NO_ANSWER, normalize_answer

_MAX_DISTANCE = 60
"""In tokens. In a long passage, the words of a short name occur together by chance."""

_SEPARATORS = re.compile(r"[,;]| and ")
_BETWEEN_NAMES = re.compile(r",| and | or ")
_NAME = re.compile(r"\b[A-Z\d][\w'’.-]*(?: (?:[a-z]{1,3} )?[A-Z\d(][\w'’.)-]*)*")


class _Seen(NamedTuple):
    """A search as tokens."""

    query: tuple[str, ...]
    observation: tuple[str, ...]


def supported(answer: str, question: str, steps: Sequence[Step]) -> bool:
    """Whether the observations support `answer` (see above)."""
    seen = [_Seen(tokens(query), tokens(observation)) for query, observation in _searches(steps)]
    asked, wanted = tokens(question), tokens(answer)
    if normalize_answer(answer) in CLOSED:
        return _about(question, seen)
    if not wanted:
        return False
    if any(_holds(observation, wanted) for _, observation in seen):
        return True
    if contains(asked, wanted):
        last = wanted[-1] if asked.count(wanted[-1]) == 1 else ""  # "Stokes" for Francis Stokes
        return any(contains(query, wanted) or last in observation for query, observation in seen)
    items = [tokens(item) for item in _SEPARATORS.split(answer) if tokens(item)]
    return len(items) > 1 and all(any(_holds(text, item) for _, text in seen) for item in items)


def query_key(query: str) -> str:
    """The tokens of a query in order: equal for queries with the same words."""
    return " ".join(tokens(query))


def _searches(steps: Sequence[Step]) -> list[tuple[str, str]]:
    """Query and observation of every search that returned more than an abstention."""
    return [
        (step.action.query, step.observation)
        for step in steps
        if isinstance(step.action, Search)
        and step.observation
        and normalize_answer(step.observation) not in ("", NO_ANSWER)
    ]


def _holds(observation: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether an observation holds the tokens in a row, or all of them near each other."""
    if contains(observation, wanted):
        return True
    places = [[at for at, token in enumerate(observation) if covers(token, word)] for word in wanted]
    return all(places) and any(
        all(any(abs(at - start) <= _MAX_DISTANCE for at in options) for options in places)
        for start in min(places, key=len)
    )


def _about(question: str, seen: Sequence[_Seen]) -> bool:
    """Whether some search was about the question; for a comparison, two searches, or one whose observation
    holds two names.
    """
    names = compared_names(question)
    asked = tokens(question)
    words = {word for name in names for word in name} or {word for word in asked if len(word) > 4}
    if not any(words & {*query, *observation} for query, observation in seen):
        return False
    if len(seen) > 1 or not {"both", "same"} & {*asked}:
        return True
    return any(sum(contains(observation, name) for name in names) > 1 for _, observation in seen)


def compared_names(question: str) -> list[tuple[str, ...]]:
    """The capitalised names of a question after its first word, as tokens, separated at "and", "or" and
    commas.
    """
    behind = question.strip(" ?").partition(" ")[2]
    runs = [_NAME.search(part) for part in _BETWEEN_NAMES.split(behind)]
    return [name for run in runs if run and (name := tokens(run.group()))]
