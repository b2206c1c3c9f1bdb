"""The part of a passage that answers a query: its best sentences by score, in their order, within a number of
characters.

The published systems cut a passage at its head (ReaRAG: 2,000 characters of a 512-token passage), so that a
fact behind the cut is lost. Here a sentence scores by the query's words that it holds, weighted by how few of
the shown sentences hold them, and by the words of its neighbours. `python scripts/bench/excerpts.py` compares
the two on real questions.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from src_core.sentences import split_sentences
from src_core.text import shorten

GAP = "…"
_WORD = re.compile(r"\w+")
# Chosen on the training questions of four sets (docs/LOG.md). What the better neighbour of a sentence adds;
# what being first adds, in parts of the best score, and the characters over which that fades; what a word of
# the title weighs beside another word; the least number of characters worth filling.
_NEIGHBOUR = 0.15
_LEAD = 1.0
_LEAD_FADES = 300
_TITLE_WORD = 0.2
_LEAST = 40
_COMMON_TEXT = """a an and are as at be been by did do does for from had has have he her his how in into is it
its of on or she that the their they this to was were what when where which who whom whose why will with"""
COMMON_WORDS = frozenset(_COMMON_TEXT.split())
"""The most frequent English words, in lower case; they say little about what a text is about."""


class _Sentence(NamedTuple):
    text: str
    words: frozenset[str]


def relevant_part(text: str, query: str, *, max_chars: int, title: str = "") -> str:
    """At most `max_chars` characters of `text` on one line: sentences in their order, `…` where some are left
    out; a text that fits is returned whole. Words of the `title` count little, since every sentence of
    the passage is about it. Without a word in common with the query, the text is cut at its head.
    """
    plain = " ".join(text.split())
    if len(plain) <= max_chars:
        return plain
    if max_chars < 2 * _LEAST:
        return shorten(plain, max_chars)
    sentences = [_Sentence(part, _words(part)) for part in split_sentences(text)]
    wanted = _words(query)
    scores = _scores(sentences, wanted, _words(title))
    if not any(scores):
        return shorten(plain, max_chars)
    return _joined(_chosen(sentences, scores, wanted, max_chars), len(sentences))


def _words(text: str) -> frozenset[str]:
    """The words that count: lower case, without the most frequent ones and without a final s, ed or ing, so
    that `directed` meets `director` at least in its stem.
    """
    return frozenset(_stem(word) for word in _WORD.findall(text.lower()) if word not in COMMON_WORDS)


def _stem(word: str) -> str:
    return word[:5] if len(word) > 6 and word.isalpha() else word.removesuffix("s")


def _scores(sentences: Sequence[_Sentence], wanted: frozenset[str], title: frozenset[str]) -> list[float]:
    found = Counter(word for sentence in sentences for word in sentence.words & wanted)
    weight = {
        word: math.log(1 + len(sentences) / count) * (_TITLE_WORD if word in title else 1.0)
        for word, count in found.items()
    }
    own = [sum(weight[word] for word in sentence.words & wanted) for sentence in sentences]
    before = accumulate((len(sentence.text) for sentence in sentences), initial=0)
    return [
        value
        + _NEIGHBOUR * max(own[at - 1] if at else 0.0, own[at + 1] if at + 1 < len(own) else 0.0)
        + _LEAD * max(own) * math.exp(-start / _LEAD_FADES)
        for at, (value, start) in enumerate(zip(own, before, strict=False))
    ]


def _chosen(
    sentences: Sequence[_Sentence], scores: Sequence[float], wanted: frozenset[str], max_chars: int
) -> dict[int, str]:
    """The best sentences that fit together, by number; the last one may be a part of a sentence."""
    left, chosen = max_chars - len(GAP) - 1, dict[int, str]()
    for at in sorted(range(len(sentences)), key=lambda at: (-scores[at], at)):
        if left < _LEAST and chosen:
            break
        text = sentences[at].text
        need = len(text) + len(GAP) + 2
        chosen[at] = text if need <= left else _window(text, wanted, left - len(GAP) - 2)
        left -= need
    return chosen


def _joined(chosen: dict[int, str], count: int) -> str:
    """The chosen of `count` sentences in their order, with a mark for each gap."""
    parts: list[str] = []
    previous = -1
    for at in sorted(chosen):
        if at != previous + 1 and not chosen[at].startswith(GAP):
            parts.append(GAP)
        parts.append(chosen[at])
        previous = at
    if previous + 1 < count and not parts[-1].endswith(GAP):
        parts.append(GAP)
    return " ".join(parts)


def _window(sentence: str, wanted: frozenset[str], max_chars: int) -> str:
    """The part of a sentence around its first word of the query."""
    at = next((m.start() for m in _WORD.finditer(sentence) if _stem(m.group().lower()) in wanted), 0)
    start = max(0, min(at - max_chars // 3, len(sentence) - max_chars))
    if start:
        start = sentence.find(" ", start) + 1 or start
    lead = f"{GAP} " if start else ""
    return lead + shorten(sentence[start:], max_chars - len(lead))
