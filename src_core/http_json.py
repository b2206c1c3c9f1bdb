"""JSON over HTTP for all clients: retries by status, one error type per client, one server or several.

Transport errors, time-outs, 408, 429, 5xx and replies that cannot be used are retried with exponential
back-off and jitter; other 4xx are final. A failure with `Retry-After` is waited for, which spends no attempt.
Where a setting names several servers (`replicas`), a request whose server does not answer, fails or asks to
wait goes to another one at once, which spends no attempt either; after a time-out it goes there with the next
attempt. A server that answered before and then refuses all connections ends the run (`ServerGoneError`), and
so does one whose calls fail in a row for a minute; of several, all have to. A failed try is said at once
(`ServerNews.retrying`). No other module retries, except `index_server.py`, for the clients of search
servers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

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
from src_core.http_exchange import RETRY_STATUSES, AskedToWaitError, Call, Exchange, RefusedError
from src_core.replicas import Replica, Replicas
from src_core.server_news import Failures, ServerNews, gone
from src_core.types import to_json

T = TypeVar("T")


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


class JsonHttp:
    """Requests to the server of a setting, or to its servers. A request that fails after all retries raises
    `error`, the caller's boundary error.
    """

    def __init__(
        self,
        urls: str,
        *,
        error: type[BoundaryError],
        token: str | None,
        connections: int,
        timeout: float,
        retry: RetryPolicy,
        news: ServerNews | None = None,
        on_headers: Callable[[Mapping[str, str]], None] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """`on_headers` is called with the headers of each reply with status 200. `secrets` are headers with
        keys of others' services, in place of a bearer token.
        """
        self.replicas = Replicas(urls)
        self.url = ", ".join(replica.url for replica in self.replicas.all)
        keys = dict(secrets or {})
        if token:
            if not token.isprintable():
                raise UserError(
                    "the token holds a control character, such as a line end; correct REARAG_TOKEN"
                )
            keys["Authorization"] = f"Bearer {token}"
        self._exchange = Exchange(
            error=error,
            secrets=keys,
            redirects=not secrets,
            connections=connections,
            servers=len(self.replicas.all),
            timeout=timeout,
            on_headers=on_headers,
        )
        self._error = error
        self._retry = retry
        self._news = news or ServerNews()
        self._failures = Failures()
        self.on_recovery: Callable[[Replica], Awaitable[None]] | None = None
        """Awaited when a server replies after it had failed: another one may have taken its place."""

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        expect: type,
        read: Callable[[Any], Any] | None = None,
        attempts: int | None = None,
        beside_v1: bool = False,
        at: Replica | None = None,
    ) -> Any:
        """The parsed reply to `body` (None sends none) at a path below the server's address, or beside its
        `/v1`, after at most `attempts` tries (default: the policy's). A reply that is not JSON of the type
        `expect` (dict, list, object) is retried: a truncated reply looks like that. `read` makes the result
        of the reply; its `ReplyError` is retried as a 502 is. Only the server `at` is asked where it is
        given. Raises `ServerGoneError` where servers answered before and refused the last connections.
        """
        call = Call(
            method,
            path,
            None if body is None else to_json(body),
            expect,
            read,
            self._retry.longest_server_wait,
            beside_v1,
        )
        try:
            reply: Any = await self._attempt(call, at)
        except BoundaryError as error:
            failed = error
        else:
            self._failures.succeeded()
            return reply
        return await self._try_again(call, failed, attempts, at)

    async def at_each(self, ask: Callable[[Replica], Awaitable[T]]) -> list[tuple[Replica, T]]:
        """What each server answers. One that fails while others answer is left out; raises the first error
        where none answers.
        """
        found: list[tuple[Replica, T]] = []
        failed: list[tuple[Replica, BoundaryError]] = []
        for replica in self.replicas.all:
            try:
                found.append((replica, await ask(replica)))
            except BoundaryError as error:
                if not error.retryable:
                    raise
                failed.append((replica, error))
        if not found:
            raise failed[0][1]
        for replica, reason in failed:
            self._leave_out(replica, reason)
        return found

    async def close(self) -> None:
        """Close the session."""
        await self._exchange.close()

    async def _try_again(
        self, call: Call, failed: BoundaryError, attempts: int | None, at: Replica | None
    ) -> Any:
        """What `request` returns after its first attempt has `failed`."""
        first = [failed]

        async def attempt() -> Any:
            if first:
                raise first.pop()
            return await self._attempt(call, at)

        try:
            reply: Any = await self._retrying(attempts or self._retry.attempts)(attempt)
        except BoundaryError as error:
            servers = self.replicas.all
            refused = error.__cause__ if isinstance(error.__cause__, RefusedError) else None
            if refused and all(each.refused for each in servers) and any(each.answered for each in servers):
                tries = sum(each.refused for each in servers)
                raise gone(self.url, refused=tries, reason=str(refused)) from error
            if error.retryable and attempts is None:
                self._failures.failed(self.url, error)
            raise
        self._failures.succeeded()
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

    async def _attempt(self, call: Call, at: Replica | None) -> Any:
        """One attempt: at one server, and at each other one that is well, as long as they fail."""
        tried: list[Replica] = []
        while True:
            with self.replicas.place(avoid=tried, at=at) as replica:
                others = self.replicas.well(avoid=[*tried, replica]) if at is None else []
                try:
                    reply = (
                        await self._exchange.once(call, replica)
                        if others
                        else (await self._patiently(call, replica))
                    )
                except AskedToWaitError as asked:
                    self._leave_out(replica, asked.error, seconds=asked.seconds)
                except BoundaryError as error:
                    if error.retryable:
                        self._note_failure(replica, error)
                    if not others or not _means_down(error) or _timed_out(error):
                        raise
                else:
                    if self.replicas.works(replica):
                        await self._recovered(replica)
                    return reply
            tried.append(replica)

    def _note_failure(self, replica: Replica, error: BoundaryError) -> None:
        if _means_down(error) and len(self.replicas.all) > 1:
            self._leave_out(replica, error)
        replica.suspect = True

    def _leave_out(self, replica: Replica, error: BoundaryError, *, seconds: float = 0.0) -> None:
        others = len(self.replicas.well(avoid=[replica]))
        if self.replicas.leave_out(replica, seconds=seconds) and others:
            self._news.left_out(replica.url, reason=str(error), others=others)

    async def _recovered(self, replica: Replica) -> None:
        if len(self.replicas.all) > 1:
            self._news.is_back(replica.url)
        if self.on_recovery is not None:
            await self.on_recovery(replica)

    async def _patiently(self, call: Call, replica: Replica) -> Any:
        """One attempt at one server, which waits as long as that asks to, up to the call's patience."""
        while True:
            try:
                return await self._exchange.once(call, replica)
            except AskedToWaitError as asked:
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
                await self._news.wait(asked.seconds, replica.url)


def _means_down(error: BoundaryError) -> bool:
    """Whether another server would do better: this one did not answer, or said that it failed or is busy."""
    return error.retryable and (error.status in (0, *RETRY_STATUSES) or error.status >= 500)


def _timed_out(error: BoundaryError) -> bool:
    """Whether the reply took too long: the same request may take as long elsewhere."""
    cause = error.__cause__
    return isinstance(cause, TimeoutError) and not isinstance(cause, aiohttp.ConnectionTimeoutError)
