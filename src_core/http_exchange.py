"""One attempt of a request to one server: its session, its bounded reply, and what each failure means.

`aiohttp` costs 79 us of CPU per request where the `openai` package costs 1.3 ms (reference/performance.md,
section 2).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from src_core.errors import BoundaryError, UserError
from src_core.replicas import Replica
from src_core.wire_json import ReplyError, error_inside, parse_json, seconds_asked, server_words

RETRY_STATUSES = (408, 429)
CONNECT_SECONDS = 30
KEEP_SECONDS = 4.0
"""How long a connection without a request is used again. uvicorn (our servers, vLLM) closes it after 5 s: a
longer time here (aiohttp: 15 s) sends requests into connections that the server is just closing.
"""
MAX_REPLY = 64 << 20
_TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)


class AskedToWaitError(Exception):
    """A failure whose `Retry-After` is `seconds`; `error` is what the server said."""

    def __init__(self, seconds: float, error: BoundaryError) -> None:
        super().__init__(str(error))
        self.seconds = seconds
        self.error = error


class RefusedError(Exception):
    """No connection could be made."""


@dataclass(slots=True)
class Call:
    """A request in all its attempts. `path` is below the address of the server, or beside its `/v1`.
    `patience` is how many seconds it may still wait because a server asks to.
    """

    method: str
    path: str
    data: bytes | None
    expect: type
    read: Callable[[Any], Any] | None
    patience: float
    beside_v1: bool = False

    def at(self, replica: Replica) -> str:
        """The whole URL at a server."""
        return (replica.url.removesuffix("/v1") if self.beside_v1 else replica.url) + self.path


class Exchange:
    """One session for all servers of a setting. A failure is an `error`, the boundary error of the client."""

    def __init__(
        self,
        *,
        error: type[BoundaryError],
        secrets: Mapping[str, str],
        redirects: bool,
        connections: int,
        servers: int,
        timeout: float,
        on_headers: Callable[[Mapping[str, str]], None] | None,
    ) -> None:
        """At most `connections` are open to each of `servers`. `secrets` are headers whose values no error
        repeats. Without `redirects` none is followed, since that would send them to another address.
        """
        self._error = error
        self._headers = {"Content-Type": "application/json", **secrets}
        self._hidden = [value.rpartition(" ")[2] for value in secrets.values()]
        self._redirects = redirects
        self._connections, self._servers = connections, servers
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._on_headers = on_headers

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def once(self, call: Call, replica: Replica) -> Any:
        """The parsed reply of one attempt. Raises the boundary error, or `AskedToWaitError`."""
        url = call.at(replica)
        status, headers, payload = await self._exchange(call, replica)
        if status != 200:
            raise self._failure(f"{url}: HTTP {status}: {server_words(payload)}", status, headers)
        try:
            parsed = parse_json(payload)
            if inside := error_inside(parsed):
                text = f"{url}: HTTP {inside.code} inside HTTP 200: {inside.words}"
                raise self._failure(text, inside.code, headers)
            if not isinstance(parsed, call.expect):
                raise ReplyError(f"the reply is not a JSON {call.expect.__name__}: {server_words(payload)}")
            return call.read(parsed) if call.read else parsed
        except ReplyError as error:
            text = f"{url}: {error}"
            raise self._error(self._said(text), retryable=error.retryable, status=status) from error
        except RecursionError as error:
            raise self._error(f"{url}: the reply is nested too deeply", status=status) from error

    def _failure(self, text: str, status: int, headers: Mapping[str, str]) -> Exception:
        """The error for a failure that the server states."""
        again = status in RETRY_STATUSES or status >= 500
        error = self._error(self._said(text), retryable=again, status=status)
        seconds = seconds_asked(headers) if again else 0.0
        return AskedToWaitError(seconds, error) if seconds else error

    def _said(self, text: str) -> str:
        """What a server said, without the key that it may repeat."""
        for secret in self._hidden:
            text = text.replace(secret, "(key)")
        return text

    async def _exchange(self, call: Call, replica: Replica) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of the reply."""
        url = call.at(replica)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections * self._servers,
                    limit_per_host=self._connections,
                    keepalive_timeout=KEEP_SECONDS,
                ),
                timeout=aiohttp.ClientTimeout(total=self._timeout, connect=CONNECT_SECONDS),
                headers=self._headers,
            )
        try:
            async with self._session.request(
                call.method, url, data=call.data, allow_redirects=self._redirects
            ) as response:
                payload = await self._body(response, url)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            text = f"{url}: {type(error).__name__} {error}".strip()
            raise self._error(text, retryable=True) from _counted(error, replica)
        replica.answered, replica.refused = True, 0
        if response.status == 200 and self._on_headers is not None:
            self._on_headers(response.headers)
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


def _counted(error: Exception, replica: Replica) -> Exception:
    """`error`; where it means that no connection was made, it is counted. Raises `UserError` where the
    reason is our own limit of open files.
    """
    if not isinstance(error, aiohttp.ClientConnectorError):
        return error
    if error.errno in _TOO_MANY_FILES:
        raise UserError("too many open files; set in_flight to a smaller number, or raise 'ulimit -n'")
    replica.refused += 1
    number = error.errno or 0
    return RefusedError(os.strerror(number) if number > 0 else error.strerror or str(error))
