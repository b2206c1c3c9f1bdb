"""What does an observation show of a passage, and does it mention an annotated value? In any spelling: names,
dates, numbers, and countries by their adjectives.

Annotations and passages spell one value differently ("June 9, 1956" and "9 June 1956", "India" and "Indian");
a plain substring test would call half of the good observations misses.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from src_core.types import Passage
from src_data.annotated_teacher.countries import demonym_forms
from src_data.filters.answer_tokens import contains, tokens
from src_tasks.answers import normalize_answer

_TOO_SHORT = 3
"""Aliases below this length ("NO" for Norway, "it" for Italy) occur in any text, unless they are numbers."""

_BEGINNING = 25
"""Characters by which a passage is recognised in an observation."""

_LISTINGS = ("[1] ", "(shown before")
"""How observations begin that are passages."""


def find_mention(text: str, values: Sequence[str]) -> str | None:
    """The first of `values` that `text` mentions, as it is spelt in `values`; None when it mentions none."""
    seen = tokens(text)
    return next((value for value in values if _mentioned(value, seen)), None)


def shown_part(passage: Passage, observation: str) -> str:
    """What an observation shows of a passage: its text up to where it was cut off, nothing where it lists
    others, all its contents where the observation is a reader's reply.
    """
    text = " ".join(passage.text.split())
    at = observation.find(text[:_BEGINNING])
    if at < 0:
        return "" if observation.startswith(_LISTINGS) else passage.contents
    shown = observation[at : at + len(text)]
    same = (ours == theirs for ours, theirs in zip(text, shown, strict=False))
    return text[: sum(takewhile(bool, same))]


def _mentioned(value: str, seen: Sequence[str]) -> bool:
    plain = normalize_answer(value)
    if not plain or (len(plain) < _TOO_SHORT and not plain.isdigit()):
        return False
    spellings = [tokens(form) for form in (value, *demonym_forms(plain))]
    return any(contains(seen, wanted) for wanted in spellings if wanted)
