"""Is the answer of a chain supported by what it observed?

Supported means that one observation says it: its words in a row, or, where it holds numbers and dates, all
of them in any form with the rest of its words ("5 Oct 1987" by "born on October 5, 1987"). Every item of a
list may stand in another observation. Two kinds of answer are never said in so many words: a yes or no, and
an option that the question names ("Which is older, A or B?"). The first needs a search that brought
something and shares a word with the question; where the question says "both" or "same", a second one or an
observation that speaks of two of the names; the other an observation about that option, which names it (the
last word of its name will do) or answers a query that does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from src_core.types import Search, Step
from src_data.filters.answer_rules import CLOSED
from src_data.filters.answer_text import canonical, canonical_items, covers, split_quantities
from src_data.filters.answer_words import QUESTION_WORDS
from src_tasks.answers import NO_ANSWER, normalize_answer

_EVERY_WORD_WITHIN = 60
_BETWEEN_NAMES = re.compile(r",| and | or ")
_NAME = re.compile(r"\b[A-Z\d][\w'’.-]*(?: (?:[a-z]{1,3} )?[A-Z\d(][\w'’.)-]*)*")


def supported(answer: str, question: str, steps: Sequence[Step]) -> bool:
    """Whether some observation of the chain carries `answer` (see above)."""
    told = [step for step in steps if informative(step)]
    if any(_verbatim(answer, step.observation or "") for step in told):
        return True
    seen = [(canonical(_query(step)), canonical(step.observation or "")) for step in told]
    asked = canonical(question)
    if normalize_answer(answer) in CLOSED:
        return _about(asked, compared_names(question), seen)
    wanted = canonical(answer)
    if not wanted:
        return False
    observations = [observation for _, observation in seen]
    if any(says(observation, wanted) for observation in observations):
        return True
    if in_a_row(asked, wanted):
        last = wanted[-1] if asked.count(wanted[-1]) == 1 else ""  # "Stokes" for Francis Stokes
        return any(in_a_row(query, wanted) or last in observation for query, observation in seen)
    items = _items(answer)
    return len(items) > 1 and all(any(says(text, item) for text in observations) for item in items)


def _verbatim(answer: str, observation: str) -> bool:
    """Whether words without numbers stand in an observation as they are: the usual case, and a cheap one."""
    plain = answer.strip()
    if not plain or normalize_answer(plain) in CLOSED or split_quantities(canonical(plain)).numbers:
        return False
    at = observation.find(plain)
    around = observation[at - 1 : at] + observation[at + len(plain) : at + len(plain) + 1]
    return at >= 0 and not any(map(str.isalnum, around))


def informative(step: Step) -> bool:
    """A search that brought more than an abstention."""
    text = step.observation or ""
    return isinstance(step.action, Search) and bool(text.strip()) and normalize_answer(text) != NO_ANSWER


def says(observation: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether an observation holds the tokens in a row, or all of them near each other."""
    if in_a_row(observation, wanted):
        return True
    places = [[at for at, token in enumerate(observation) if covers(token, word)] for word in wanted]
    if not all(places):
        return False
    # All words, any order: only near each other, else a long passage would hold every short name by chance.
    return any(
        all(any(abs(at - start) <= _EVERY_WORD_WITHIN for at in options) for options in places)
        for start in min(places, key=len)
    )


def in_a_row(text: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether the canonical tokens `wanted` stand in `text` one after the other."""
    width = len(wanted)
    return any(
        all(covers(text[start + i], wanted[i]) for i in range(width))
        for start in range(len(text) - width + 1)
        if covers(text[start], wanted[0])
    )


def query_key(query: str) -> str:
    """What two queries have in common when they ask the same: their tokens, in order."""
    return " ".join(canonical(query))


def _query(step: Step) -> str:
    return step.action.query if isinstance(step.action, Search) else ""


def _about(
    asked: Sequence[str], names: Sequence[Sequence[str]], seen: Sequence[tuple[Sequence[str], Sequence[str]]]
) -> bool:
    """Whether some search was about the question. Where it compares there are two, or one observation that
    speaks of two of the names.
    """
    words = {word for word in asked if len(word) > 2 and word not in QUESTION_WORDS}
    if not any(words & {*query, *observation} for query, observation in seen):
        return False
    if len(seen) > 1 or not {"both", "same"} & set(asked):
        return True
    return any(sum(in_a_row(observation, name) for name in names) > 1 for _, observation in seen)


def compared_names(question: str) -> list[tuple[str, ...]]:
    """The capitalised names of a question behind its first word, as canonical tokens: what "and", "or" and
    commas keep apart.
    """
    behind = question.strip(" ?").partition(" ")[2]
    runs = [_NAME.search(part) for part in _BETWEEN_NAMES.split(behind)]
    return [name for run in runs if run and (name := canonical(run.group()))]


def _items(answer: str) -> list[list[str]]:
    """The items of a list answer, as canonical tokens."""
    items: list[list[str]] = [[]]
    for token in canonical_items(answer):
        if token in (",", ";", "and"):
            items.append([])
        else:
            items[-1].append(token)
    return [item for item in items if item]
