"""Does a question to train on give away a question to be scored on? Three rules, from certain to likely.

1. `same_question`: equal after normalisation (`question_key`: case, punctuation, the encoding of accents,
   articles and white space do not count).
2. `shared_ngram`: a run of `ngram` words (13, as in the GPT-3 report, appendix C) occurs in both, and they
   share 95 % of the content words of the shorter one: one question stands inside the other, or is the other
   with one word in twenty changed. The second half is ours: composed sets (2WikiMultihopQA, MuSiQue) put
   different names into long templates, which have long runs in common and nothing else.
3. `near_copy`: all content words of the one are in the other, which has at most one further word for each
   five. Order does not count ("the date of birth of X", "X's date of birth"). Short questions have no run of
   13 words, so for them this is the whole test. Two questions made from one template differ in their names,
   hence neither holds all words of the other: "What is the date of birth of X?" stays when only "... of Y?"
   is scored on. With fewer than five content words no further word is allowed, since there one word makes a
   different question ("Where was X born?", "Where was the wife of X born?").

Content words are all but articles, forms of be and do, common prepositions, and what/which. Who, when, where,
why, how and not are content: they tell questions about one thing apart.

Paraphrases with other words are not found. Text without spaces between words is compared by rule 1 alone.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from src_tasks.question_text import words_of

NGRAM = 13
SHARED_CONTENT = 0.95
WORDS_PER_EXTRA = 5
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        """what which name is are was were be been being am do does did done has have had of in on at by for
        to from with and as it its this these those that there their his her s""",
    )
)


class Overlap(StrEnum):
    """Why a question is taken for one that is scored on."""

    SAME = "same_question"
    NGRAM = "shared_ngram"
    NEAR = "near_copy"


class Match(NamedTuple):
    """A contaminated question's reason, and the evaluation question that it resembles."""

    reason: Overlap
    evaluation: str


def content_words(words: Sequence[str]) -> frozenset[str]:
    """The words that tell what is asked; all words where there are no others."""
    return frozenset(word for word in words if word not in _FUNCTION_WORDS) or frozenset(words)


def key_hash(key: str) -> int:
    """64 bits of a key, stable across runs and machines."""
    return int.from_bytes(
        hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"
    )


class EvaluationIndex:
    """The questions that must not be trained on, ready to be compared with. Memory: the texts, their content
    words, and eight bytes (in a Python integer) per run of `ngram` words.
    """

    def __init__(self, *, ngram: int = NGRAM) -> None:
        self._ngram = ngram
        self._texts: list[str] = []
        self._contents: list[frozenset[str]] = []
        self._keys: dict[int, int] = {}
        self._runs: defaultdict[int, list[int]] = defaultdict(list)
        self._with_word: defaultdict[str, list[int]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, question: str) -> None:
        """Note a question; one that is there already changes nothing."""
        words = words_of(question)
        key = key_hash(" ".join(words))
        if key in self._keys:
            return
        at = len(self._texts)
        self._keys[key] = at
        self._texts.append(question)
        self._contents.append(content_words(words))
        for run in self._runs_of(words):
            self._runs[run].append(at)
        for word in self._contents[at]:
            self._with_word[word].append(at)

    def match(self, question: str) -> Match | None:
        """The first rule that `question` breaks, with one evaluation question; None where it breaks none."""
        words = words_of(question)
        same = self._keys.get(key_hash(" ".join(words)))
        if same is not None:
            return Match(Overlap.SAME, self._texts[same])
        content = content_words(words)
        for at in dict.fromkeys(at for run in self._runs_of(words) for at in self._runs.get(run, ())):
            shorter = min(len(content), len(self._contents[at]))
            if len(content & self._contents[at]) >= SHARED_CONTENT * shorter:
                return Match(Overlap.NGRAM, self._texts[at])
        for at in self._candidates(content):
            if is_near_copy(content, self._contents[at]):
                return Match(Overlap.NEAR, self._texts[at])
        return None

    def _runs_of(self, words: list[str]) -> set[int]:
        size = self._ngram
        return {key_hash(" ".join(words[at : at + size])) for at in range(len(words) - size + 1)}

    def _candidates(self, content: frozenset[str]) -> list[int]:
        """Evaluation questions that can be near copies: of a near copy's words at most one in five are its
        own, so among that many plus one of the rarest words at least one is shared.
        """
        rarest = sorted(content, key=lambda word: (len(self._with_word.get(word, ())), word))
        found = (self._with_word.get(word, ()) for word in rarest[: len(content) // WORDS_PER_EXTRA + 1])
        return sorted({at for posting in found for at in posting})


def is_near_copy(one: frozenset[str], other: frozenset[str]) -> bool:
    """Rule 3 for two sets of content words."""
    small, large = sorted((one, other), key=len)
    return small <= large and len(large) - len(small) <= len(small) // WORDS_PER_EXTRA
