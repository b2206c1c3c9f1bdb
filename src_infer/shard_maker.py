"""Makes the trajectories of shards in a separate process with its own runtime: an actor of a Ray job
(`on_ray`).

This module does not depend on Ray. Several threads may call it at once: all trajectories share one event loop
and one limit, so that the slow last trajectories of a shard overlap with the next shard.
"""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from src_core.errors import UserError
from src_core.rundir import RowKey
from src_core.types import Trajectory
from src_infer.prompts import pinned_digest
from src_infer.runner import run_all
from src_infer.shards import finished_in_shard, shard_file

T = TypeVar("T")
Shard = dict[str, Any]
"""`shard` (its number), `work` (JSON, one line for each trajectory), `keys` (of the trajectories)."""
Make = Callable[[bytes], Awaitable[Trajectory]]
"""From a line of work to its trajectory."""


class Piece(NamedTuple):
    """One trajectory to make: its key in the run directory, and what a `Make` needs, as JSON."""

    key: str
    line: bytes


@dataclass(frozen=True, slots=True)
class Job:
    """The settings of every maker, which are sent to it. `root` is the repository and `run_dir` the run
    directory, the same on all nodes; `in_flight` trajectories are in flight in each maker. `opened` connects
    to the servers and gives what makes a trajectory until it is closed; `key` is that of a row.
    """

    root: str
    run_dir: str
    in_flight: int
    prompts_digest: str
    opened: Callable[[], AbstractAsyncContextManager[Make]]
    key: RowKey


@dataclass(frozen=True, slots=True)
class ShardReport:
    """The result of a shard: `error` is a problem that the user must correct (a full disk), "" for none."""

    shard: int
    made: int = 0
    held: int = 0
    failed: int = 0
    error: str = ""


def cut_shards(work: Iterable[Piece], size: int) -> Iterator[Shard]:
    """`work` in its order, `size` pieces per shard."""
    rest = iter(work)
    number = 0
    while part := list(islice(rest, size)):
        yield {
            "shard": number,
            "work": [piece.line for piece in part],
            "keys": [piece.key for piece in part],
        }
        number += 1


class ShardMaker:
    """Processes shards with the servers that it is connected to."""

    def __init__(self, job: Job) -> None:
        """Connect. Raises `UserError` when the prompts on this node are not those of the run, `BoundaryError`
        when a server does not answer.
        """
        os.chdir(job.root)  # relative paths in the settings are relative to the repository
        pinned_digest(job.prompts_digest)
        self._run_dir, self._key = Path(job.run_dir), job.key
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._opened = job.opened()
        self._make_row = self._wait(self._opened.__aenter__())
        self._in_flight = job.in_flight
        self._gate = asyncio.Semaphore(self._in_flight)

    def __call__(self, shard: Shard) -> dict[str, Any]:
        """Make the missing trajectories of `shard`; each finished one is on disk at once. Returns the fields
        of a `ShardReport`.
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
        pieces = [Piece(str(key), line) for key, line in zip(shard["keys"], shard["work"], strict=True)]
        done = await asyncio.to_thread(finished_in_shard, self._run_dir, number, key=self._key)
        todo = [piece for piece in pieces if piece.key not in done]
        failed = 0

        def on_row(row: Trajectory) -> None:
            nonlocal failed
            failed += row.status.retryable

        async def make(piece: Piece) -> Trajectory:
            async with self._gate:
                return await self._make_row(piece.line)

        # A name for each attempt: a restarted actor has the identity of the one that died.
        rows = shard_file(self._run_dir, number, uuid.uuid4().hex[:12])
        if todo:
            in_flight = min(self._in_flight, len(todo))
            await run_all(todo, answer=make, in_flight=in_flight, rows=rows, on_row=on_row)
        return ShardReport(number, len(todo), len(pieces) - len(todo), failed)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
