"""What stands before llama.cpp's HTTP server: the rules of all our servers.

llama.cpp has no list of names by which it may be asked: a web page whose name is pointed at 127.0.0.1 could
use the model. So it listens on a socket in a folder that this user alone can open, and the address that
others know belongs to this process, which passes requests on.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from yarl import URL

from src_core.http_app import GuardedApp, Message, Receive, Send
from src_core.http_guard import Guard
from src_core.http_server import HttpOptions, RequestError, bind, start_listening
from src_core.http_serving import serve_app

OF_ONE_CONNECTION = frozenset((b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
NOT_PASSED_ON = OF_ONE_CONNECTION | {b"host", b"content-length", b"expect"}
GRACE_SECONDS = 2
MAX_BODY_BYTES = 64_000_000


def serve_front(path: Path, *, host: str, port: int, options: HttpOptions) -> None:
    """Serve what llama.cpp serves on the socket at `path`, until SIGTERM or SIGINT. Raises `UserError` where
    the port was taken meanwhile.
    """
    listener = bind(host, port)

    async def serve() -> None:
        async with connected(path) as session:
            app = guarded_front(session, host=host, options=options)
            server = serve_app(app, listener, options, grace_seconds=GRACE_SECONDS)
            for number in (signal.SIGTERM, signal.SIGINT):  # before and after uvicorn has its own handlers
                signal.signal(number, lambda *_: setattr(server, "should_exit", True))
            start_listening(listener, port)  # last: who is answered may send a signal
            await server.serve()

    asyncio.run(serve())


def guarded_front(session: aiohttp.ClientSession, *, host: str, options: HttpOptions) -> GuardedApp:
    """The app for `session`, which is connected to llama.cpp. It checks the token itself."""
    guard = Guard(
        host, options.hosts, token=None, needs_token=lambda path: path != "/health", only_json=False
    )
    return GuardedApp(
        Front(session),
        guard=guard,
        options=options,
        max_body_bytes=MAX_BODY_BYTES,
        health=lambda: b'{"status":"ok"}',
        headers={},
        whole=False,
    )


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A session that speaks to the server on the socket at `path`, without a limit of time."""
    async with aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(path=str(path), limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
    ) as session:
        yield session


class Front:
    """Passes requests on and replies back, piece by piece. A client that leaves ends its request."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI) whose body is complete."""
        body = (await receive())["body"]
        passed = asyncio.create_task(self._pass(scope, body, send))
        gone = asyncio.create_task(_until_gone(receive))
        try:
            await asyncio.wait({passed, gone}, return_when=asyncio.FIRST_COMPLETED)
            if passed.done():
                passed.result()
        finally:
            passed.cancel()
            gone.cancel()

    async def _pass(self, scope: Message, body: bytes, send: Send) -> None:
        if not scope["raw_path"].startswith(b"/"):
            raise RequestError(400, "bad request", "the target of a request must be a path")
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        url = URL("http://localhost" + (scope["raw_path"] + query).decode("latin-1"), encoded=True)
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in scope["headers"]
            if name not in NOT_PASSED_ON
        ]
        begun = False
        try:
            async with self._session.request(
                scope["method"], url, data=body or None, headers=headers, allow_redirects=False
            ) as reply:
                kept = [pair for pair in reply.raw_headers if pair[0].lower() not in OF_ONE_CONNECTION]
                await send({"type": "http.response.start", "status": reply.status, "headers": kept})
                begun = True
                async for piece in reply.content.iter_any():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        except aiohttp.ClientError as error:
            if begun:
                raise
            detail = f"llama.cpp did not answer ({type(error).__name__}); see the log of this server"
            raise RequestError(502, "no answer", detail) from error


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
