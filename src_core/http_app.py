"""What stands before the app of every server of ours (plain ASGI): it refuses what is not for this server,
reads the body within its bounds, and answers `/health` itself.

The app is called with a request whose body is complete, so that a client which sends half of one occupies no
thread. `/health` needs no place among the requests in flight: it answers while all of them are taken.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import orjson

from src_core.http_guard import Asked, Guard, asked
from src_core.http_server import HttpOptions, RequestError

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

LOG = logging.getLogger("src_core.http")
JSON = "application/json"
PIECE = 1 << 16


class Reply(NamedTuple):
    """A whole response."""

    status: int
    body: bytes
    content_type: str = JSON


def refusal(error: RequestError) -> Reply:
    """The reply to a request that cannot be answered."""
    return Reply(error.status, orjson.dumps({"error": error.error, "detail": error.detail}))


class GuardedApp:
    """`app` behind `guard`. `health` gives the body of `/health`; `headers` go with every reply that is made
    here.

    With `whole` the replies of the app are collected before they are sent, so that a client which does not
    read its reply occupies no thread of the app; without it they are streams.
    """

    def __init__(
        self,
        app: App,
        *,
        guard: Guard,
        options: HttpOptions,
        max_body_bytes: int,
        health: Callable[[], bytes],
        headers: Mapping[str, str],
        whole: bool,
    ) -> None:
        self._app = app
        self._guard = guard
        self._options = options
        self._max_body = max_body_bytes
        self._health = health
        self._headers = dict(headers)
        self._whole = whole
        self._reading: set[asyncio.Timeout] = set()
        self._closing = False
        self._held = 0
        self._in_flight = 0
        self.max_in_flight = options.max_connections

    def close(self) -> None:
        """The server ends: what is not yet a whole request is answered 503."""
        self._closing = True
        for timeout in self._reading:
            if not timeout.expired():
                timeout.reschedule(0)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        request = asked(scope["method"], scope["path"], scope["headers"], scope.get("server"))
        try:
            self._guard.check(request)
            if request.path == "/health":
                await self._send(send, self._healthy(request))
                return
            await self._take(scope, receive, send)
        except RequestError as error:
            # Otherwise the rest of a body is read and dropped: a client that is still writing would get a
            # broken pipe instead of the reply.
            await self._send(send, refusal(error), last=error.status == 408)

    def _healthy(self, request: Asked) -> Reply:
        if request.method not in ("GET", "HEAD"):
            raise RequestError(405, "method not allowed", "ask /health with GET")
        return Reply(200, self._health())

    async def _take(self, scope: Message, receive: Receive, send: Send) -> None:
        """Read the body, call the app, and count both."""
        if self._in_flight >= self.max_in_flight or self._held >= self._options.max_held_bytes:
            raise RequestError(503, "too busy", "the server answers as many requests as it can; try again")
        self._in_flight += 1
        held = [0]
        try:
            body = await self._body(receive, held)
            if self._whole:
                await self._answer_whole(scope, body, send, held)
            else:
                await self._answer_stream(scope, body, receive, send)
        finally:
            self._in_flight -= 1
            self._hold(-held[0], held)

    def _hold(self, size: int, held: list[int]) -> None:
        held[0] += size
        self._held += size

    async def _body(self, receive: Receive, held: list[int]) -> bytes:
        """The whole body. Raises `RequestError` for one that is too long, or that does not come in time."""
        body = bytearray()
        timeout = asyncio.timeout(0 if self._closing else self._options.body_seconds)
        try:
            async with timeout:
                self._reading.add(timeout)
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RequestError(
                            400, "incomplete", "the connection was closed within the body; send it again"
                        )
                    piece: bytes = message.get("body", b"")
                    self._hold(len(piece), held)
                    body += piece
                    if len(body) > self._max_body:
                        detail = f"the body has more than {self._max_body} bytes; send less at once"
                        raise RequestError(413, "body too large", detail)
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError as error:
            if self._closing:
                raise _stopping() from error
            raise RequestError(408, "timeout", "the body came too slowly; try again") from error
        finally:
            self._reading.discard(timeout)

    async def _answer_whole(self, scope: Message, body: bytes, send: Send, held: list[int]) -> None:
        messages: list[Message] = []

        async def request() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def collect(message: Message) -> None:
            self._hold(len(message.get("body", b"")), held)
            messages.append(message)

        try:
            await self._app(scope, request, collect)
        except asyncio.CancelledError:  # the server ends, and this request was not answered in time
            raise _stopping() from None
        await self._send_messages(send, messages)

    async def _answer_stream(self, scope: Message, body: bytes, receive: Receive, send: Send) -> None:
        first = [{"type": "http.request", "body": body, "more_body": False}]
        begun = False

        async def request() -> Message:
            return first.pop() if first else await receive()

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, request, noted)
        except asyncio.CancelledError:
            if not begun:
                raise _stopping() from None

    async def _send(self, send: Send, reply: Reply, *, last: bool = False) -> None:
        charset = "" if reply.content_type == JSON else "; charset=utf-8"
        headers = {
            **self._headers,
            "content-type": reply.content_type + charset,
            "content-length": str(len(reply.body)),
            **({"connection": "close"} if last or self._closing else {}),
            **({"retry-after": "1"} if reply.status == 503 else {}),
        }
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        start = {"type": "http.response.start", "status": reply.status, "headers": encoded}
        await self._send_messages(send, [start, {"type": "http.response.body", "body": reply.body}])

    async def _send_messages(self, send: Send, messages: list[Message]) -> None:
        """Send a response in pieces. A client that stops reading is left: the server closes its
        connection.
        """
        start, *rest = messages
        await send(start)
        body = b"".join(message.get("body", b"") for message in rest)
        try:
            for at in range(0, max(len(body), 1), PIECE):
                piece, more = body[at : at + PIECE], at + PIECE < len(body)
                async with asyncio.timeout(self._options.send_seconds):
                    await send({"type": "http.response.body", "body": piece, "more_body": more})
        except TimeoutError:
            LOG.info("a client stopped reading its reply")


def _stopping() -> RequestError:
    return RequestError(503, "closing", "the server is being stopped; ask again when it runs")
