"""The words of text that is written without spaces, chosen by script for each run of characters.

- Han (Chinese, and the kanji of Japanese): the dictionary words of `rjieba`, with which the evaluation
  segments Chinese answers, in its mode for search (long words also give the words inside them), and every
  character. The characters find names, and Japanese words that a Chinese dictionary divides elsewhere.
- Kana, Thai, Lao, Khmer, Myanmar, Tibetan and their like, and Korean, whose particles are written together
  with the word before them: pairs of neighbouring letters, each with its marks.
  A dictionary for each language would be a package for each; pairs need none and find every word of two
  letters or more.
- The scripts of India: they have spaces, but their vowel signs are no letters to a regular expression, so a
  run of letters and signs is one word.

A letter and its accent count as one letter, however they are written (NFC).
"""

from __future__ import annotations

import importlib.metadata
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from src_core.errors import UserError

RULES_VERSION = 1
"""To be raised when the rules below change: an index names it."""
MISSING = "Chinese text is divided into words by a package that is not installed: pip install rjieba"

_HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_PAIRED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e50-\u0e59\u0e81-\u0edf"  # Thai, Lao
    "\u0f20-\u0f33\u0f35\u0f37\u0f39\u0f40-\u0fbc"  # Tibetan
    "\u1000-\u1049\u1050-\u109f\ua9e0-\ua9fe\uaa60-\uaa7f"  # Myanmar
    "\u1780-\u17d3\u17d7\u17dc\u17dd\u17e0-\u17e9"  # Khmer
    "\u1950-\u19da\u1a20-\u1a9f\uaa80-\uaadd"  # Tai Le, New Tai Lue, Tai Tham, Tai Viet
    "\u3041-\u3096\u3099\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # kana
    "\u3105-\u312f\u31a0-\u31bf"  # bopomofo
    "\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7fb"  # Hangul
)
_INDIAN = "\u0900-\u0963\u0966-\u096f\u0971-\u0dff"
_RUN = re.compile(f"([{_HAN}]+)|([{_PAIRED}]+)|([{_INDIAN}]+)")
_ANY = re.compile(f"[{_HAN}{_PAIRED}{_INDIAN}\uff01-\uff5e]")
_LETTER_WITH_MARKS = re.compile(r"\w\W*|\W+")
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}


class Segmented(NamedTuple):
    """`rest`: the text with a space in place of each run; `words`: those of the runs."""

    rest: str
    words: list[str]


def segment(text: str) -> Segmented:
    """Take the runs of such scripts out of `text`. Other text comes back as it is (in NFC), in the time of
    one search.
    """
    if text.isascii():
        return Segmented(text, [])
    text = unicodedata.normalize("NFC", text)
    if _ANY.search(text) is None:
        return Segmented(text, [])
    words: list[str] = []

    def take(run: re.Match[str]) -> str:
        found = unicodedata.normalize("NFKC", run[0])
        words.extend(_words_of(found, run.lastindex))
        return " "

    return Segmented(_RUN.sub(take, text.translate(_FULL_WIDTH)), words)


def segmenter_version() -> str:
    """The name and version of everything on which the words depend. Raises `UserError` without the
    package.
    """
    try:
        version = importlib.metadata.version("rjieba")
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(MISSING) from error
    return f"segments {RULES_VERSION}, rjieba {version}"


def chinese_words() -> Callable[[str], list[str]]:
    """The function that divides Chinese text into words: `rjieba.cut`. Raises `UserError` without the
    package.
    """
    cut: Callable[[str], list[str]] = _jieba().cut
    return cut


def _words_of(run: str, kind: int | None) -> list[str]:
    if kind == 1:
        # Without the guesses for unknown words: they depend on the neighbours, so a name in a question and
        # the same name in a passage would be divided differently.
        long = [word for word in _jieba().cut_for_search(run, False) if len(word) > 1]
        return [*long, *run]
    if kind == 2:
        letters = _LETTER_WITH_MARKS.findall(run)
        return [first + second for first, second in pairwise(letters)] if len(letters) > 1 else letters
    return [run]


@lru_cache(maxsize=1)
def _jieba() -> Any:
    """Imported at the first Chinese text: its dictionary takes time to load."""
    try:
        import rjieba
    except ImportError as error:
        raise UserError(MISSING) from error
    return rjieba
