"""The asynchronous runner: many pieces of work in flight, one appended row each, resumable after `kill -9`.

`in_flight` workers take questions (or trajectories to construct) from one iterator, and the requests of each
stay with one server of each setting (`replicas`); a single writer thread
appends rows and syncs them in groups, so that the event loop never waits for the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

from src_core.jsonl import JsonlWriter
from src_core.replicas import one_piece_of_work
from src_core.types import to_json

Work = TypeVar("Work")
Row = TypeVar("Row")


async def run_all(
    todo: Iterable[Work],
    *,
    answer: Callable[[Work], Awaitable[Row]],
    in_flight: int,
    rows: Path,
    on_row: Callable[[Row], None],
) -> None:
    """Answer all of `todo`, at most `in_flight` at once, appending each row (a record of JSON data, as a
    trajectory) to `rows` as it ends.

    `on_row` is called once the row is on disk. Raises the writer's error (`UserError` on a full disk) and
    `ServerGoneError` after cancelling the rest, which leaves no rows; boundary errors are recorded in rows.
    """
    queue: asyncio.Queue[Row | None] = asyncio.Queue(maxsize=4 * in_flight)
    pending = iter(todo)

    async def draw() -> None:
        for work in pending:
            with one_piece_of_work():
                row = await answer(work)
            await queue.put(row)

    try:
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(_write(queue, rows=rows, on_row=on_row))
            workers = [group.create_task(draw()) for _ in range(in_flight)]
            await asyncio.gather(*workers)
            await queue.put(None)
            await writer
    except* Exception as failed:  # noqa: BLE001 - unwraps the group; every error is raised
        raise failed.exceptions[0] from None


async def _write(queue: asyncio.Queue[Row | None], *, rows: Path, on_row: Callable[[Row], None]) -> None:
    """Take all queued rows, write and sync them in a thread, report them."""
    with JsonlWriter(rows) as writer:
        ended = False
        try:
            while not ended:
                batch = [await queue.get(), *_queued(queue)]
                done = [row for row in batch if row is not None]
                ended = len(done) < len(batch)
                if done:
                    await _whole(asyncio.to_thread(writer.write_many, [to_json(row) for row in done]))
                for row in done:
                    on_row(row)
        except asyncio.CancelledError:  # an interrupted run keeps its finished rows
            writer.write_many([to_json(row) for row in _queued(queue) if row is not None])
            raise


def _queued(queue: asyncio.Queue[Row | None]) -> list[Row | None]:
    return [queue.get_nowait() for _ in range(queue.qsize())]


async def _whole(work: Awaitable[None]) -> None:
    """Await `work` to its end even when cancelled: its thread continues anyway and needs the open file."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
