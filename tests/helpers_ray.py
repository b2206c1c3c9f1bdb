"""Real Ray for the tests: a cluster of two nodes on loopback, the model that its actors ask, and the rows
that a job has on disk.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from helpers_llm import item_of, step_for

from src_infer.shards import SHARDS

PATIENCE = 240.0  # on a busy machine a cluster takes its time
STARTS = 4
_SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


class Asked:
    """The scripted model of `FakeLLM`, slow enough to be interrupted; it counts how often each item was
    begun. The first replies are held until `at_once` requests are open: more than one actor sends means that
    two of them work, however long the second one takes to start.
    """

    def __init__(self, pause: float = 0.1, *, at_once: int = 1) -> None:
        self.begun: Counter[int] = Counter()
        self._pause, self._at_once, self._open = pause, at_once, 0
        self._go = asyncio.Event()

    async def __call__(self, body: dict[str, Any]) -> str:
        text = step_for(body)
        if text.startswith("Thought 1"):
            self.begun[item_of(body)] += 1
        self._open += 1
        if self._open >= self._at_once:
            self._go.set()
        try:
            await self._go.wait()
            await asyncio.sleep(self._pause)
        finally:
            self._open -= 1
        return text


@contextmanager
def two_nodes() -> Iterator[Any]:
    """A head and a worker node, each with a raylet, on loopback. A dead one is noticed within seconds."""
    os.environ.update(_SETTINGS)
    made = _started()
    try:
        yield made
    finally:
        made.shutdown()
        for name in _SETTINGS:
            os.environ.pop(name, None)


def _started() -> Any:
    """Ray gives a node 30 seconds to start, which a busy machine may not have: then it is tried again."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "node_ip_address": "127.0.0.1"}
    health = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 1000}
    head = {**node, "include_dashboard": False, "_system_config": health}
    for left in reversed(range(STARTS)):
        made = Cluster()
        try:
            made.add_node(**head)
            made.add_node(**node)
        except Exception as error:
            made.shutdown()
            if not left or "timed out during startup" not in str(error):
                raise
        else:
            return made
    raise AssertionError


def raylet_of(node: Any) -> int:
    """The PID of a node's raylet."""
    return int(node.all_processes["raylet"][0].process.pid)


def shard_rows(run: Path) -> dict[str, list[bytes]]:
    """The whole lines of each shard file of a run; the job removes the files when it ends."""
    found = {}
    for path in (run / SHARDS).glob("*.jsonl"):
        with suppress(FileNotFoundError):
            found[path.name] = path.read_bytes().rpartition(b"\n")[0].splitlines()
    return found


async def until_made(run: Path, process: asyncio.subprocess.Process, *, files: int, made: int) -> None:
    """Wait until `files` shard files of a run hold `made` rows each."""
    deadline = time.monotonic() + PATIENCE
    while sum(len(lines) >= made for lines in shard_rows(run).values()) < files:
        assert process.returncode is None, (await process.communicate())[1].decode()
        assert time.monotonic() < deadline, "nothing is made"
        await asyncio.sleep(0.05)
