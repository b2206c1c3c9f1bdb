"""Texts as comparable tokens: "October 5, 1987" and "5 Oct 1987", "3 million" and "3,000,000" become equal.

Answers are *scored* by the SQuAD normalisation of `src_tasks.answers`, which makes "7.5" and "75" equal and
does not rate "1905" closer to "1906" than to "Paris". Here numbers are digits with their decimals, dates are
`@1987-10-05` (`@1987-10` without a day, `@-10-05` without a year), and small words are left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_DAY = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>[12]\d{3})"
_DATES = tuple(
    re.compile(rf"\b{pattern}(?!\w)", re.IGNORECASE)
    for pattern in (
        rf"{_DAY} (?:of )?{_MONTH},? {_YEAR}",
        rf"{_MONTH} {_DAY},? {_YEAR}",
        rf"{_MONTH},? (?:of )?{_YEAR}",
        rf"{_YEAR}-(?P<month>[01]\d)-(?P<day>[0-3]\d)",
        rf"{_DAY} (?:of )?{_MONTH}",
        rf"{_MONTH} {_DAY}",
    )
)
_CARDINALS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_ORDINALS = "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ROMAN_ONES = ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
_ROMAN = [ten + one for ten in ("", "x", "xx", "xxx", "xl") for one in _ROMAN_ONES]
_NUMBERS = {word: value for words in (_CARDINALS, _ORDINALS) for value, word in enumerate(words.split())}
_NUMBERS |= {word: 10 * value for value, word in enumerate(_TENS, start=2)}
_NUMBERS |= {word: value for value, word in enumerate(_ROMAN) if len(word) > 1}
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 10**9, "trillion": 10**12}
_SAME = "mt=mount saint=st junior=jr theatre=theater %=percent $=dollar dollars=dollar feet=ft"
_SPELLINGS = dict(pair.split("=") for pair in _SAME.split())
_SMALL = (
    "a an the and of in at on by for from to is was about around circa approximately inc ltd corp "
    "corporation co company"
)
_IGNORED = frozenset(_SMALL.split())
_USA = re.compile(r"\bU\. ?S\.(?: ?A\.)?|\bUSA?\b|\b(?i:united states(?: of america)?)\b")
_UK = re.compile(r"\bU\. ?K\.|\bUK\b|\b(?i:united kingdom)\b")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_INITIALS = re.compile(r"\b([a-z])\. ?(?=[a-z]\b)")
_TOKEN = re.compile(r"@\d*-\d\d(?:-\d\d)?|\d+(?:\.\d+)?[^\W_]*|[^\W_]+|[%$]")
_MAX_CHARS = 20_000


@lru_cache(maxsize=4096)
def tokens(text: str) -> tuple[str, ...]:
    """The comparable tokens of a text, in order; for a text of small words only, the small words."""
    plain = text[:_MAX_CHARS]
    if not plain.isascii():
        plain = unicodedata.normalize("NFKD", plain.replace("’", "'"))
        plain = "".join(char for char in plain if not unicodedata.combining(char))
    plain = _UK.sub("uk", _USA.sub("usa", " ".join(plain.split())))
    if any(map(str.isdigit, plain)):
        for pattern in _DATES:
            plain = pattern.sub(_iso_date, plain)
    plain = _INITIALS.sub(r"\1", _THOUSANDS.sub("", plain.lower()))
    found: list[str] = []
    for word in _TOKEN.findall(re.sub(r"'s\b|'", "", plain)):
        _append(found, _SPELLINGS.get(word, word))
    return tuple(word for word in found if word not in _IGNORED) or tuple(found)


def _append(found: list[str], word: str) -> None:
    """Add a word, numbers in digits; "twenty five" and "3 million" are one number each."""
    before = found[-1] if found and re.fullmatch(r"\d+(\.\d+)?", found[-1]) else ""
    value = _NUMBERS.get(word)
    if before and word in _SCALES:
        found[-1] = f"{float(before) * _SCALES[word]:.0f}"
    elif value and value < 10 and len(before) == 2 and before.endswith("0"):
        found[-1] = str(int(before) + value)
    else:
        found.append(re.sub(r"^(\d+)(?:st|nd|rd|th)$", r"\1", word) if value is None else str(value))


def _iso_date(match: re.Match[str]) -> str:
    parts = match.groupdict()
    month = parts["month"].lower()
    number = int(month) if month.isdigit() else 1 + _MONTHS.index(month[:3])
    day = f"-{int(parts['day']):02d}" if parts.get("day") else ""
    return f" @{parts.get('year') or ''}-{number:02d}{day} "


def is_quantity(token: str) -> bool:
    """Whether a token is a number or a date."""
    return token[0] == "@" or token[0].isdigit()


def covers(token: str, wanted: str) -> bool:
    """Whether the token `token` equals `wanted`, or is a date that is at least as precise: a full date covers
    its year, but a year does not cover a full date.
    """
    if token == wanted or token[0] != "@":
        return token == wanted
    if wanted.startswith("@-"):
        return token.endswith(wanted[1:])
    return token.startswith((f"{wanted}-", f"@{wanted}-"))


def contains(text: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether the tokens `wanted` are in `text` consecutively."""
    width = len(wanted)
    return any(
        all(map(covers, text[start : start + width], wanted))
        for start in range(len(text) - width + 1)
        if covers(text[start], wanted[0])
    )
