"""JSON over HTTP for all clients: one session with a bounded connection pool, retries by status, one error
type per client.

Transport errors, time-outs, 408, 429, 5xx and replies that cannot be used are retried with exponential
back-off and jitter; other 4xx are final. A failure with `Retry-After` is waited for, which spends no attempt.
A server that answered before and then refuses all connections ends the run (`ServerGoneError`), and so does
one whose calls fail in a row for a minute. A failed try is said at once (`ServerNews.retrying`). No other
module retries, except `elastic_server.py`, which calls Elastic's own client. `aiohttp` costs 79 us of CPU
per request where the `openai` package costs 1.3 ms (reference/performance.md, section 2).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from src_core.config import NotNegative, Positive, config_class
from src_core.errors import BoundaryError, UserError
from src_core.server_news import Failures, ServerNews, gone
from src_core.server_url import server_url
from src_core.types import to_json
from src_core.wire_json import ReplyError, error_inside, parse_json, seconds_asked, server_words

RETRY_STATUSES = (408, 429)
CONNECT_SECONDS = 30
MAX_REPLY = 64 << 20
_TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)


@config_class
class RetryPolicy:
    """How often a failing call is repeated and how long it waits in between; waits are in seconds.
    `longest_server_wait` bounds the waits of one call that its server asks for (`Retry-After`); they spend
    no attempt.
    """

    attempts: Positive = 5
    first_wait: NotNegative = 0.5
    longest_wait: NotNegative = 20.0
    longest_server_wait: NotNegative = 120.0


class _AskedToWaitError(Exception):
    """A failure whose `Retry-After` is `seconds`; `error` is what the server said."""

    def __init__(self, seconds: float, error: BoundaryError) -> None:
        super().__init__(str(error))
        self.seconds = seconds
        self.error = error


class _RefusedError(Exception):
    """No connection could be made."""


@dataclass(slots=True)
class _Call:
    """A request in all its attempts. `patience` is how many seconds it may still wait because the server asks
    to.
    """

    method: str
    url: str
    data: bytes | None
    expect: type
    read: Callable[[Any], Any] | None
    patience: float


class JsonHttp:
    """Requests to one server. A request that fails after all retries raises `error`, the caller's boundary
    error.
    """

    def __init__(
        self,
        base_url: str,
        *,
        error: type[BoundaryError],
        token: str | None,
        connections: int,
        timeout: float,
        retry: RetryPolicy,
        news: ServerNews | None = None,
    ) -> None:
        self.url = server_url(base_url)
        self._error = error
        self._headers = {"Content-Type": "application/json"}
        if token:
            if not token.isprintable():
                raise UserError(
                    "the token holds a control character, such as a line end; correct REARAG_TOKEN"
                )
            self._headers["Authorization"] = f"Bearer {token}"
        self._connections = connections
        self._timeout = timeout
        self._retry = retry
        self._news = news or ServerNews()
        self._session: aiohttp.ClientSession | None = None
        self._answered = False
        self._refused = 0  # connections in a row, over all callers
        self._failures = Failures()
        self.on_headers: Callable[[Mapping[str, str]], None] | None = None
        """Called with the headers of each reply with status 200."""
        self.on_recovery: Callable[[], Awaitable[None]] | None = None
        """Awaited when a call succeeds after it had failed: another server may have taken the place."""

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        expect: type,
        read: Callable[[Any], Any] | None = None,
        attempts: int | None = None,
    ) -> Any:
        """The parsed reply to `body` (None sends none) at a path below the base URL, or at a whole URL of the
        same server, after at most `attempts` tries (default: the policy's). A reply that is not JSON of the
        type `expect` (dict, list, object) is retried: a truncated reply looks like that. `read` makes the
        result of the reply; its `ReplyError` is retried as a 502 is. Raises `ServerGoneError` where the
        server answered before and refused the last connections.
        """
        call = _Call(
            method,
            path if "://" in path else self.url + path,
            None if body is None else to_json(body),
            expect,
            read,
            self._retry.longest_server_wait,
        )
        try:
            reply: Any = await self._patiently(call)
        except BoundaryError as error:
            failed = error
        else:
            self._failures.succeeded()
            return reply
        return await self._try_again(call, failed, attempts)

    async def _try_again(self, call: _Call, failed: BoundaryError, attempts: int | None) -> Any:
        """What `request` returns after its first attempt has `failed`."""
        first = [failed]

        async def attempt() -> Any:
            if first:
                raise first.pop()
            return await self._patiently(call)

        try:
            reply: Any = await self._retrying(attempts or self._retry.attempts)(attempt)
        except BoundaryError as error:
            refused = error.__cause__ if isinstance(error.__cause__, _RefusedError) else None
            if refused and self._answered:
                raise gone(self.url, refused=self._refused, reason=str(refused)) from error
            if error.retryable and attempts is None:
                self._failures.failed(self.url, error)
            raise
        self._failures.succeeded()
        if self.on_recovery is not None:
            await self.on_recovery()
        return reply

    def _retrying(self, attempts: int) -> AsyncRetrying:
        """Built only after a call has failed: building it for every call took 40 % of the client's CPU
        time.
        """
        policy = self._retry

        def say_so(state: RetryCallState) -> None:
            reason = str(state.outcome.exception()) if state.outcome else ""
            self._news.retrying(self.url, reason=reason, attempt=state.attempt_number + 1, of=attempts)

        return AsyncRetrying(
            stop=stop_after_attempt(attempts),
            wait=wait_exponential(policy.first_wait, policy.longest_wait) + wait_random(0, policy.first_wait),
            retry=retry_if_exception(lambda error: isinstance(error, BoundaryError) and error.retryable),
            before_sleep=say_so,
            reraise=True,
        )

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _patiently(self, call: _Call) -> Any:
        """One attempt, which waits as long as the server asks to, up to the call's patience."""
        while True:
            try:
                return await self._once(call)
            except _AskedToWaitError as asked:
                bound = self._retry.longest_server_wait
                if asked.seconds > bound:
                    raise self._error(
                        f"{asked.error}; it asks to wait {asked.seconds:.0f} s, longer than "
                        f"longest_server_wait ({bound:g} s) in agent.retry, reader.retry, retriever_retry or "
                        "endpoint.retry",
                        status=asked.error.status,
                    ) from None
                if asked.seconds > call.patience:
                    raise asked.error from None
                call.patience -= asked.seconds
                await self._news.wait(asked.seconds, self.url)

    async def _once(self, call: _Call) -> Any:
        status, headers, payload = await self._exchange(call)
        if status != 200:
            raise self._failure(f"{call.url}: HTTP {status}: {server_words(payload)}", status, headers)
        try:
            parsed = parse_json(payload)
            if inside := error_inside(parsed):
                text = f"{call.url}: HTTP {inside.code} inside HTTP 200: {inside.words}"
                raise self._failure(text, inside.code, headers)
            if not isinstance(parsed, call.expect):
                raise ReplyError(f"the reply is not a JSON {call.expect.__name__}: {server_words(payload)}")
            return call.read(parsed) if call.read else parsed
        except ReplyError as error:
            text = f"{call.url}: {error}"
            raise self._error(text, retryable=error.retryable, status=status) from error
        except RecursionError as error:
            raise self._error(f"{call.url}: the reply is nested too deeply", status=status) from error

    def _failure(self, text: str, status: int, headers: Mapping[str, str]) -> Exception:
        """The error for a failure that the server states."""
        again = status in RETRY_STATUSES or status >= 500
        error = self._error(text, retryable=again, status=status)
        seconds = seconds_asked(headers) if again else 0.0
        return _AskedToWaitError(seconds, error) if seconds else error

    async def _exchange(self, call: _Call) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of the reply."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                timeout=aiohttp.ClientTimeout(total=self._timeout, connect=CONNECT_SECONDS),
                headers=self._headers,
            )
        try:
            async with self._session.request(call.method, call.url, data=call.data) as response:
                payload = await self._body(response, call.url)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            text = f"{call.url}: {type(error).__name__} {error}".strip()
            raise self._error(text, retryable=True) from self._counted(error)
        self._answered, self._refused = True, 0
        if response.status == 200 and self.on_headers is not None:
            self.on_headers(response.headers)
        return response.status, response.headers, payload

    async def _body(self, response: aiohttp.ClientResponse, url: str) -> bytes:
        """The body, unpacked and in bounded memory: a small packed reply may be one of gigabytes."""
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > MAX_REPLY:
                raise self._error(
                    f"{url}: the reply is longer than {MAX_REPLY >> 20} MiB", status=response.status
                )
            parts.append(part)
        return b"".join(parts)

    def _counted(self, error: Exception) -> Exception:
        """`error`; where it means that no connection was made, it is counted. Raises `UserError` where the
        reason is our own limit of open files.
        """
        if not isinstance(error, aiohttp.ClientConnectorError):
            return error
        if error.errno in _TOO_MANY_FILES:
            raise UserError("too many open files; set in_flight to a smaller number, or raise 'ulimit -n'")
        self._refused += 1
        number = error.errno or 0
        return _RefusedError(os.strerror(number) if number > 0 else error.strerror or str(error))
