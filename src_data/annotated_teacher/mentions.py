"""The part of a passage that an observation shows, and whether it mentions an annotated value in any
spelling: names, dates, numbers, and countries by their adjectives.

Annotations and passages spell one value differently ("June 9, 1956" and "9 June 1956", "India" and "Indian");
a substring test would miss half of the correct observations.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from src_core.excerpts import GAP
from src_core.types import Passage
from src_data.annotated_teacher.countries import demonym_forms
from src_tasks.answer_tokens import contains, tokens
from src_tasks.answers import normalize_answer

_TOO_SHORT = 3
"""Aliases below this length ("NO" for Norway, "it" for Italy) occur in any text, unless they are numbers."""

_LABEL = re.compile(r"^\[\d+\] ")

_LISTINGS = ("[1] ", "(shown before")
"""The beginning of observations that are passages."""


def find_mention(text: str, values: Sequence[str]) -> str | None:
    """The first of `values` that `text` mentions, as it is spelt in `values`; None when it mentions none."""
    seen = tokens(text)
    return next((value for value in values if _mentioned(value, seen)), None)


def shown_part(passage: Passage, observation: str) -> str:
    """The part of a passage that an observation shows: its line where the observation lists passages, ""
    where it lists others only, all the contents where the observation is a reader's reply.
    """
    if not observation.startswith(_LISTINGS):
        return passage.contents
    text = " ".join(passage.text.split())
    lines = (_LABEL.sub("", line).removeprefix(f"{passage.title}: ") for line in observation.split("\n"))
    return next((line.strip(f" {GAP}") for line in lines if _is_part(line, text)), "")


def _is_part(line: str, text: str) -> bool:
    pieces = [piece.strip() for piece in line.split(GAP)]
    return any(pieces) and all(piece in text for piece in pieces)


def _mentioned(value: str, seen: Sequence[str]) -> bool:
    plain = normalize_answer(value)
    if not plain or (len(plain) < _TOO_SHORT and not plain.isdigit()):
        return False
    spellings = [tokens(form) for form in (value, *demonym_forms(plain))]
    return any(contains(seen, wanted) for wanted in spellings if wanted)
