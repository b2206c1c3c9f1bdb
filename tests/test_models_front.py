"""What stands before llama.cpp, with a fake in its place on a socket of the file system."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from helpers_http import HELLO, asked, request, status

from src_core.http_server import HttpOptions, bind
from src_core.http_serving import serve_app
from src_models.llama_front import connected, guarded_front


class Inner:
    """Answers as llama.cpp does, and remembers what it was sent."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.left = asyncio.Event()
        self.streaming = asyncio.Event()

    async def echo(self, request: web.Request) -> web.Response:
        body = await request.text()
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen = {"method": request.method, "path": request.raw_path, "body": body, **headers}
        self.seen.append(seen)
        return web.json_response(seen, status=400 if "bad" in body else 200, headers={"Server": "llama.cpp"})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        try:
            for number in range(10_000):
                await reply.write(f"data: {number}\n\n".encode())
                self.streaming.set()
                await asyncio.sleep(0.02)
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise
        return reply


@asynccontextmanager
async def front(folder: Path, inner: Inner) -> AsyncIterator[int]:
    """The port of a front before `inner`."""
    app = web.Application()
    app.router.add_route("*", "/stream", inner.stream)
    app.router.add_route("*", "/{path:.*}", inner.echo)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    path = folder / "s"
    await web.UnixSite(runner, str(path)).start()
    listener = bind("127.0.0.1", 0)
    listener.listen(64)
    options = HttpOptions(hosts=("node.example",))
    async with connected(path) as session:
        server = serve_app(
            guarded_front(session, host="127.0.0.1", options=options), listener, options, grace_seconds=1
        )
        port = int(listener.getsockname()[1])
        serving = asyncio.create_task(server.serve())
        try:
            yield port
        finally:
            server.should_exit = True
            await serving
            await runner.cleanup()


def test_requests_and_replies_are_passed_on_as_they_are(tmp_path: Path) -> None:
    inner = Inner()

    async def play() -> list[bytes]:
        sent = [
            request(
                "/v1/x%20y?a=1&b=%2F", b'{"a": 1}', Authorization="Bearer k", Content_Type="application/json"
            ),
            request("/v1/models", method="GET", Host="node.example:80"),
            request("/v1/chat", b"bad"),
            request("/v1/chat", b"x" * 300_000),
        ]
        async with front(tmp_path, inner) as port:
            return [await asked(port, data) for data in sent]

    replies = asyncio.run(play())
    assert [status(reply) for reply in replies] == [200, 200, 400, 200]
    first = json.loads(replies[0].partition(b"\r\n\r\n")[2])
    assert (first["method"], first["path"], first["body"]) == ("POST", "/v1/x%20y?a=1&b=%2F", '{"a": 1}')
    assert (first["authorization"], first["content-type"]) == ("Bearer k", "application/json")
    assert b"llama.cpp" in replies[0]
    assert len(inner.seen[3]["body"]) == 300_000


def test_foreign_names_and_pages_reach_no_model(tmp_path: Path) -> None:
    inner = Inner()

    async def play() -> list[int]:
        sent = [
            request("/v1/models", method="GET", Host="rebind.test"),
            request("/v1/chat", b"{}", Host="rebind.test", Origin="http://rebind.test"),
            request("/v1/chat", b"{}", Origin="http://rebind.test"),
            request("/health", method="GET", Host="rebind.test"),
            request("http://rebind.test/v1/models", method="GET"),
            request("*", method="OPTIONS"),
            HELLO,
        ]
        async with front(tmp_path, inner) as port:
            return [status(await asked(port, data)) for data in sent]

    assert asyncio.run(play()) == [403, 403, 403, 403, 400, 400, 200]
    assert inner.seen == []


def test_a_stream_arrives_piece_by_piece_and_a_client_who_leaves_ends_it(tmp_path: Path) -> None:
    async def play() -> bytes:
        inner = Inner()
        async with front(tmp_path, inner) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request("/stream", b"{}"))
            got = await asyncio.wait_for(reader.readuntil(b"data: 2\n\n"), 5)
            assert inner.streaming.is_set()
            writer.close()
            await asyncio.wait_for(inner.left.wait(), 5)
            return got

    assert b"text/event-stream" in asyncio.run(play())


def test_a_server_that_died_is_502(tmp_path: Path) -> None:
    async def play() -> bytes:
        async with connected(tmp_path / "nothing") as session:
            options = HttpOptions()
            listener = bind("127.0.0.1", 0)
            listener.listen(4)
            port = int(listener.getsockname()[1])
            app = guarded_front(session, host="127.0.0.1", options=options)
            server = serve_app(app, listener, options, grace_seconds=1)
            serving = asyncio.create_task(server.serve())
            reply = await asked(port, request("/v1/chat", b"{}"))
            server.should_exit = True
            await serving
            return reply

    reply = asyncio.run(play())
    assert status(reply) == 502
    assert b"llama.cpp did not answer" in reply
