"""When a reasoning needs a search, and for what: DRAGIN's RIND and QFS (Su et al. 2024, arXiv 2403.10081;
reference deeprag.md section 12).

Pure functions over arrays. The paper and its code differ, so both are here:

- RIND, paper: the score of a token is its entropy, times the largest attention that a later token pays to it,
  times 0 for a stop word.
- RIND, code: sub-words are merged into words (attention summed, entropy averaged); in each sentence the
  attention is divided by its sum, and multiplied by the entropy and by the number of words. Words that are no
  content words are then taken from the hits, but the sentence stays a hit.
- QFS, paper: the tokens to which the hit token pays most attention, in their order.
- QFS, code: the content words to which the tokens before those of the hit words pay most attention, hits left
  out; each hit word counts the same.

The last layer's heads are joined as the code does it, in both: the maximum of each head, then the mean (the
paper does not say). How we differ: content words are those outside a list of English function words (the code
asks a tagger for nouns, adjectives, verbs, names and numbers; adverbs are in here, and no tagger is needed).
Where no hit is a content word the code divides by zero and ranks words by NaN; here all hits count then.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from src_core.protocols.parsers import sentence_spans

if TYPE_CHECKING:  # a package that most runs do not need
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.floating]

_WORD = re.compile(r"\S+")
_MARKS = string.punctuation + "“”‘’…–—"
_FUNCTION_TEXT = """a about above after again against all also am among an and another any are as at be
because been before being below between both but by can cannot could did do does doing down during each
either few for from further had has have having he her here hers herself him himself his how however i if in
into is it its itself just may me might more most must my myself neither no nor not now of off on once only or
other our ours ourselves out over own same shall she should since so some such than that the their theirs them
themselves then there therefore these they this those through thus to too under until up upon us very was we
were what when where whether which while who whom whose why will with within without would yes yet you your
yours yourself"""
FUNCTION_WORDS = frozenset(_FUNCTION_TEXT.split())


class Word(NamedTuple):
    """A word: its characters in the text, and the numbers of its tokens."""

    start: int
    end: int
    tokens: tuple[int, ...]


class Hit(NamedTuple):
    """A sentence that needs a search: its first character, its words (numbers in the text), those of them
    that ask for it, and the token that crossed the threshold first (counted within its word).
    """

    start: int
    words: tuple[int, ...]
    asking: tuple[int, ...]
    token: int = 0


def words_of(text: str, spans: Sequence[tuple[int, int]]) -> list[Word]:
    """The words of a text that have tokens; a token belongs to the word of its last character."""
    owner: dict[int, list[int]] = {}
    places = [match.span() for match in _WORD.finditer(text)]
    at = 0
    for number, (start, end) in enumerate(spans):
        while at < len(places) and places[at][1] < end:
            at += 1
        if at < len(places) and places[at][0] < end and text[start:end].strip():
            owner.setdefault(at, []).append(number)
    return [Word(*places[at], tuple(tokens)) for at, tokens in owner.items()]


def is_content(word: str) -> bool:
    """Whether a word carries a meaning of its own."""
    plain = word.strip(_MARKS).lower()
    return any(letter.isalnum() for letter in plain) and plain not in FUNCTION_WORDS


def paper_scores(entropies: Floats, attention: Floats, content: Sequence[bool]) -> list[float]:
    """RIND of the paper for each of m tokens: `entropies` (m,), `attention` (heads, m, m), `content` (m,)."""
    return [
        float(entropies[at] * attention[:, at + 1 :, at].max(axis=1).mean())
        if content[at] and at + 1 < len(content)
        else 0.0
        for at in range(len(content))
    ]


def code_scores(entropies: Floats, attention: Floats, words: Sequence[Sequence[int]]) -> list[float]:
    """RIND of the code, for each word of one sentence; `words` are the numbers of their tokens."""
    most = attention.max(axis=1).mean(axis=0)
    shares = [float(most[list(tokens)].sum()) for tokens in words]
    total = sum(shares) or 1.0
    doubts = [float(entropies[list(tokens)].mean()) for tokens in words]
    return [share / total * doubt * len(words) for share, doubt in zip(shares, doubts, strict=True)]


def find_hit(
    formula: str,
    text: str,
    words: Sequence[Word],
    entropies: Floats,
    attention: Floats,
    *,
    threshold: float,
    skip: int,
) -> Hit | None:
    """The first sentence of `text`, after `skip` sentences, with a score above `threshold`; None for none."""
    content = [is_content(text[word.start : word.end]) for word in words]
    owner = {token: at for at, word in enumerate(words) for token in word.tokens}
    flags = [token in owner and content[owner[token]] for token in range(len(entropies))]
    by_token = paper_scores(entropies, attention, flags) if formula == "paper" else []
    for start, end in sentence_spans(text)[skip:]:
        inside = tuple(at for at, word in enumerate(words) if start <= word.start < end)
        if formula == "paper":
            over = [token for at in inside for token in words[at].tokens if by_token[token] > threshold]
            if over:
                at = owner[over[0]]
                return Hit(start, inside, (at,), words[at].tokens.index(over[0]))
        elif inside:
            scores = code_scores(entropies, attention, [words[at].tokens for at in inside])
            hits = tuple(at for at, score in zip(inside, scores, strict=True) if score > threshold)
            if hits:
                return Hit(start, inside, tuple(at for at in hits if content[at]) or hits)
    return None


def paper_query(
    text: str, words: Sequence[Word], attention: Floats, *, word: int, token: int, count: int
) -> str:
    """QFS of the paper: the words of the `count` tokens before the hit token (number `token` of its word)
    to which it pays most attention. `attention` (heads, m, m) is that of `text`.
    """
    tokens = words[word].tokens
    place = tokens[min(token, len(tokens) - 1)]
    row = attention[:, place, :place].mean(axis=0)
    best = {int(at) for at in row.argsort()[::-1][:count]}
    chosen = [each for each in words[:word] if best.intersection(each.tokens)]
    return _as_query(text, chosen)


def code_query(
    text: str, words: Sequence[Word], attention: Floats, *, hits: Sequence[int], count: int
) -> str:
    """QFS of the code: the `count` content words before or beside the `hits` with the most attention."""
    rows = attention.mean(axis=0)
    weights = [0.0] * len(words)
    for hit in hits:
        tokens = words[hit].tokens
        first = tokens[0]
        for token in tokens:
            row = rows[token - 1, :first] if first else rows[0, :0]
            total = float(row.sum()) * len(tokens)
            if total <= 0:
                continue
            for at, word in enumerate(words[:hit]):
                weights[at] += float(row[list(word.tokens)].sum()) / total
    known = [
        at for at, word in enumerate(words) if at not in hits and is_content(text[word.start : word.end])
    ]
    best = sorted(sorted(known, key=lambda at: -weights[at])[:count])
    return _as_query(text, [words[at] for at in best])


def _as_query(text: str, words: Sequence[Word]) -> str:
    return " ".join(filter(None, (text[word.start : word.end].strip(_MARKS) for word in words)))
