"""The web as a retriever: `retriever: searxng:http://127.0.0.1:8888`, `brave:`, `serper:` or `tavily:`.

A query is looked up in the cache on disk, else the engine is asked, at most `per_second` times a second, with
the retries of all clients. `on_search` gets each search with its engine, time and query, so that a
trajectory says what was searched and when. The key comes from the environment alone: it is sent to the
engine's own address (redirections are not followed) and is in no file, log or error.
"""

from __future__ import annotations

import asyncio
import datetime
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from src_core.access_token import read_token
from src_core.config import Positive, Seconds, config_class
from src_core.errors import RetrieverError, UserError
from src_core.http_json import JsonHttp, RetryPolicy
from src_core.server_news import ServerNews
from src_core.types import Passage
from src_retrieval.toy import ToyRetriever
from src_retrieval.web.base import Result, WebEngine
from src_retrieval.web.cache import Cached, SearchCache, search_key
from src_retrieval.web.pages import passages_of


@config_class
class WebSettings:
    """How the web is searched. The cache is the file `cache`; its entries count for `keep_days`, and above
    `cache_mb` megabytes the oldest go. `results` are asked of the engine for each query, and cut to passages
    of `passage_chars`. `pages`: passages are cut from the text of each page, which `tavily` sends, and the
    best by their words are returned; else from snippets, in the engine's order.
    """

    cache: str = ".cache/web_search.sqlite3"
    keep_days: Seconds = 30.0
    cache_mb: Positive = 512
    per_second: Seconds = 1.0
    results: Annotated[int, Field(ge=1, le=20)] = 10
    pages: bool = False
    passage_chars: Annotated[int, Field(ge=100, le=20_000)] = 800


@dataclass(frozen=True, slots=True)
class WebSearch:
    """One search: the engine and its address, the query as it was sent, the time of the engine's reply (UTC),
    whether that came from the cache, and how many results it had.
    """

    engine: str
    address: str
    query: str
    at: str
    cached: bool
    results: int


class WebRetriever:
    """See the module. `cut_queries` counts queries that were longer than the engine takes."""

    def __init__(
        self,
        engine: WebEngine,
        where: str,
        settings: WebSettings,
        *,
        connections: int,
        retry: RetryPolicy | None = None,
        news: ServerNews | None = None,
    ) -> None:
        """`where` is the setting `retriever`. Raises `UserError` where address or key are missing."""
        self.engine, self._settings = engine, settings
        self.name, _, address = where.partition(":")
        self._news = news or ServerNews()
        self.cut_queries = 0
        self.on_search: Callable[[WebSearch], None] = lambda _: None
        if not (address or engine.address):
            raise UserError(
                f"retriever={where} names no address; write it like {self.name}:http://127.0.0.1:8888"
            )
        self._http = JsonHttp(
            address or engine.address,
            error=RetrieverError,
            token=None,
            secrets=self._secrets(where),
            connections=connections,
            timeout=60.0,
            retry=retry or RetryPolicy(),
            news=self._news,
        )
        self._cache = SearchCache(
            Path(settings.cache), days=settings.keep_days, most_bytes=settings.cache_mb << 20
        )
        self._turn = asyncio.Lock()
        self._next = 0.0
        self._asking: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    @property
    def identity(self) -> dict[str, Any]:
        """What a run records of its retriever."""
        return {
            "retriever": self.name,
            "type": "web",
            "address": self._http.url,
            "pages": self._settings.pages,
        }

    async def search(self, query: str, top_n: int) -> list[Passage]:
        """See `Retriever.search`. Raises `UserError` where the engine refuses the key."""
        sent = self._cut(query)
        if not sent:
            return []
        settings = self._settings
        parts = (self.name, self._http.url, settings.results, settings.pages, sent)
        found, cached = await self._found(search_key(*parts), sent)
        at = datetime.datetime.fromtimestamp(found.at, datetime.UTC).isoformat(timespec="seconds")
        self.on_search(WebSearch(self.name, self._http.url, sent, at, cached, len(found.results)))
        passages = passages_of(found.results, passage_chars=settings.passage_chars)
        if settings.pages:
            return await ToyRetriever(passages).search(query, top_n)
        return passages[:top_n]

    async def passages(self, ids: Sequence[str]) -> list[Passage]:
        """The web has no passages by id."""
        if not ids:
            return []
        raise RetrieverError(f"{self.name} finds pages by a query, not by their ids")

    async def close(self) -> None:
        """Close the session and the cache."""
        await self._http.close()
        self._cache.close()

    async def _found(self, key: str, query: str) -> tuple[Cached, bool]:
        """The results of a query, and whether they were cached. Of equal queries at once one is sent."""
        lock = self._asking.setdefault(key, asyncio.Lock())
        async with lock:
            known = await asyncio.to_thread(self._cache.get, key)
            if known is not None:
                return known, True
            results = await self._ask(query)
            return Cached(results, await asyncio.to_thread(self._cache.put, key, results)), False

    async def _ask(self, query: str) -> list[Result]:
        settings, engine = self._settings, self.engine
        method, path, body = engine.request(query, count=settings.results, pages=settings.pages)
        await self._wait_turn()
        try:
            found: list[Result] = await self._http.request(
                method, path, body, expect=dict, read=engine.results
            )
        except RetrieverError as error:
            if engine.refuses_key(error.status, str(error)):
                advice = engine.advice
                raise UserError(f"{self.name} refuses the request ({error}); {advice}") from None
            if error.status in engine.spent:
                raise UserError(
                    f"{error}; the plan behind {engine.key} is used up; renew it or use another engine"
                ) from None
            raise
        return found[: settings.results]

    async def _wait_turn(self) -> None:
        """Requests begin in order, `per_second` of them a second."""
        async with self._turn:
            now = time.monotonic()
            self._next = max(self._next, now) + 1 / self._settings.per_second
            wait = self._next - 1 / self._settings.per_second - now
            if wait > 0:
                await asyncio.sleep(wait)

    def _cut(self, query: str) -> str:
        """The query on one line, as long as the engine takes it."""
        words = query.split()
        whole = " ".join(words)
        sent = " ".join(words[: self.engine.most_words])[: self.engine.most_chars]
        if sent != whole:
            self.cut_queries += 1
            self._news.note_once(f"a query is longer than {self.name} takes; its end was cut off")
        return sent

    def _secrets(self, where: str) -> dict[str, str]:
        """The header with the key. Raises `UserError` where the engine has one and it is not set."""
        engine = self.engine
        if not engine.key:
            return {}
        key = read_token(engine.key)
        if not key:
            raise UserError(f"retriever={where} needs the variable {engine.key} with your key; set it")
        return {engine.header: engine.prefix + key}
