"""Questions with choices: MMLU's tables, and how any row says which of its choices is right.

MMLU (https://github.com/hendrycks/test, `data/{dev,val,test}/SUBJECT_{dev,val,test}.csv`): one table per
subject without a header, `question, A, B, C, D, letter`. The hub's `cais/mmlu` has `{"question", "subject",
"choices": [...], "answer": index}`, which is read as plain rows are.
"""

from __future__ import annotations

import re
import string
from typing import Any

from src_tasks.choices import MAX_CHOICES
from src_tasks.readers.base import JsonRow, RowError, make_row, optional_text, scalar_text, text_at
from src_tasks.readers.rows import SourceRow

MMLU_COLUMNS = ("question", "A", "B", "C", "D", "answer")
_LETTERS = MMLU_COLUMNS[1:5]
_SPLIT = re.compile(r"_(?:dev|val|test|auxiliary_train)$")


def parse_mmlu(row: JsonRow) -> SourceRow:
    """A row of an MMLU table. `subject` is added by the caller, who knows the file's name."""
    choices = choice_texts([row.get(letter) for letter in _LETTERS])
    return make_row(
        text_at(row, "question"),
        gold_of_choices(row.get("answer"), choices),
        dataset="mmlu",
        choices=choices,
        group=optional_text(row, "subject"),
    )


def is_mmlu_table(first: list[str]) -> bool:
    """Whether the first line of a table is a row of MMLU's (and no header)."""
    return len(first) == len(MMLU_COLUMNS) and first[-1].strip() in _LETTERS


def subject_of(stem: str) -> str:
    """The subject in a file's name: `high_school_physics_val` -> `high school physics`."""
    return _SPLIT.sub("", stem).replace("_", " ")


def choice_texts(value: Any) -> tuple[str, ...]:
    """The choices of a row in their order, () where it has none. Raises `RowError` for anything but a list of
    2 to 26 scalars.
    """
    if value is None or value == []:
        return ()
    if not isinstance(value, list | tuple) or not 2 <= len(value) <= MAX_CHOICES:
        raise RowError(f"'choices' must be a list of 2 to {MAX_CHOICES} texts")
    return tuple(map(scalar_text, value))


def gold_of_choices(value: Any, choices: tuple[str, ...]) -> tuple[str, ...]:
    """The texts of the right choices. A gold is an index from 0, the text of a choice, or a letter. Raises
    `RowError` for a gold that is none of the choices; no gold at all gives ().
    """
    values = value if isinstance(value, list | tuple) else [] if value is None else [value]
    return tuple(dict.fromkeys(_right_choice(gold, choices) for gold in values if gold not in (None, "")))


def _right_choice(gold: Any, choices: tuple[str, ...]) -> str:
    if isinstance(gold, float) and gold.is_integer():
        gold = int(gold)
    at: int | None = None
    if isinstance(gold, int) and not isinstance(gold, bool):
        at = gold
    elif (text := scalar_text(gold)) in choices:
        return text
    elif len(text) == 1 and text.upper() in string.ascii_uppercase:
        at = string.ascii_uppercase.index(text.upper())
    elif text.isdecimal() and text.isascii():
        at = int(text)
    else:
        lower = [choice for choice in choices if choice.lower() == text.lower()]
        if lower:
            return lower[0]
    if at is None or not 0 <= at < len(choices):
        raise RowError(f"the gold {gold!r} is none of the {len(choices)} choices")
    return choices[at]
