"""The thoughts of the decomposition teacher: several wordings each, filled with observed values.

A hash of question, trajectory number and step selects the wording: the data are reproducible, and a second
trajectory of a question has other wordings.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from src_core.text import fill_some
from src_data.annotated_teacher.decomposition import NO_CLAUSE, Decomposition, Hop, Kind, bare_title, resolve
from src_tasks.answers import normalize_answer

_FIRST_CHAIN = (
    "The question cannot be answered in one step. First I need {need}.",
    "I need several facts for this. I start with {need}.",
    "To get to the answer I first have to find out {need}.",
    "Step by step: first {need}.",
    "Before anything else I need to find {need}.",
)
_FIRST_COMPARISON = (
    "This compares two things, so I need both facts. First {need}.",
    "I have to look up both sides and compare them. I begin with {need}.",
    "Both sides have to be known before they can be compared. First I look for {need}.",
    "For the comparison I need two facts; the first is {need}.",
)
_FIRST_SINGLE = (
    "This is a single fact, so I look the question up as it stands.",
    "One search should do, so I search for the question itself.",
    "I only need one fact here and search for it directly.",
    "The question asks for one thing. I look it up.",
)
_NEXT = (
    "{known}. Now I need {need}.",
    "{known}. The next fact is {need}.",
    "The observation says that {known_lower}. Next I need to find {need}.",
    "So {known_lower}. What is still missing is {need}.",
    "Good: {known_lower}. With that I can look for {need}.",
)
_RETRY = (
    "The observation does not tell {need}. I ask for it in other words.",
    "That did not give me {need}, so I reword the query.",
    "I still do not know {need}. Let me ask differently.",
    "This observation does not help: {need} is still open. I try another wording.",
)
_FINAL = (
    "{known}. That is what the question asks for.",
    "The observation says that {known_lower}. This answers the question.",
    "So {known_lower}, and nothing else is needed.",
    "{known}. All facts are found, so I can finish.",
)
_FINAL_SINGLE = (
    "The observation names {answer}. That is what the question asks for.",
    "According to the observation it is {answer}, and nothing else is needed.",
    "The answer is there: {answer}.",
    "So it is {answer}. One search was enough.",
)
_COMPARE = (
    "{first}, and {second_lower}. Comparing the two{reason} the answer is {answer}.",
    "{first}; {second_lower}. From this{reason} the answer is {answer}.",
    "Now both facts are there: {first_lower}, while {second_lower}. So{reason} the answer is {answer}.",
)
_FIRST_GATHER = (
    "I do not know the people or things behind this yet, so I search for the question as it stands.",
    "I look the whole question up first and see which names it brings.",
    "To find out what this is about, I start with the question itself.",
    "First I search for the question and follow what I find.",
)
_NEXT_GATHER = (
    "{seen}. I also need to know more about {title}.",
    "{seen}. {title} is named here, and what I need must be told there.",
    "{seen}. Next I look at {title}.",
    "{seen}, but this is not enough. I search for {title}.",
)
_FINAL_GATHER = (
    "I read: {quotes}. So the answer is {answer}.",
    "The observation says: {quotes}. That makes it {answer}.",
    "{quotes}. This answers the question: {answer}.",
    "What was needed is there: {quotes}. The answer is {answer}.",
)
_YEAR = re.compile(r"\b\d{3,4}\b")


_FIRST = {Kind.CHAIN: _FIRST_CHAIN, Kind.COMPARISON: _FIRST_COMPARISON, Kind.SINGLE: _FIRST_SINGLE}


def first_thought(decomposition: Decomposition, *, key: str) -> str:
    """The thought before the first search."""
    choices = _FIRST[decomposition.kind]
    return fill_thought(choose(choices, key), need=decomposition.hops[0].goal)


def next_hop_thought(decomposition: Decomposition, found: Sequence[str], *, key: str) -> str:
    """The thought after hop `len(found)` was answered, when another hop follows."""
    need = resolve(decomposition.hops[len(found)].goal, found)
    return fill_thought(choose(_NEXT, key), need=need, known=known(decomposition, len(found), found))


def retry_thought(decomposition: Decomposition, found: Sequence[str], *, key: str) -> str:
    """The thought after an observation without the fact of the current hop."""
    return fill_thought(choose(_RETRY, key), need=resolve(decomposition.hops[len(found)].goal, found))


def final_thought(decomposition: Decomposition, found: Sequence[str], *, key: str) -> str:
    """The thought before `finish`."""
    if decomposition.kind is Kind.COMPARISON and len(decomposition.compared) > 1:
        numbers, answer = (decomposition.compared[0], decomposition.compared[-1]), decomposition.answer
        first, second = (known(decomposition, number, found) for number in numbers)
        reason = _reason(found[numbers[0] - 1], found[numbers[1] - 1], answer)
        return fill_thought(choose(_COMPARE, key), first=first, second=second, reason=reason, answer=answer)
    if decomposition.kind is Kind.SINGLE:
        return fill_thought(choose(_FINAL_SINGLE, key), answer=found[-1].rstrip("."))
    return fill_thought(choose(_FINAL, key), known=known(decomposition, len(found), found))


def first_gather_thought(*, key: str) -> str:
    """The thought before the question itself is searched."""
    return choose(_FIRST_GATHER, key)


def next_gather_thought(seen: Sequence[str], title: str, *, key: str) -> str:
    """The thought before `title` is looked up; `seen` are the titles of the supporting passages found so
    far.
    """
    names = " and ".join(bare_title(name) for name in seen)
    found = f"The passage about {names} helps" if names else "None of the passages tells the answer"
    return fill_thought(choose(_NEXT_GATHER, key), seen=found, title=title)


def final_thought_with_quotes(quotes: Sequence[str], answer: str, *, key: str) -> str:
    """The thought before `finish`, with the sentences that state the answer."""
    return fill_thought(choose(_FINAL_GATHER, key), quotes="; ".join(quotes), answer=answer.rstrip("."))


def known(decomposition: Decomposition, number: int, found: Sequence[str]) -> str:
    """The answer of hop `number` (from 1), as a sentence without its full stop."""
    hop: Hop = decomposition.hops[number - 1]
    value = found[number - 1].rstrip(".")
    if not hop.answers:  # no annotated answer: the sentence of the observation is used
        return value
    goal = resolve(hop.goal, found)
    asked = hop.indirect and not goal.startswith(NO_CLAUSE)
    return f"The answer to “{_question(goal)}” is {value}" if asked else f"{capital(goal)} is {value}"


def _reason(first: str, second: str, answer: str) -> str:
    """Why the answer follows from two values, "" where it is not clear: the reason names the earlier of two
    years, or whether the values are equal in a yes/no question.
    """
    years = [_YEAR.findall(value) for value in (first, second)]
    if all(len(found) == 1 for found in years) and years[0] != years[1]:
        one, other = (int(found[0]) for found in years)
        return f", as {one} is {'earlier' if one < other else 'later'} than {other},"
    alike = normalize_answer(first) == normalize_answer(second)
    if answer == ("yes" if alike else "no"):
        return ", as they are the same," if alike else ", as they are not the same,"
    return ""


def _question(clause: str) -> str:
    return f"{capital(clause)}?"


def choose(choices: Sequence[str], key: str) -> str:
    """One of several wordings, by a hash of `key`."""
    return choices[int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % len(choices)]


def fill_thought(template: str, **slots: str) -> str:
    """Fill `{name}`, and `{name_lower}` with the sentence in the form that it has inside another one."""
    inside = {f"{name}_lower": _small(value) for name, value in slots.items()}
    return fill_some(template, **slots, **inside)


def capital(text: str) -> str:
    """`text` with a capital in front."""
    return text[:1].upper() + text[1:]


def _small(text: str) -> str:
    return text[:1].lower() + text[1:] if text.startswith("The ") else text
