"""200 clients at once: each gets its own passages from the retriever, and its own page from the live page."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
from helpers_demo import demo_config, served
from helpers_llm import PATIENCE, FakeLLM, step_for
from test_retrieval_server import ROWS, Server, World, server, world  # noqa: F401 (fixtures)

CLIENTS = 200
SEARCHES = 3  # of each client, one after the other on one connection


async def visit(url: str, at: int) -> list[str]:
    """The first passage of each search of one client."""
    found = []
    limit = aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(timeout=limit) as session:
        for turn in range(SEARCHES):
            body = {"query": f"thing{(at + 7 * turn) % ROWS}", "top_n": 2}
            async with session.post(f"{url}/search", json=body) as reply:
                assert reply.status == 200, await reply.text()
                found.append((await reply.json())[0]["id"])
    return found


def test_200_clients_of_the_retriever_are_answered(server: Server) -> None:  # noqa: F811
    async def run() -> list[list[str]]:
        return await asyncio.gather(*(visit(server.url, at) for at in range(CLIENTS)))

    found = asyncio.run(run())
    assert found == [[f"d{(at + 7 * turn) % ROWS}" for turn in range(SEARCHES)] for at in range(CLIENTS)]
    assert server.call("/health").status == 200


def test_200_visitors_of_the_live_page_are_answered(tmp_path: Path) -> None:
    async def step(body: dict[str, Any]) -> str:
        return step_for(body)

    async def look(url: str, session: aiohttp.ClientSession) -> tuple[int, int]:
        statuses = []
        for path in ("/", "/api/status"):
            async with session.get(url + path) as reply:
                statuses.append(reply.status)
                assert await reply.read()
        return statuses[0], statuses[1]

    async def run() -> list[tuple[int, int]]:
        connector = aiohttp.TCPConnector(limit=CLIENTS)
        async with (
            FakeLLM(step) as llm,
            served(demo_config(tmp_path, llm.url)) as url,
            aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(PATIENCE)) as session,
        ):
            return await asyncio.gather(*(look(url, session) for _ in range(CLIENTS)))

    assert asyncio.run(run()) == [(200, 200)] * CLIENTS
