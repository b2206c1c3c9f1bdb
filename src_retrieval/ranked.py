"""A retriever that answers from rankings on disk, selected by the config value `retriever:
ranked:FILE.jsonl` (`src_core.rankings`): a run then reads the very passages that were retrieved, or reranked,
before. It knows the queries of the file and no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from src_core.errors import RetrieverError
from src_core.rankings import Ranking, passages_beside, read_rankings
from src_core.served import line_digests
from src_core.types import Passage


class RankedRetriever:
    """Looks rankings up by their query. `digests` are those of the file after each line, the present one
    last.
    """

    def __init__(
        self, rankings: Sequence[Ranking], passages: dict[str, Passage], *, digests: Sequence[str] = ("",)
    ) -> None:
        self.digests = digests
        self._passages = passages
        self._rankings = {ranking.query.strip(): ranking for ranking in rankings}

    @classmethod
    def from_file(cls, path: Path) -> RankedRetriever:
        """Read a file of rankings and the passages beside it. Raises `UserError` naming file and line."""
        rankings = list(read_rankings(path).values())
        return cls(rankings, passages_beside(path), digests=line_digests(path))

    async def search(self, query: str, top_n: int) -> list[Passage]:
        """The first `top_n` passages of the ranking, with its scores. Raises `RetrieverError` for a query
        without a ranking.
        """
        ranking = self._rankings.get(query.strip())
        if ranking is None:
            raise RetrieverError(f"the rankings hold no query {query[:200]!r}")
        found = await self.passages(ranking.ids[:top_n])
        return [
            Passage(passage.id, passage.title, passage.contents, ranked.scores)
            for passage, ranked in zip(found, ranking.passages, strict=False)
        ]

    async def passages(self, ids: Sequence[str]) -> list[Passage]:
        """The passages with these ids, in their order. Raises `RetrieverError` for an unknown one."""
        unknown = [wanted for wanted in ids if wanted not in self._passages]
        if unknown:
            raise RetrieverError(f"there is no passage with the id {unknown[0][:200]!r} beside the rankings")
        return [self._passages[wanted] for wanted in ids]

    async def close(self) -> None:
        """There is nothing to release."""
