"""The words of a text as Lucene's `EnglishAnalyzer`, the analyser `english` of Elasticsearch, makes them:
standard tokeniser, possessive `'s` removed, lower case, 33 stop words, Porter's stemmer.

Of the 2,592,853 words of 43,201 Wikipedia passages 55 differ from those of Lucene 8.7: signs such as ♭ and ™,
which Lucene counts as emoji and which are no words here, and abbreviations in Hebrew.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import groupby

from src_core.errors import UserError

RULES_VERSION = 1
"""To be raised when the rules below change: an index names it."""
MISSING = "the analyzer english needs a package that is not installed: pip install PyStemmer"
STOP_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "for",
        "if",
        "in",
        "into",
        "is",
        "it",
        "no",
        "not",
        "of",
        "on",
        "or",
        "such",
        "that",
        "the",
        "their",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "was",
        "will",
        "with",
    ]
)
MAX_WORD = 255
"""Letters; the standard tokeniser divides longer words."""
BASIC = 0x10000
KNOWN_WORDS = 1_000_000
"""Written forms whose stem is remembered."""

# Word boundaries of Unicode (UAX 29), as the standard tokeniser has them.
_MID_LETTER = ":\u00b7\u0387\u055f\u05f4\u2027\ufe13\ufe55\uff1a"
_MID_NUMBER = ",;\u037e\u0589\u060c\u060d\u066c\u07f8\u2044\ufe10\ufe14\ufe50\ufe54\uff0c\uff1b"
_MID_BOTH = ".'\u2018\u2019\u2024\ufe52\uff07\uff0e"
_LOWER = {0x130: "i", 0x3A3: "\u03c3"}
"""Whose lower case in Python has two letters, or depends on the place in the word."""
_JOINING = "_\u203f\u2040\u2054\ufe33\ufe34\ufe4d\ufe4e\ufe4f\uff3f"
_POSSESSIVE = re.compile("['\u2019\uff07][sS]$")
_HAN = ((0x2E80, 0x2FD5), (0x3005, 0x3007), (0x3021, 0x3029), (0x3038, 0x303B), (0x3400, 0x4DBF),
        (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))  # fmt: skip
_HIRAGANA = ((0x3041, 0x3096), (0x309D, 0x309F), (0x1B001, 0x1B11E))
_KATAKANA = ((0x3031, 0x3035), (0x309B, 0x309C), (0x30A0, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF),
             (0x32D0, 0x32FE), (0x3300, 0x3357), (0xFF66, 0xFF9D))  # fmt: skip
_WITHOUT_SPACES = ((0x0E01, 0x0E3A), (0x0E40, 0x0E4E), (0x0E81, 0x0EDF), (0x1000, 0x104F), (0x1050, 0x109F),
                   (0x1780, 0x17D7), (0x17DC, 0x17DD), (0x1950, 0x19DF), (0x1A20, 0x1AAD), (0xA9E0, 0xA9FE),
                   (0xAA60, 0xAAC2), (0xAADB, 0xAADF))  # fmt: skip


class EnglishWords:
    """Divides texts. Remembers the stems of the words that it has seen; for one thread at a time. Raises
    `UserError` without the stemmer's package.
    """

    def __init__(self) -> None:
        self._stem = porter()
        self._known: dict[str, str] = {}

    def words(self, text: str) -> list[str]:
        """The words of a text in order, without stop words."""
        known = self._known
        found = []
        for written in tokens(text):
            word = known.get(written)
            if word is None:
                word = self._learn(written)
            if word:
                found.append(word)
        return found

    def _learn(self, written: str) -> str:
        if len(self._known) >= KNOWN_WORDS:
            self._known.clear()
        word = _POSSESSIVE.sub("", written).translate(_LOWER).lower()
        stem = "" if word in STOP_WORDS else self._stem(word)
        self._known[written] = stem
        return stem


def tokens(text: str) -> list[str]:
    """The words of a text as they are written."""
    found = (_ascii() if text.isascii() else _any_script()).findall(text)
    if any(mark in text for mark in _JOINING):
        found = [word for word in found if word.strip(_JOINING)]
    if len(text) <= MAX_WORD or max(map(len, found), default=0) <= MAX_WORD:
        return found
    return [word[at : at + MAX_WORD] for word in found for at in range(0, len(word), MAX_WORD)]


def version() -> str:
    """The name and version of everything on which the words depend. Raises `UserError` without the
    package.
    """
    import importlib.metadata

    try:
        stemmer = importlib.metadata.version("PyStemmer")
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(MISSING) from error
    return f"english {RULES_VERSION}, PyStemmer {stemmer}"


def porter() -> Callable[[str], str]:
    """The stem of a word as Lucene's `PorterStemFilter` gives it: Porter's own program, which differs from
    Snowball's `porter` in four places (`-bli`, `-logi`, all doubled consonants, words of two letters).
    """
    try:
        from Stemmer import Stemmer
    except ImportError as error:
        raise UserError(MISSING) from error
    snowball = Stemmer("porter")

    def stem(word: str) -> str:
        if len(word) <= 2:
            return word
        found: str = snowball.stemWord(_as_in_porters_program(word))
        return found

    return stem


_ENDING = re.compile(
    r"(?P<bli>.*)bl(?:y|ies|i)|(?P<logi>.*)log(?:y|ies|i)|(?P<double>.*([chjkqvwx]))\4(?:ed|ing)", re.DOTALL
)
_VOWEL_THEN_CONSONANT = re.compile(r"(?:[aeiou]|(?<=[^aeiou])y)[^aeiou]")
_VOWEL = re.compile(r"[aeiou]|(?<=[^aeiou])y")


def _as_in_porters_program(word: str) -> str:
    """The word with the ending that the steps before would leave in his program only: `possibly` as
    `possible`, `geology` as `geolog`, `trekking` as `trek`. The steps after it are alike.
    """
    match = _ENDING.fullmatch(word)
    if match is None:
        return word
    if match["double"] is not None:
        return match["double"] if _VOWEL.search(match["double"]) else word
    before, after = (match["bli"], "ble") if match["bli"] is not None else (match["logi"], "log")
    return before + after if _VOWEL_THEN_CONSONANT.search(before) else word


@lru_cache(maxsize=1)
def _ascii() -> re.Pattern[str]:
    return re.compile(_word("A-Za-z", "0-9", "", "_"))


@lru_cache(maxsize=1)
def _any_script() -> re.Pattern[str]:
    letters = _ranges(("L", "Nl"), rest="\U00010000-\U0001afff\U0001b130-\U0001efff")
    digits, marks = _ranges(("Nd",)), _ranges(("Mn", "Mc", "Me", "Cf"), rest="\U000e0100-\U000e01ef")
    katakana, no_spaces = _class(_KATAKANA), _class(_WITHOUT_SPACES)
    singles = _class(_HAN) + _class(_HIRAGANA)
    others = f"[{katakana}][{katakana}{marks}]*|[{no_spaces}][{no_spaces}{marks}]*|[{singles}][{marks}]*"
    return re.compile(f"{_word(letters, digits, marks, _JOINING)}|{others}")


def _word(letters: str, digits: str, marks: str, joining: str) -> str:
    """Letters, digits and what joins them; one mark between two letters, or two digits, is inside a word."""
    inside = (
        f"(?<=[{letters}{marks}])[{_MID_LETTER}{_MID_BOTH}](?=[{letters}])"
        f"|(?<=[{digits}{marks}])[{_MID_NUMBER}{_MID_BOTH}](?=[{digits}])"
    )
    run = f"[{letters}{digits}{marks}{joining}]"
    return f"[{letters}{digits}{joining}]{run}*+(?:(?:{inside}){run}++)*+"


def _ranges(kinds: tuple[str, ...], *, rest: str = "") -> str:
    """The characters whose category begins with one of `kinds`, but those of scripts that are divided
    otherwise, as a part of a character class. `rest` stands for those above 0xFFFF, of which a class of
    single ranges would be slow.
    """
    own = [pair for ranges in (_HAN, _HIRAGANA, _KATAKANA, _WITHOUT_SPACES) for pair in ranges]
    others = {code for first, last in own if last < BASIC for code in range(first, last + 1)}
    codes = [
        code
        for code in range(BASIC)
        if unicodedata.category(chr(code)).startswith(kinds) and (code not in others or "Mn" in kinds)
    ]
    runs = (list(run) for _, run in groupby(enumerate(codes), key=lambda pair: pair[1] - pair[0]))
    return _class([(run[0][1], run[-1][1]) for run in runs]) + rest


def _class(ranges: Sequence[tuple[int, int]]) -> str:
    return "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in ranges)
