"""A retriever in memory, scored by word overlap, selected by the config value `retriever:
toy:CORPUS.jsonl`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from src_core.errors import RetrieverError, UserError
from src_core.served import content_digest
from src_core.types import Passage
from src_retrieval.rows import to_passage
from src_retrieval.unpack import corpus_rows

_WORD = re.compile(r"\w+")


def corpus_passages(path: Path) -> Iterator[Passage]:
    """The passages of a corpus of any kind that the retriever reads, in order. Raises `UserError` naming file
    and place.
    """
    return map(to_passage, corpus_rows(path))


class ToyRetriever:
    """Ranks passages by the summed rarity of the query's words that they hold, title words twice."""

    def __init__(self, passages: Sequence[Passage], *, corpus_sha256: str = "") -> None:
        self.corpus_sha256 = corpus_sha256
        self._passages = list(passages)
        self._by_id = {passage.id: passage for passage in self._passages}
        self._words = [_words(passage.contents) for passage in self._passages]
        self._titles = [_words(passage.title) for passage in self._passages]
        seen = Counter(word for words in self._words for word in words)
        self._rarity = {word: math.log(1 + len(self._passages) / count) for word, count in seen.items()}

    @classmethod
    def from_file(cls, path: Path) -> ToyRetriever:
        """Read a small corpus of any kind that the retriever reads. Raises `UserError` naming file and
        place.
        """
        passages = list(corpus_passages(path))
        if not passages:
            raise UserError(f"{path} holds no passage; give a file with at least one row")
        ids = Counter(passage.id for passage in passages)
        name, count = ids.most_common(1)[0]
        if count > 1:
            raise UserError(f"{path}: the id {name!r} is used {count} times; ids must be unique")
        return cls(passages, corpus_sha256=content_digest(path))

    @property
    def rows(self) -> int:
        """The number of passages."""
        return len(self._passages)

    async def search(self, query: str, top_n: int) -> list[Passage]:
        """The `top_n` passages with the highest positive overlap, ties in corpus order."""
        wanted = _words(query)
        scored = [(self._score(at, wanted), -at) for at in range(len(self._passages))]
        best = sorted((pair for pair in scored if pair[0] > 0), reverse=True)[:top_n]
        return [self._with_score(-at, score) for score, at in best]

    async def passages(self, ids: Sequence[str]) -> list[Passage]:
        """The passages with these ids, in their order. Raises `RetrieverError` for an unknown one."""
        unknown = [wanted for wanted in ids if wanted not in self._by_id]
        if unknown:
            raise RetrieverError(f"the corpus has no passage with the id {unknown[0][:200]!r}")
        return [self._by_id[wanted] for wanted in ids]

    async def close(self) -> None:
        """There is nothing to release."""

    def _score(self, at: int, wanted: set[str]) -> float:
        # fsum: sets have no order, and plain sums of floats depend on it
        body = math.fsum(self._rarity[word] for word in wanted & self._words[at])
        return body + math.fsum(self._rarity[word] for word in wanted & self._titles[at])

    def _with_score(self, at: int, score: float) -> Passage:
        passage = self._passages[at]
        return Passage(passage.id, passage.title, passage.contents, {"retrieval": score})


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))
