"""An evaluation on real Ray: one of two nodes is killed, and the rows are those of an uninterrupted run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers_llm import ROOT, FakeLLM, write_items
from helpers_ray import Asked, raylet_of, shard_rows, two_nodes, until_made

from src_eval.found_files import load_evaluation
from src_eval.run import plan
from src_infer.shards import SHARDS

ITEMS = 60
IN_FLIGHT = 4
PER_SHARD = 10
METHODS = ("rearag", "naive_rag")


def arguments(folder: Path, url: str, name: str, *ray: str) -> list[str]:
    questions, corpus = write_items(folder, ITEMS)
    servers = f"servers=[agent.url={url}, reader.url={url}, 'retriever=toy:{corpus}', in_flight={IN_FLIGHT}]"
    return [
        "configs/eval/smoke.yaml",
        "infer=configs/infer/gpu.yaml",
        f"runs_dir={folder}/runs",
        f"name={name}",
        f"methods=[{', '.join(METHODS)}]",
        f"datasets=[{{name: items, path: {questions}}}]",
        servers,
        *ray,
    ]


async def start(given: list[str]) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "src_eval.run", *given]
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=pipe, stderr=pipe)


def rows(run: Path) -> dict[str, dict[str, Any]]:
    """The rows of a run by question, each once, without the seconds that they took."""
    lines = [json.loads(line) for line in (run / "trajectories.jsonl").read_bytes().splitlines()]
    found = {row["question"]["id"]: row for row in lines}
    assert len(found) == len(lines) == ITEMS
    for row in found.values():
        for timed in (row, *row["steps"]):
            del timed["seconds"]
    return found


@pytest.mark.ray
def test_one_of_two_nodes_dies_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    asked = Asked(at_once=IN_FLIGHT + 1)

    async def killed(address: str, worker: int) -> dict[str, list[bytes]]:
        async with FakeLLM(asked) as server:
            ray = [f"ray.address={address}", f"ray.per_shard={PER_SHARD}", f"ray.in_flight={IN_FLIGHT}"]
            process = await start(arguments(tmp_path, server.url, "k", *ray))
            said = asyncio.create_task(process.communicate())
            run = tmp_path / f"runs/eval-k-items-{METHODS[0]}"
            await until_made(run, process, files=2, made=3)
            before = shard_rows(run)
            os.kill(worker, signal.SIGKILL)
            attempts: set[str] = set()
            while not said.done():
                attempts |= set(shard_rows(run))
                await asyncio.sleep(0.05)
            assert process.returncode == 0, said.result()[1].decode()
            shards = Counter(name.partition("-")[0] for name in attempts)
            assert max(shards.values()) == 2, "no shard was made again: the killed node had no actor"
            return before

    async def uninterrupted() -> None:
        async with FakeLLM(Asked(0.0)) as server:
            process = await start(arguments(tmp_path, server.url, "whole"))
            _, err = await process.communicate()
            assert process.returncode == 0, err.decode()

    with two_nodes() as cluster:
        (worker,) = cluster.worker_nodes
        before = asyncio.run(killed(cluster.address, raylet_of(worker)))
    begun = Counter(asked.begun)
    asyncio.run(uninterrupted())
    for method in METHODS:
        run, whole = (tmp_path / f"runs/eval-{name}-items-{method}" for name in ("k", "whole"))
        assert rows(run) == rows(whole)
        assert not (run / SHARDS).exists()
        assert not (run / "failed.jsonl").exists()
        manifest = json.loads((run / "manifest.json").read_text())
        assert manifest["ray"]["shards"] == ITEMS // PER_SHARD
    lines = set((tmp_path / f"runs/eval-k-items-{METHODS[0]}/trajectories.jsonl").read_bytes().splitlines())
    assert {line for part in before.values() for line in part} <= lines
    assert set(begun) == set(range(ITEMS))
    assert 0 < begun.total() - ITEMS <= 2 * IN_FLIGHT, (
        "only what was in flight on the dead node is made again"
    )


def test_the_settings_of_ray_choose_the_program_of_a_run(tmp_path: Path) -> None:
    without, with_ray = (
        [job.command for job in plan(load_evaluation(Path(given[0]), given[1:]))]
        for given in (
            arguments(tmp_path, "http://127.0.0.1:9/v1", "k", *ray)
            for ray in ((), ("ray.address=10.0.0.5:6379", "ray.actors=2"))
        )
    )
    assert {command[2] for command in without} == {"src_infer.run"}
    assert {command[2] for command in with_ray} == {"src_infer.ray_job"}
    assert all(command[-2:] == ["ray.address=10.0.0.5:6379", "ray.actors=2"] for command in with_ray)
    assert [command[3:] for command in without] == [command[3:-2] for command in with_ray]
