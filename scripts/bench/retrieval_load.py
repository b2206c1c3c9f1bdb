"""Load on a retriever server: windows of requests by some clients at once, and what they add up to."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from typing import NamedTuple

import aiohttp

SEARCHED = tuple(f'retriever_batch_size_count{{stage="{name}"}}' for name in ("dense", "sparse"))


class Window(NamedTuple):
    """One measured stretch of load."""

    queries: int
    seconds: float
    cpu_seconds: float
    batches: float
    latencies: list[float]


async def window(
    session: aiohttp.ClientSession, url: str, *, texts: list[str], clients: int, seconds: float, top_n: int
) -> Window:
    """`clients` callers, each asking its next question as soon as the last is answered."""
    source = itertools.cycle(texts)
    latencies: list[float] = []
    before = await counters(session, url)
    begin = time.perf_counter()

    async def client() -> None:
        while time.perf_counter() - begin < seconds:
            body = {"query": next(source), "top_n": top_n, "return_score": True}
            asked = time.perf_counter()
            async with session.post(url + "/search", json=body) as reply:
                reply.raise_for_status()
                await reply.read()
            latencies.append(time.perf_counter() - asked)

    await asyncio.gather(*(client() for _ in range(clients)))
    elapsed = time.perf_counter() - begin
    after = await counters(session, url)
    cpu, batches = (after[at] - before[at] for at in (0, 1))
    return Window(len(latencies), elapsed, cpu, batches, latencies)


async def counters(session: aiohttp.ClientSession, url: str) -> tuple[float, float]:
    """CPU seconds of the server process, and batches of vector searches so far (of word searches, where it
    has no vectors).
    """
    async with session.get(url + "/metrics") as reply:
        rows = dict(line.rsplit(" ", 1) for line in (await reply.text()).splitlines() if line[:1] != "#")
    batches = next((float(rows[name]) for name in SEARCHED if name in rows), 0.0)
    return float(rows["retriever_cpu_seconds"]), batches


def summary(windows: list[Window]) -> dict[str, float]:
    """Medians over the windows; latencies pooled."""
    pooled = sorted(latency for one in windows for latency in one.latencies)
    return {
        "cpu_ms": round(statistics.median(1000 * one.cpu_seconds / one.queries for one in windows), 3),
        "qps": round(statistics.median(one.queries / one.seconds for one in windows), 2),
        "p50_ms": round(1000 * pooled[len(pooled) // 2], 2),
        "p99_ms": round(1000 * pooled[int(len(pooled) * 0.99)], 2),
        "per_batch": round(sum(one.queries for one in windows) / sum(one.batches for one in windows), 2),
    }
