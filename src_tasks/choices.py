"""Multiple choice: the text of a question, the choice that a reply names, and its accuracy.

The protocol here is generation: the model reads the question with lettered choices and writes an answer. The
other published protocol (the letter of highest log-probability) needs no parsing: its index goes to
`choice_accuracy` directly.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from src_core.types import Question
from src_tasks.answers import normal_form

MAX_CHOICES = len(string.ascii_uppercase)
_LEAD = re.compile(
    r"^(?:so |thus |therefore )?,?\s*(?:the )?(?:(?:correct|best|right|final) )?(?:answer|choice|option)"
    r"(?:\s*(?:is|:|=))*\s+|^answer:",
    re.IGNORECASE,
)
# "B", "(b)", "B.", "**B**"
_LETTER = re.compile(r"[\s(\[*\"']*([A-Za-z])[\s)\].:*\"',;]*")
# "(B) Paris", "[B] Paris", "B) Paris", "B: Paris", "B - Paris"; and "B. Paris", where "B." may also be an
# initial.
_MARKED = re.compile(r"\s*(?:[(\[]([A-Za-z])[)\]]|([A-Za-z])\s*[):\]]|([A-Za-z])\s+-\s)\s*(\S.*)", re.DOTALL)
_DOTTED = re.compile(r"\s*([A-Za-z])\.\s*(\S.*)", re.DOTALL)


def asked_text(question: Question) -> str:
    """The text of a question for a model: the question alone, or with its choices, one per line as `A. …`."""
    return with_choices(question.question, question.choices)


def plain_text(text: str, choices: Sequence[str]) -> str:
    """The question in a text that `with_choices` made (a method gets the question in that form)."""
    return text.removesuffix(with_choices("", choices)) if choices else text


def letters_of(choices: Sequence[str]) -> str:
    """The letters of the choices, in their order."""
    return string.ascii_uppercase[: len(choices)]


def with_choices(text: str, choices: Sequence[str]) -> str:
    """`text` followed by lettered choices, if there are any."""
    lettered = (
        f"{letter}. {choice}" for letter, choice in zip(string.ascii_uppercase, choices, strict=False)
    )
    return "\n".join([text, *lettered])


def read_choice(reply: str, choices: Sequence[str]) -> int | None:
    """The index of the one choice that `reply` names, by its letter ("B", "(B)", "the answer is B"), its
    text, or both ("B. Paris"). None where it names none, or where it can be read as more than one.
    """
    plain = _LEAD.sub("", reply.strip()).strip()
    named = set(_equal(plain, choices))
    if letter := _LETTER.fullmatch(plain):
        named |= _at(letter[1], choices)
    elif not named:
        named = _lettered(plain, choices) or set(_alike(plain, choices))
    return named.pop() if len(named) == 1 else None


def gold_choices(answers: Sequence[str], choices: Sequence[str]) -> frozenset[int]:
    """The indices of the choices whose texts are `answers`."""
    return frozenset(at for at, choice in enumerate(choices) if choice in answers)


def choice_accuracy(picked: int | None, golds: frozenset[int]) -> float:
    """1.0 when the picked choice is right, else 0.0, also for None. Raises `ValueError` without golds."""
    if not golds:
        raise ValueError("a multiple-choice question needs at least one right choice")
    return float(picked in golds)


def _lettered(text: str, choices: Sequence[str]) -> set[int]:
    """The choices named by a letter and the text after it: both where the two disagree; none where the letter
    may be an initial ("D. H. Lawrence").
    """
    marked, dotted = _MARKED.fullmatch(text), _DOTTED.fullmatch(text)
    if marked is not None:
        letter, rest = marked[1] or marked[2] or marked[3], marked[4]
    elif dotted is not None:
        letter, rest = dotted[1], dotted[2]
    else:
        return set()
    at, alike = _at(letter, choices), set(_alike(rest, choices))
    if marked is None and not alike and not any(_begin_alike(rest, choices[index]) for index in at):
        return set()
    return at if at & alike else at | alike


def _equal(text: str, choices: Sequence[str]) -> list[int]:
    """The choices equal to this text, ignoring case and white space."""
    plain = text.lower().split()
    return [at for at, choice in enumerate(choices) if choice.lower().split() == plain]


def _alike(text: str, choices: Sequence[str]) -> list[int]:
    """The choices equal to this text, else those of equal normal form (in which "-1" and "1" are equal)."""
    form = normal_form(text)
    found = [at for at, choice in enumerate(choices) if form and normal_form(choice) == form]
    return _equal(text, choices) or found


def _begin_alike(one: str, other: str) -> bool:
    left, right = normal_form(one), normal_form(other)
    return bool(right) and (left.startswith(right) or right.startswith(left))


def _at(letter: str, choices: Sequence[str]) -> set[int]:
    at = string.ascii_uppercase.index(letter.upper())
    return {at} if at < len(choices) else set()
