"""Dates and numbers as values that can be compared."""

from __future__ import annotations

import re

from src_tasks.answer_tokens import tokens

_YEAR = re.compile(r"@?((?:1[0-9]|20)\d\d)(-\d\d-\d\d)?$")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_CLOSE = 0.05


def comparable(value: str) -> tuple[float, str] | None:
    """The year of a date with its month and day, or a number; None for anything else."""
    found = tokens(value)
    dates = [match for token in found if (match := _YEAR.match(token))]
    if len(dates) == 1 and len(found) == 1:
        return float(dates[0][1]), ""
    numbers = [token for token in found if _NUMBER.fullmatch(token)]
    if len(numbers) != 1 or len(found) > 2:
        return None
    unit = "".join(token for token in found if token != numbers[0])
    return float(numbers[0]), unit or "number"


def differ(one: str, other: str) -> int:
    """-1 where the first date or number is certainly less, 1 where it is greater, 0 where that is not clear:
    dates of one year, numbers that are nearly equal or have other units.
    """
    first, second = comparable(one), comparable(other)
    if first is None or second is None or first[1] != second[1] or first[0] == second[0]:
        return 0
    if first[1] and abs(first[0] - second[0]) < _CLOSE * max(first[0], second[0]):
        return 0
    return -1 if first[0] < second[0] else 1
