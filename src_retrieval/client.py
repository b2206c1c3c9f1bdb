"""The retriever boundary: a `Retriever` protocol and the asynchronous HTTP client of our server.

One `aiohttp` session with a bounded pool serves all callers. Retries live here: transport errors,
time-outs, 408, 429 and 5xx are tried again with back-off and jitter, other 4xx are final (the published
client raises on the first error and loses the question, reference/rearag.md, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import aiohttp
import orjson
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from src_core.errors import RetrieverError
from src_core.llm import RetryPolicy
from src_core.types import Passage
from src_retrieval.rows import title_of

RETRY_STATUSES = (408, 429)


class Retriever(Protocol):
    """What the loop needs of a retriever."""

    async def search(self, query: str, top_n: int) -> list[Passage]:
        """The `top_n` best passages, best first. Raises `RetrieverError` once retries are spent."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class RetrieverClient:
    """Speaks `/search`, `/batch_search` and `/health`."""

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        connections: int = 64,
        timeout: float = 300.0,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._url = base_url.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connections = connections
        self._timeout = timeout
        self._retry = retry or RetryPolicy()
        self._session: aiohttp.ClientSession | None = None

    async def search(self, query: str, top_n: int) -> list[Passage]:
        """See `Retriever.search`; the passages carry their scores."""
        body = {"query": query, "top_n": top_n, "return_score": True}
        reply = await self._request("POST", "/search", body)
        return _passages(self._url, *_pair(self._url, reply))

    async def batch_search(self, queries: Sequence[str], top_n: int) -> list[list[Passage]]:
        """`search` for several queries in one request."""
        body = {"query": list(queries), "top_n": top_n, "return_score": True}
        documents, scores = _pair(self._url, await self._request("POST", "/batch_search", body))
        if len(documents) != len(queries) or len(scores) != len(queries):
            raise RetrieverError(f"{self._url} answered {len(documents)} of {len(queries)} queries")
        return [_passages(self._url, *row) for row in zip(documents, scores, strict=True)]

    async def health(self) -> dict[str, Any]:
        """The server's health object, with what it serves under `index`."""
        reply = await self._request("GET", "/health", None)
        if not isinstance(reply, dict):
            raise RetrieverError(f"{self._url}/health did not answer with an object")
        return reply

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _request(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        policy = self._retry
        attempts = AsyncRetrying(
            stop=stop_after_attempt(policy.attempts),
            wait=wait_random_exponential(multiplier=policy.first_wait, max=policy.longest_wait),
            retry=retry_if_exception(lambda error: isinstance(error, RetrieverError) and error.retryable),
            reraise=True,
        )
        return await attempts(self._once, method, path, _encode(body))

    async def _once(self, method: str, path: str, data: bytes | None) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                timeout=aiohttp.ClientTimeout(total=self._timeout, connect=30),
                headers=self._headers,
            )
        url = self._url + path
        try:
            async with self._session.request(method, url, data=data) as response:
                payload = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise RetrieverError(f"{url}: {type(error).__name__} {error}".strip(), retryable=True) from error
        if status != 200:
            text = payload[:300].decode("utf-8", "replace")
            again = status in RETRY_STATUSES or status >= 500
            raise RetrieverError(f"{url}: HTTP {status}: {text}", retryable=again)
        try:
            return orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise RetrieverError(f"{url}: the reply is not JSON", retryable=True) from error


def _encode(body: dict[str, Any] | None) -> bytes | None:
    """JSON; lone surrogates, which a model can write and JSON cannot carry, are replaced."""
    if body is None:
        return None
    query = body["query"]
    clean = _printable(query) if isinstance(query, str) else [_printable(text) for text in query]
    return orjson.dumps({**body, "query": clean})


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _pair(url: str, reply: Any) -> tuple[list[Any], list[Any]]:
    if not (isinstance(reply, list) and len(reply) == 2 and all(isinstance(part, list) for part in reply)):
        raise RetrieverError(f"{url}: the reply is not a pair of documents and scores")
    return reply[0], reply[1]


def _passages(url: str, documents: Any, scores: Any) -> list[Passage]:
    try:
        return [
            Passage(str(row["id"]), title_of(row["contents"]), row["contents"], float(score))
            for row, score in zip(documents, scores, strict=True)
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RetrieverError(f"{url}: a document has no id and contents, or no score") from error
