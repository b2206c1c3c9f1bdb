"""Passages that name what a query names.

A small reader takes the birthplace of whoever is said to be born in the passages before it: of 50 wrong
answers of the shipped 0.5B to the sample world that were read, 7 begin with a value from a passage about
another person or thing than the one asked for (docs/LOG.md). So a passage without the name is left out where
another passage holds it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from src_core.excerpts import COMMON_WORDS
from src_core.types import Passage

_WORD = re.compile(r"\w+")
_SHORTEST, _STEM = 4, 5


def naming(query: str, passages: Sequence[Passage]) -> tuple[Passage, ...]:
    """The passages in order that hold all words of one of the query's names in title or text; all of
    them where the query has no name or no passage holds one.
    """
    return _holding(query_names(query), passages) or tuple(passages)


def names_missing(query: str, passages: Sequence[Passage]) -> bool:
    """Whether the query has a name and no passage holds one of its names."""
    names = query_names(query)
    return bool(names) and not _holding(names, passages)


def relation_words(query: str) -> frozenset[str]:
    """What a query asks about its names, as folded words: those of four letters or more that are in no name
    and not frequent ("composer" of "Who was the composer of Don Giovanni?").
    """
    named = frozenset[str]().union(*query_names(query))
    words = {_fold(word) for word in _WORD.findall(query)}
    return frozenset(word for word in words - named - COMMON_WORDS if len(word) >= _SHORTEST)


def shares_word(words: Iterable[str], passage: Passage) -> bool:
    """Whether a passage holds one of these folded words, or one with the same first five letters ("libretto"
    for "librettist").
    """
    return not {word[:_STEM] for word in words}.isdisjoint(word[:_STEM] for word in _words(passage))


def query_names(query: str) -> list[frozenset[str]]:
    """The names of a query, each as its folded words: runs of words that begin with a capital or a digit,
    without question words and other frequent words. A query in lower case, or in a script without capitals,
    has none.
    """
    runs: list[list[str]] = [[]]
    for word in _WORD.findall(query):
        if word[0].isupper() or word[0].isdigit():
            runs[-1].append(_fold(word))
        elif runs[-1]:
            runs.append([])
    names = [frozenset(word for word in run if word not in COMMON_WORDS) for run in runs]
    return [name for name in names if name]


def _holding(names: Sequence[frozenset[str]], passages: Sequence[Passage]) -> tuple[Passage, ...]:
    """The passages that hold all words of one of the names."""
    words = ((passage, _words(passage)) for passage in passages)
    return tuple(passage for passage, own in words if any(name <= own for name in names))


def _words(passage: Passage) -> frozenset[str]:
    return frozenset(map(_fold, _WORD.findall(f"{passage.title} {passage.text}")))


def _fold(word: str) -> str:
    """Lower case without accents: a query writes Svejk for Švejk."""
    plain = unicodedata.normalize("NFKD", word)
    return "".join(letter for letter in plain if not unicodedata.combining(letter)).lower()
