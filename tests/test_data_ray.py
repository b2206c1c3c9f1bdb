"""The Ray Data job on real Ray: a node dies, the driver dies, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers_llm import ROOT, FakeLLM
from helpers_ray import Asked, raylet_of, shard_rows, two_nodes, until_made
from test_data_run import CONFIG, rows, settings_for, start

from src_data.construction.construct import chain_key
from src_infer.shards import SHARDS

pytestmark = pytest.mark.ray
ITEMS = 150
IN_FLIGHT = 4
PER_SHARD = 15


async def start_job(settings: Sequence[str], *ray_settings: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "src_data.ray_job", CONFIG, *settings, f"ray.in_flight={IN_FLIGHT}"]
    command += [f"ray.per_shard={PER_SHARD}", "ray.object_store_mb=80", *ray_settings]
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=pipe, stderr=pipe)


def nothing_is_lost_or_doubled(folder: Path, before: dict[str, list[bytes]]) -> None:
    """Every chain is there once, and those that were on disk at the interruption are there unchanged."""
    lines = (folder / "runs/r/trajectories.jsonl").read_bytes().splitlines()
    found = {chain_key(json.loads(line)): line for line in lines}
    assert len(found) == len(lines) == ITEMS
    assert {row["status"] for row in rows(folder)} == {"finished"}
    assert {line for part in before.values() for line in part} <= set(lines)
    assert not (folder / "runs/r" / SHARDS).exists()
    conversations = json.loads((folder / "runs/r/conversations.json").read_text())
    assert len(conversations) == ITEMS


@pytest.fixture
def cluster() -> Iterator[Any]:
    with two_nodes() as made:
        yield made


def test_a_node_dies_in_the_middle(tmp_path: Path, cluster: Any) -> None:
    asked = Asked(at_once=IN_FLIGHT + 1)

    async def run() -> dict[str, list[bytes]]:
        async with FakeLLM(asked) as server:
            settings = settings_for(tmp_path, server.url, count=ITEMS)
            process = await start_job(settings, f"ray.address={cluster.address}")
            said = asyncio.create_task(process.communicate())
            await until_made(tmp_path / "runs/r", process, files=2, made=3)
            (worker,) = cluster.worker_nodes
            before = shard_rows(tmp_path / "runs/r")
            os.kill(raylet_of(worker), signal.SIGKILL)
            attempts: set[str] = set()
            while not said.done():
                attempts |= set(shard_rows(tmp_path / "runs/r"))
                await asyncio.sleep(0.05)
            assert process.returncode == 0, said.result()[1].decode()
            shards = Counter(name.partition("-")[0] for name in attempts)
            assert max(shards.values()) == 2, "no shard was made again: the killed node had no actor"
            return before

    before = asyncio.run(run())
    nothing_is_lost_or_doubled(tmp_path, before)
    again = sum(asked.begun.values()) - ITEMS
    assert set(asked.begun) == set(range(ITEMS))
    assert 0 < again <= 2 * IN_FLIGHT, "only what was in flight on the dead node is made again"
    manifest = json.loads((tmp_path / "runs/r/manifest.json").read_text())
    assert (manifest["ray"]["nodes_at_start"], manifest["ray"]["shards"]) == (2, ITEMS // PER_SHARD)


@pytest.mark.parametrize("goes_on", ["ray_job", "run"])
def test_the_driver_is_killed_and_the_run_goes_on(tmp_path: Path, goes_on: str) -> None:
    asked = Asked()

    async def run() -> dict[str, list[bytes]]:
        async with FakeLLM(asked) as server:
            settings = settings_for(tmp_path, server.url, count=ITEMS)
            process = await start_job(settings, "ray.actors=2")
            await until_made(tmp_path / "runs/r", process, files=2, made=3)
            family = listens_on_loopback_only(process.pid)
            before = shard_rows(tmp_path / "runs/r")
            process.kill()
            await process.communicate()
            await until_gone(family)
            last = await start_job(settings) if goes_on == "ray_job" else start(settings)
            _, err = await last.communicate()
            assert last.returncode == 0, err.decode()
            return before

    before = asyncio.run(run())
    nothing_is_lost_or_doubled(tmp_path, before)
    assert sum(asked.begun.values()) - ITEMS <= 4 * IN_FLIGHT  # two actors, and what they did while dying


def listens_on_loopback_only(pid: int) -> list[Any]:
    """The processes of a job; each port that one of them listens on is closed to the network."""
    from ray._private.process_watcher import psutil  # Ray brings its own

    family = psutil.Process(pid).children(recursive=True)
    ports = [
        connection.laddr
        for process in family
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert ports
    assert all(port.ip.removeprefix("::ffff:").startswith("127.") or port.ip == "::1" for port in ports)
    # Ray's agents tell a server that died with the driver, for a minute, before they end.
    return [process for process in family if "Agent" not in process.name()]


async def until_gone(family: Sequence[Any]) -> None:
    """A killed driver takes its Ray with it."""
    deadline = time.monotonic() + 60
    while left := [process for process in family if process.is_running() and process.status() != "zombie"]:
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.1)
