"""Answers as comparable tokens: "October 5, 1987" and "5 Oct 1987", "3 million" and "3,000,000", "U.S." and
"United States" become the same.

`canonical` gives words in one spelling, numbers as `#3000000`, dates as `@1987-10-05` (`?` where a part is
not said). The SQuAD normalisation of `src_tasks.answers` is what answers are *scored* by; it makes "7.5" and
"75" equal and cannot tell that "1905" and "1906" differ more than "Paris" and "Paris, France" do.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from src_data.filters.answer_words import COMPANY, MONTHS, PHRASES, SAME, SCALES, STOP, TENS, UNITS

_MONTH = rf"(?P<month>{'|'.join(sorted(MONTHS, key=len, reverse=True))})\b\.?"
_DAY = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>[12]\d{3})"
_DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b(?:the )?{_DAY} (?:of )?{_MONTH},? {_YEAR}\b",
        rf"\b{_MONTH} {_DAY},? {_YEAR}\b",
        rf"\b{_MONTH},? (?:of )?{_YEAR}\b",
        rf"\b(?:the )?{_DAY} (?:of )?{_MONTH}(?!\w)",
        rf"\b{_MONTH} {_DAY}\b",
        r"\b(?P<year>[12]\d{3})-(?P<month>[01]\d)-(?P<day>[0-3]\d)\b",
    )
)
_DATE_TOKEN = re.compile(r"@([\d?]+)-([\d?]+)-([\d?]+)")
# "J. R. R." and "U.S." are one word each; so is "a.m.".
_INITIALS = re.compile(r"\b(?:[A-Z]\. ?){2,}|\b(?:[A-Za-z]\.){2,}")
_WORD = re.compile(
    r"@[\d?]+-[\d?]+-[\d?]+|\d{1,3}(?:,\d{3})+(?:\.\d+)?[^\W\d_]*|\d+(?:\.\d+)?[^\W_]*|[^\W_]+|[%$£€&,;]"
)
_DIGIT = re.compile(r"\d")
_NUMBER = re.compile(r"(\d[\d,]*(?:\.\d+)?)(st|nd|rd|th|s|%)?")
_ROMAN = re.compile(r"(?=[IVXL]+$)(XL|L?X{0,3})(IX|IV|V?I{0,3})$")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50}
_ENDINGS = (("our", "or"), ("tre", "ter"), ("ence", "ense"), ("ise", "ize"), ("ised", "ized"))
_PARENTHESES = re.compile(r"\s*\([^()]*\)")
_PLAIN_DASHES = str.maketrans({dash: "-" for dash in "‐‑‒–—−"} | {quote: "'" for quote in "’‘`´"})
_MAX_CHARS = 20_000
_PHRASE_STARTS = frozenset(phrase[0] for phrase in PHRASES)


class Quantities(NamedTuple):
    """The numbers and dates among canonical tokens, and the rest."""

    numbers: tuple[str, ...]
    words: tuple[str, ...]


@lru_cache(maxsize=1024)
def canonical(text: str) -> tuple[str, ...]:
    """The comparable tokens of a text, in order; separators (`,` `;`) are left out."""
    return tuple(token for token in canonical_items(text) if token not in (",", ";"))


def canonical_items(text: str) -> tuple[str, ...]:
    """`canonical` with the separators kept, for rules that look at lists and appositions."""
    plain = " ".join(_unaccented(text[:_MAX_CHARS]).split())
    if _DIGIT.search(plain):
        for pattern in _DATES:
            plain = pattern.sub(_date_token, plain)
    plain = _INITIALS.sub(lambda match: match[0].replace(".", "").replace(" ", "") + " ", plain)
    plain = re.sub(r"\b(\d\d?):00\b", r"\1", plain)
    plain = re.sub(r"(?<=\w)'s\b", "", plain).replace("'", "")
    raw = _WORD.findall(plain)
    tokens = list(_numbers([_word(raw, i) for i in range(len(raw))]))
    return tuple(_without_noise(_phrases(tokens)))


def _unaccented(text: str) -> str:
    if text.isascii():
        return text.replace("`", "'")
    plain = unicodedata.normalize("NFKC", text).translate(_PLAIN_DASHES)
    return "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))


def without_parentheses(text: str) -> str:
    """The text without bracketed additions, as "4,145 ft (1,263 m)"; unchanged when nothing else is there."""
    return _PARENTHESES.sub("", text).strip() or text


def split_quantities(tokens: Sequence[str]) -> Quantities:
    """Numbers and dates apart from words."""
    numbers = tuple(token for token in tokens if token[0] in "#@")
    return Quantities(numbers, tuple(token for token in tokens if token[0] not in "#@"))


def covers(said: str, wanted: str) -> bool:
    """Whether the number or date `said` says `wanted` and at least as precisely: a full date covers its year,
    never the other way round.
    """
    if said == wanted:
        return True
    ours = _DATE_TOKEN.fullmatch(said)
    if not ours:
        return False
    theirs = _DATE_TOKEN.fullmatch(wanted)
    parts = theirs.groups() if theirs else (wanted.removeprefix("#"), "?", "?")
    return all(part in ("?", mine) for part, mine in zip(parts, ours.groups(), strict=True))


def _date_token(match: re.Match[str]) -> str:
    found = match.groupdict()
    month = found["month"].lower()
    number = int(month) if month.isdigit() else MONTHS[month]
    day = found.get("day")
    year = found.get("year") or "?"
    return f" @{year}-{number:02d}-{int(day):02d} " if day else f" @{year}-{number:02d}-? "


def _word(raw: Sequence[str], at: int) -> str:
    """One raw word in its canonical spelling; numbers in digits and Roman numerals become `#n`."""
    word = raw[at]
    if word.isalpha() and word.islower():
        return word if word in STOP else _spelling(word)
    number = _NUMBER.fullmatch(word.lower())
    if number:
        return _digits(number[1]) + ("s" if number[2] == "s" else "")
    if _is_roman(raw, at):
        return f"#{_roman(word)}"
    if word in ("US", "USA"):
        return "usa"
    lower = word.lower()
    return lower if lower in STOP or lower[0] == "@" else _spelling(lower)


def _digits(text: str) -> str:
    whole, _, fraction = text.replace(",", "").partition(".")
    fraction = fraction.rstrip("0")
    return f"#{int(whole)}" + (f".{fraction}" if fraction else "")


def _is_roman(raw: Sequence[str], at: int) -> bool:
    """As in "Super Bowl XLVIII": two letters or more; one ("World War I") after a capitalised word only."""
    word = raw[at]
    if not _ROMAN.match(word):
        return False
    if len(word) > 1:
        return True
    last = at + 1 == len(raw) or not raw[at + 1][0].isupper()
    return last and at > 0 and len(raw[at - 1]) > 1 and raw[at - 1][0].isupper()


def _roman(word: str) -> int:
    values = [_ROMAN_VALUES[letter] for letter in word]
    after = [*values[1:], 0]
    return sum(-value if value < following else value for value, following in zip(values, after, strict=True))


@lru_cache(maxsize=50_000)
def _spelling(word: str) -> str:
    """One spelling for British and American endings and for plurals; only ever compared with its like."""
    word = SAME.get(word, word)
    if len(word) > 4:
        for ending, other in _ENDINGS:
            if word.endswith(ending):
                word = word[: -len(ending)] + other
                break
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-3] + "y" if word.endswith("ies") and len(word) > 4 else word[:-1]
    return SAME.get(word, word)


def _numbers(words: Sequence[str]) -> Iterator[str]:
    """Number words and scales joined to one number: `two hundred and fifty` -> `#250`, `#3 million` ->
    `#3000000`.
    """
    at = 0
    while at < len(words):
        word = words[at]
        if word[0] != "#" and word not in UNITS and word not in TENS and word not in SCALES:
            yield word
            at += 1
            continue
        value, at = _number_at(words, at)
        yield value


def _number_at(words: Sequence[str], at: int) -> tuple[str, int]:
    """The number that starts at `at` (a numeral, number word or scale) and where it ends."""
    literal = re.fullmatch(r"#\d+(\.\d+)?", words[at])
    total, current = 0.0, float(words[at][1:]) if literal else None
    end = at + 1 if literal else at
    while end < len(words):
        word = words[end]
        if word in SCALES:
            current = (1 if current is None else current) * SCALES[word]
            if SCALES[word] > 100:
                total, current = total + current, 0
        elif not literal and (value := _joins(word, current)) is not None:
            current = (current or 0) + value
        elif not (word == "and" and end > at and words[end - 1] in SCALES and _counts(words, end + 1)):
            break
        end += 1
    if current is None:  # `#1990s`
        return words[at], at + 1
    if literal and end == at + 1:
        return words[at], end
    exact = total + current
    return f"#{int(exact)}" if exact == int(exact) else f"#{exact:.6g}", end


def _joins(word: str, current: float | None) -> int | None:
    """The value of a number word that may follow the number read so far: twenty-five, hundred and five; not
    five six.
    """
    before = current or 0
    if word in TENS:
        return TENS[word] if before % 100 == 0 else None
    if word not in UNITS or before % 10 or (UNITS[word] > 9 and before % 100):
        return None
    return UNITS[word]


def _counts(words: Sequence[str], at: int) -> bool:
    return at < len(words) and (words[at] in TENS or words[at] in UNITS)


def _phrases(tokens: Sequence[str]) -> list[str]:
    """Two or three tokens that have a short name become that name."""
    found: list[str] = []
    at = 0
    while at < len(tokens):
        for length in (3, 2) if tokens[at] in _PHRASE_STARTS else ():
            name = PHRASES.get(tuple(t for t in tokens[at : at + length + 1] if t != "of")[:length])
            if name:
                taken = length + ("of" in tokens[at : at + length])
                found.append(name)
                at += taken
                break
        else:
            found.append(tokens[at])
            at += 1
    return found


def _without_noise(tokens: Sequence[str]) -> list[str]:
    kept = [token for token in tokens if token not in STOP and token not in COMPANY]
    return kept if any(token not in (",", ";") for token in kept) else list(tokens)
