"""Constructs the trajectories of shards in a separate process with its own runtime: an actor of `ray_job`.

This module does not depend on Ray. Several threads may call it at once: all trajectories share one event loop
and one limit, so that the slow last trajectories of a shard overlap with the next shard.
"""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from src_core.errors import UserError
from src_core.served import Servers
from src_core.types import Trajectory, question_from_json, to_json
from src_data.config import BuildConfig
from src_data.construction.build import open_construction
from src_data.construction.construct import Chain, make_chain
from src_data.construction.shards import finished_in_shard, shard_file
from src_infer.prompts import pinned_digest
from src_infer.runner import run_all

T = TypeVar("T")
Shard = dict[str, Any]
"""`shard` (its number), `questions` (JSON, one for each trajectory), `numbers` (of the trajectories)."""


@dataclass(frozen=True, slots=True)
class Job:
    """The settings of every maker. `root` is the repository and `run_dir` the run directory, the same on all
    nodes; `config.runtime.in_flight` trajectories are in flight in each maker.
    """

    root: str
    run_dir: str
    config: BuildConfig
    prompts_digest: str


@dataclass(frozen=True, slots=True)
class ShardReport:
    """The result of a shard: `error` is a problem that the user must correct (a full disk), "" for none."""

    shard: int
    made: int = 0
    held: int = 0
    failed: int = 0
    error: str = ""


def cut_shards(chains: Iterable[Chain], size: int) -> Iterator[Shard]:
    """`chains` in their order, `size` per shard."""
    rest = iter(chains)
    number = 0
    while part := list(islice(rest, size)):
        yield {
            "shard": number,
            "questions": [to_json(chain.question) for chain in part],
            "numbers": [chain.number for chain in part],
        }
        number += 1


class ShardMaker:
    """A teacher and a runtime that process shards."""

    def __init__(self, job: Job) -> None:
        """Connect. Raises `UserError` when the prompts on this node are not those of the run, `BoundaryError`
        when a server does not answer.
        """
        os.chdir(job.root)  # relative paths in the settings are relative to the repository
        pinned_digest(job.prompts_digest)
        self._run_dir = Path(job.run_dir)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._opened = open_construction(job.config, servers=Servers())
        self._teacher, self._runtime = self._wait(self._opened.__aenter__())
        self._in_flight = job.config.runtime.in_flight
        self._gate = asyncio.Semaphore(self._in_flight)

    def __call__(self, shard: Shard) -> dict[str, Any]:
        """Construct the missing trajectories of `shard`; each finished one is on disk at once. Returns the
        fields of a `ShardReport`.
        """
        try:
            return asdict(self._wait(self._make(shard)))
        except UserError as error:
            # A value: the other process could not distinguish the exception from a defect.
            return asdict(ShardReport(int(shard["shard"]), error=str(error)))

    def close(self) -> None:
        """Release all connections."""
        self._wait(self._opened.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _make(self, shard: Shard) -> ShardReport:
        number = int(shard["shard"])
        chains = list(_chains(shard))
        done = await asyncio.to_thread(finished_in_shard, self._run_dir, number)
        todo = [chain for chain in chains if chain.key not in done]
        failed = 0

        def on_row(row: Trajectory) -> None:
            nonlocal failed
            failed += row.status.retryable

        async def make(chain: Chain) -> Trajectory:
            async with self._gate:
                return await make_chain(chain, self._teacher, self._runtime)

        # A name for each attempt: a restarted actor has the identity of the one that died.
        rows = shard_file(self._run_dir, number, uuid.uuid4().hex[:12])
        if todo:
            in_flight = min(self._in_flight, len(todo))
            await run_all(todo, answer=make, in_flight=in_flight, rows=rows, on_row=on_row)
        return ShardReport(number, len(todo), len(chains) - len(todo), failed)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _chains(shard: Shard) -> Iterator[Chain]:
    for line, number in zip(shard["questions"], shard["numbers"], strict=True):
        yield Chain(question_from_json(line), int(number))
