"""Multiple choice: how a question is asked, which choice a reply names, and whether it is the right one.

The protocol here is generation: the model reads the question with lettered choices and writes an answer.
The other published one (the letter of highest log-probability) needs no text to be read: it hands the index
of that letter to `choice_accuracy` itself.
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
# "B", "(b)", "B.", "**B**"; and with a text behind it: "B. Paris", "(B) Paris", "B: Paris".
_LETTER = re.compile(r"[\s(\[*\"']*([A-Za-z])[\s)\].:*\"',;]*")
_LETTER_AND_TEXT = re.compile(
    r"\s*(?:\(([A-Za-z])\)|\[([A-Za-z])\]|([A-Za-z])\s*[.):\]-])\s*(\S.*)", re.DOTALL
)


def asked_text(question: Question) -> str:
    """The text that a model is asked: the question alone, or with its choices, one per line as `A. …`."""
    return with_choices(question.question, question.choices)


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
    named = set(_by_text(plain, choices))
    if (letter := _LETTER.fullmatch(plain)) is not None:
        named |= _at(letter[1], choices)
    elif (both := _LETTER_AND_TEXT.fullmatch(plain)) is not None and not named:
        named = _at(both[1] or both[2] or both[3], choices)
        if (texts := set(_by_text(both[4], choices))) and not texts & named:
            return None  # the letter of one choice and the text of another
    return named.pop() if len(named) == 1 else None


def gold_choices(answers: Sequence[str], choices: Sequence[str]) -> frozenset[int]:
    """The indices of the choices whose texts are `answers`."""
    return frozenset(at for at, choice in enumerate(choices) if choice in answers)


def choice_accuracy(picked: int | None, golds: frozenset[int]) -> float:
    """1.0 when the choice that was picked is right; none picked is 0.0. No golds is a ValueError."""
    if not golds:
        raise ValueError("a multiple-choice question needs at least one right choice")
    return float(picked in golds)


def _by_text(text: str, choices: Sequence[str]) -> list[int]:
    """The choices whose text is `text`: as it stands, else in normal form (where "-1" and "1" are one)."""
    plain = " ".join(text.lower().split())
    exact = [at for at, choice in enumerate(choices) if " ".join(choice.lower().split()) == plain]
    form = normal_form(text)
    return exact or [at for at, choice in enumerate(choices) if form and normal_form(choice) == form]


def _at(letter: str, choices: Sequence[str]) -> set[int]:
    at = string.ascii_uppercase.index(letter.upper())
    return {at} if at < len(choices) else set()
