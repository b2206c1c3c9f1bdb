"""The best rows of an index of words, exactly, without an array of the size of the corpus per query.

Rows are scored in windows of `WINDOW` rows, in row order. A word whose scores cannot lift a row into the best
`k` on their own is looked up only for rows that other words found (MaxScore: Turtle and Flood 1995), and the
search ends where no further row can enter. So a query takes two windows of memory, whatever the corpus holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src_retrieval.results import FloatArray

WINDOW = 1 << 18
"""Rows that are scored together: 2 MiB of float64 for each field."""
LOOK_UP = 16
"""A binary search costs about as much as this many steps of a pass over an array."""
ROUNDING = 1 + 1e-6
"""Bounds are raised by it before they are compared with rounded scores."""
Sums = NDArray[np.float64]
Rows = NDArray[np.int64]


class Best(NamedTuple):
    """Rows int64 [at most k] with scores float32 of the same length: best first, equal ones in row order."""

    rows: Rows
    scores: FloatArray


@dataclass(slots=True)
class Postings:
    """The scores of each word: `scores` float32 and `rows` int32, both [postings] and possibly mapped, those
    of word w from `starts[w]` to `starts[w + 1]`, with ascending rows.
    """

    scores: NDArray[np.float32]
    rows: NDArray[np.int32]
    starts: NDArray[np.int64]
    _highest: dict[int, float] = field(default_factory=dict)

    def highest(self, word: int) -> float:
        """The highest score of a word; remembered, since it takes a pass over the word's scores."""
        known = self._highest.get(word)
        if known is None:
            span = self.scores[int(self.starts[word]) : int(self.starts[word + 1])]
            known = self._highest[word] = float(span.max()) if len(span) else 0.0
        return known


Query = Sequence[Sequence[int]]
"""The words of a query in each field, as numbers; a word that occurs twice counts twice."""


@dataclass(slots=True)
class _List:
    """The postings of one word of a query in one field, and how far they have been read."""

    field: int
    scores: NDArray[np.float32]
    rows: NDArray[np.int32]
    weight: int
    bound: float
    at: int = 0

    def upto(self, row: int) -> slice:
        """The postings between the last `row` and this one."""
        begin = self.at
        self.at += int(np.searchsorted(self.rows[begin:], np.int32(row)))
        return slice(begin, self.at)


def best_rows(fields: Sequence[Postings], query: Query, k: int, *, rows: int, tie_breaker: float) -> Best:
    """The `k` best of `rows` rows: those with the highest score of one field, plus `tie_breaker` times the
    scores of the others (a disjunction maximum, as `best_fields` of Elasticsearch). Rows without any word of
    the query are left out.
    """
    lists = _lists(fields, query)
    best = Best(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
    sums = np.zeros((len(fields), min(WINDOW, rows)), dtype=np.float64)
    for first in range(0, rows, WINDOW):
        lowest = float(best.scores[-1]) if len(best.rows) == k else 0.0
        needed = _needed(lists, lowest)
        if not needed:
            break
        found = _window(lists, needed, sums, first=first, last=min(first + WINDOW, rows))
        best = _merged(best, found, sums[:, found - first], k, tie_breaker)
        sums.fill(0)
    return best


def _lists(fields: Sequence[Postings], query: Query) -> list[_List]:
    """The lists of a query, that with the highest bound first."""
    found = []
    for at, (own, words) in enumerate(zip(fields, query, strict=True)):
        for word, weight in Counter(words).items():
            span = slice(int(own.starts[word]), int(own.starts[word + 1]))
            if span.stop > span.start:
                bound = weight * own.highest(word)
                found.append(_List(at, own.scores[span], own.rows[span], weight, bound))
    return sorted(found, key=lambda one: -one.bound)


def _needed(lists: Sequence[_List], lowest: float) -> int:
    """How many lists, from the first, a row has to be in one of to get above `lowest`: the rest together
    cannot lift it there. The sum bounds a disjunction maximum too.
    """
    rest = 0.0
    for at in range(len(lists) - 1, -1, -1):
        rest += lists[at].bound
        if rest * ROUNDING > lowest:
            return at + 1
    return 0


def _window(lists: Sequence[_List], needed: int, sums: Sums, *, first: int, last: int) -> Rows:
    """Add the scores of the rows `first` to `last` (exclusive) to `sums` [fields, window]; the rows of the
    needed lists. The sums of other rows are not whole.
    """
    touched = []
    for one in lists[:needed]:
        span = one.upto(last)
        places = one.rows[span] - np.int32(first)
        sums[one.field, places] += one.weight * one.scores[span].astype(np.float64)
        touched.append(places)
    found = _distinct(touched, sums)
    for one in lists[needed:]:
        span = one.upto(last)
        places, scores = one.rows[span] - np.int32(first), one.scores[span]
        if len(found) * LOOK_UP < len(places):
            at = np.minimum(np.searchsorted(places, found), len(places) - 1)
            at = at[places[at] == found]
            places, scores = places[at], scores[at]
        sums[one.field, places] += one.weight * scores.astype(np.float64)
    return found.astype(np.int64) + first


def _distinct(parts: Sequence[NDArray[np.int32]], sums: Sums) -> NDArray[Any]:
    """The places of a window that are in one of `parts`, ascending; where they are many, by the sums."""
    if sum(map(len, parts)) * LOOK_UP > sums.shape[1]:
        return np.flatnonzero(sums.any(axis=0))
    return np.unique(np.concatenate(parts)).astype(np.int32)


def _merged(best: Best, rows: Rows, sums: Sums, k: int, tie_breaker: float) -> Best:
    """`best` with the rows of a window, which are later ones: they have to be better. Sums of float32 are
    exact in float64, so a score does not depend on the order of its words.
    """
    highest = sums.max(axis=0)
    scores = (highest + tie_breaker * (sums.sum(axis=0) - highest)).astype(np.float32)
    if len(scores) > k:
        # Equal scores at the cut: all of them, so that row order decides.
        cut = np.partition(scores, len(scores) - k)[len(scores) - k]
        kept = scores >= cut
        rows, scores = rows[kept], scores[kept]
    rows, scores = np.concatenate([best.rows, rows]), np.concatenate([best.scores, scores])
    order = np.lexsort((rows, -scores))[:k]
    order = order[scores[order] > 0]
    return Best(rows[order], scores[order])
