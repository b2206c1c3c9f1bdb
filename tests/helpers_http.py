"""A small app behind the guard of all our servers, under the real server, and a client on bare sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from src_core.http_app import GuardedApp, Message, Receive, Send
from src_core.http_guard import Guard
from src_core.http_server import HttpOptions, bind
from src_core.http_serving import BoundedServer, serve_app

MAX_BODY = 100_000
HELLO = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF = b'POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{"half'


class App:
    """Answers with the size of the body, after `gate` is set; counts its calls."""

    def __init__(self, reply: bytes = b"") -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.calls = 0
        self._reply = reply

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.calls += 1
        body = (await receive())["body"]
        await self.gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-app", b"1")]})
        await send({"type": "http.response.body", "body": self._reply or str(len(body)).encode()})


class Running(NamedTuple):
    """A served app."""

    port: int
    app: App
    server: BoundedServer


@asynccontextmanager
async def running(
    app: App, *, token: str | None = None, host: str = "127.0.0.1", grace: int = 1, **options: Any
) -> AsyncIterator[Running]:
    """The app, served meanwhile."""
    chosen = HttpOptions(**options)
    listener = bind(host, 0)
    listener.listen(1024)
    guard = Guard(
        host, chosen.hosts, token=token, needs_token=lambda path: path != "/health", only_json=False
    )
    guarded = GuardedApp(
        app,
        guard=guard,
        options=chosen,
        max_body_bytes=MAX_BODY,
        health=lambda: b'{"status":"healthy"}',
        headers={},
        whole=True,
    )
    server = serve_app(guarded, listener, chosen, grace_seconds=grace)
    port = int(listener.getsockname()[1])
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        yield Running(port, app, server)
    finally:
        app.gate.set()
        server.should_exit = True
        await serving


async def opened(port: int, data: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that has sent `data`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 26)
    writer.write(data)
    await writer.drain()
    return reader, writer


async def asked(port: int, data: bytes, *, seconds: float = 10.0) -> bytes:
    """The reply to `data`, b"" where the connection is closed without one; then the client leaves."""
    try:
        reader, writer = await opened(port, data)
    except ConnectionError:
        return b""
    try:
        async with asyncio.timeout(seconds):
            return await _reply(reader, head_only=data.startswith(b"HEAD"))
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def _reply(reader: asyncio.StreamReader, *, head_only: bool) -> bytes:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        sizes = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
        if sizes and not head_only:
            return head + await reader.readexactly(int(sizes[0].split()[1]))
        return head + (await reader.readuntil(b"0\r\n\r\n") if b"chunked" in head else b"")
    except asyncio.IncompleteReadError as error:
        return error.partial


def status(reply: bytes) -> int:
    """The status of a reply, 0 where there is none."""
    return int(reply.split()[1]) if reply else 0


def request(path: str = "/x", body: bytes = b"", method: str = "POST", **headers: str) -> bytes:
    """A request; `Host` is localhost unless it is given."""
    given = {"Host": "localhost", "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body
