"""The live page under a real uvicorn, in the loop of the test, and what a visitor without a browser does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from helpers_llm import PATIENCE, FakeLLM, settings_for, step_for

from src_core.config import load_config
from src_core.http_server import bind
from src_core.http_serving import serve_app
from src_demo.app import guarded_app
from src_demo.config import DemoConfig

GPU = Path("configs/infer/gpu.yaml")


class Gate:
    """A handler for `FakeLLM` that answers only as often as it is let through."""

    def __init__(self) -> None:
        self._passes = asyncio.Semaphore(0)

    async def __call__(self, body: dict[str, Any]) -> str:
        await self._passes.acquire()
        return step_for(body)

    def let(self, count: int) -> None:
        """Let `count` more requests be answered."""
        for _ in range(count):
            self._passes.release()


class Seen(NamedTuple):
    """One event as a visitor reads it."""

    kind: str
    data: dict[str, Any]


class Visitor:
    """Speaks to the page's server; `headers` go with every request."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def get(self, path: str, **headers: str) -> tuple[int, Any, dict[str, str]]:
        async with self._session.get(self.url + path, headers=headers) as reply:
            text = await reply.text()
            is_json = reply.content_type == "application/json"
            return reply.status, json.loads(text) if is_json else text, dict(reply.headers)

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """Status and reply, of a request that is not a stream."""
        async with self._session.post(self.url + path, **_sent(body, headers)) as reply:
            return reply.status, await reply.json()

    @asynccontextmanager
    async def run(self, question: str, **more: Any) -> AsyncIterator[AsyncIterator[Seen]]:
        """The events of a run; leaving the block is leaving the page."""
        headers = more.pop("headers", {})
        body = {"question": question, **more}
        async with self._session.post(self.url + "/api/runs", **_sent(body, headers)) as reply:
            assert (reply.status, reply.content_type) == (200, "text/event-stream"), await reply.text()
            yield _events(reply.content)

    async def all_events(self, question: str, **more: Any) -> list[Seen]:
        async with self.run(question, **more) as events:
            return [event async for event in events]

    async def idle(self) -> None:
        """Wait until no run is in flight."""
        async with asyncio.timeout(PATIENCE):
            while (await self.get("/api/status"))[1]["in_flight"]:
                await asyncio.sleep(0.02)


def _sent(body: Any, headers: dict[str, str]) -> dict[str, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return {"data": data, "headers": {"Content-Type": "application/json", **headers}}


async def _events(stream: aiohttp.StreamReader) -> AsyncIterator[Seen]:
    while block := await stream.readuntil(b"\n\n"):
        if block.startswith(b":"):
            continue
        kind, data, *rest = block.decode().split("\n")
        assert rest == ["", ""]
        yield Seen(kind.removeprefix("event: "), json.loads(data.removeprefix("data: ")))


def demo_config(folder: Path, url: str, *changes: str, **more: object) -> DemoConfig:
    """A page over three items, the model at `url` and a toy retriever; `answer_from` the reader."""
    settings = settings_for(folder, url, count=3, **{"answer_from": "reader", **more})
    return load_config(DemoConfig, GPU, [*settings, *changes])


@asynccontextmanager
async def served(config: DemoConfig, *, token: str | None = None, port: int = 0) -> AsyncIterator[str]:
    """The address of a page that is served meanwhile."""
    listener = bind("127.0.0.1", port)
    listener.listen(64)
    server = serve_app(guarded_app(config, token=token), listener, config.serving, grace_seconds=1)
    serving = asyncio.create_task(server.serve())
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def visited(config: DemoConfig, *, token: str | None = None) -> AsyncIterator[Visitor]:
    """A visitor of a page that is served meanwhile."""
    async with served(config, token=token) as url, aiohttp.ClientSession() as session:
        yield Visitor(url, session)


@asynccontextmanager
async def gated(folder: Path, *changes: str) -> AsyncIterator[tuple[Visitor, Gate, FakeLLM]]:
    """A visitor of a page whose model answers only when it is let through."""
    gate = Gate()
    async with FakeLLM(gate) as llm, visited(demo_config(folder, llm.url, *changes)) as visitor:
        yield visitor, gate, llm
        gate.let(100)
