"""The retriever interface `Retriever` and the asynchronous HTTP client of our server.

One session with a bounded pool serves all callers; `src_core.http_json` retries (the published client raises
on the first error and loses the question, reference/rearag.md, section 3).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from src_core.errors import RetrieverError, UserError
from src_core.http_json import JsonHttp, RetryPolicy
from src_core.replicas import Replica
from src_core.served import INDEX_HEADER, differing, index_facts
from src_core.server_news import ServerNews
from src_core.types import Passage, title_of

LOG = logging.getLogger("src_retrieval")
NOTE_HEADER = "Retriever-Note"
RESULTS_AT_ONCE = 10_000


class Retriever(Protocol):
    """The interface of a retriever that the loop uses."""

    async def search(self, query: str, top_n: int) -> list[Passage]:
        """The `top_n` best passages, best first. Raises `RetrieverError` after all retries."""
        ...

    async def passages(self, ids: Sequence[str]) -> list[Passage]:
        """The passages with these ids, in their order. Raises `RetrieverError`, also for an unknown id."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class RetrieverClient:
    """A client of `/search`, `/batch_search`, `/passages` and `/health`. `cut_queries` counts the replies in
    which the server said that it cut a query; the first one is logged.
    """

    def __init__(
        self,
        urls: str,
        *,
        token: str | None = None,
        connections: int = 64,
        timeout: float = 300.0,
        retry: RetryPolicy | None = None,
        news: ServerNews | None = None,
    ) -> None:
        self._http = JsonHttp(
            urls,
            error=RetrieverError,
            token=token,
            connections=connections,
            timeout=timeout,
            retry=retry or RetryPolicy(),
            news=news,
            on_headers=self._notice,
        )
        self._on_reply: Callable[[str | None], None] = lambda _: None
        self._url = self._http.url
        self.cut_queries = 0

    async def search(self, query: str, top_n: int) -> list[Passage]:
        """See `Retriever.search`; the passages carry their scores."""
        body = {"query": query, "top_n": top_n, "return_score": True}
        reply = await self._http.request("POST", "/search", body, expect=list)
        return _passages(self._url, *_pair(self._url, reply))

    async def batch_search(self, queries: Sequence[str], top_n: int) -> list[list[Passage]]:
        """`search` for several queries, in requests of at most `RESULTS_AT_ONCE` passages (the server refuses
        requests for many more).
        """
        step = max(1, RESULTS_AT_ONCE // max(1, top_n))
        found: list[list[Passage]] = []
        for at in range(0, len(queries), step):
            found += await self._batch(queries[at : at + step], top_n)
        return found

    async def _batch(self, queries: Sequence[str], top_n: int) -> list[list[Passage]]:
        body = {"query": list(queries), "top_n": top_n, "return_score": True}
        documents, scores = _pair(
            self._url, await self._http.request("POST", "/batch_search", body, expect=list)
        )
        if len(documents) != len(queries) or len(scores) != len(queries):
            raise RetrieverError(f"{self._url} answered {len(documents)} of {len(queries)} queries")
        return [_passages(self._url, *row) for row in zip(documents, scores, strict=True)]

    async def passages(self, ids: Sequence[str]) -> list[Passage]:
        """See `Retriever.passages`; they carry no scores."""
        found = await self._http.request("POST", "/passages", {"ids": list(ids)}, expect=list)
        passages = _passages(self._url, found, [None] * len(found))
        if [passage.id for passage in passages] != list(ids):
            raise RetrieverError(f"{self._url} answered with other passages than requested")
        return passages

    async def health(self) -> dict[str, Any]:
        """The server's health object, with the description of its index under `index`. Raises `UserError`
        where one of several servers has another index than the others.
        """
        (_, found), *others = await self._http.at_each(self._health)
        known = index_facts(found.get("index"))
        for replica, its in others:
            for key in differing(known, facts := index_facts(its.get("index")))[:1]:
                raise UserError(
                    f"{replica.url} has another index than the other retrievers: {key} is {facts[key]} there "
                    f"and {known[key]} elsewhere; start the same index at each, or take that address out"
                )
        return found

    async def _health(self, replica: Replica) -> dict[str, Any]:
        found: dict[str, Any] = await self._http.request("GET", "/health", expect=dict, at=replica)
        return found

    def watch(self, on_reply: Callable[[str | None], None]) -> None:
        """Call `on_reply` with the identity of the index that each reply names (None: it names none)."""
        self._on_reply = on_reply

    async def close(self) -> None:
        """Close the session."""
        await self._http.close()

    def _notice(self, headers: Mapping[str, str]) -> None:
        self._on_reply(headers.get(INDEX_HEADER))
        if NOTE_HEADER in headers:
            self.cut_queries += 1
            if self.cut_queries == 1:
                LOG.warning("note: a query is longer than the retriever reads; its end was cut off")


def _pair(url: str, reply: Any) -> tuple[list[Any], list[Any]]:
    if not (isinstance(reply, list) and len(reply) == 2 and all(isinstance(part, list) for part in reply)):
        raise RetrieverError(f"{url}: the reply is not a pair of documents and scores")
    return reply[0], reply[1]


def _passages(url: str, documents: list[Any], scores: list[Any]) -> list[Passage]:
    """The passages of a reply. Other servers give scores only in the list; these count as retrieval
    scores.
    """
    try:
        return [
            Passage(
                str(row["id"]),
                title_of(row["contents"]),
                row["contents"],
                _named(row.get("scores", {"retrieval": score})),
            )
            for row, score in zip(documents, scores, strict=True)
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RetrieverError(f"{url}: a document has no id and contents, or no score") from error


def _named(scores: Mapping[str, Any]) -> dict[str, float]:
    """Scores by name, without those that are not numbers (JSON has no infinities: they arrive as null)."""
    return {str(name): float(value) for name, value in scores.items() if value is not None}
