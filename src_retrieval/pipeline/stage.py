"""One stage of a pipeline: a queue, a thread, and `run(list) -> list`.

A batch is what is queued when the thread is free; no timer. An idle stage answers a lone item at once, a busy
one fills its batches by itself, across all requests. Each stage has its own thread, so that encoding the next
batch overlaps searching this one, and what a stage runs needs no locks.

One thing needs care: where a batch costs nearly the same whatever its size (a scan of all vectors), small
batches waste more than overlapping gains, and stages that begin with what is there keep them small for ever.
So a stage may wait for its source, and a source for the stage behind it (see `Stage.follow`), by what a batch
costs, which is fitted to the batches before; each wait ends with a batch of the other. The published server
answers one query per scan, whoever waits (reference/rearag.md, section 2.5).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")

ROOM_IN_BATCHES = 4
"""Batches that may wait in front of a stage before whoever brings more has to wait."""
FORGETTING = 0.97
"""Weight of the batches before in the fitted cost, per batch."""
COMPUTING = 0.2
"""A stage that has a core for less than this share of its time waits for another machine rather than for a
core.
"""


class BatchCost:
    """Seconds of a batch as `fixed + per_item * size`, fitted by least squares to the latest batches."""

    def __init__(self) -> None:
        self.fixed = 0.0
        self.per_item = 0.0
        self._sums = [0.0] * 5  # of weights, sizes, seconds, sizes squared, sizes times seconds

    def learn(self, size: int, seconds: float) -> None:
        """Take in one batch. Batches of one size only cannot tell the two parts apart; the last fit stays."""
        new = (1.0, size, seconds, size * size, size * seconds)
        self._sums = [FORGETTING * old + value for old, value in zip(self._sums, new, strict=True)]
        weight, sizes, times, squares, products = self._sums
        variance = squares / weight - (sizes / weight) ** 2
        if variance < 0.5:
            return
        slope = (products / weight - sizes * times / weight**2) / variance
        self.per_item = max(0.0, slope)
        self.fixed = max(0.0, (times - self.per_item * sizes) / weight)

    def seconds_per_item(self) -> float:
        """On average over the latest batches."""
        return self._sums[2] / self._sums[1] if self._sums[1] else 0.0


class Stage(Generic[In, Out]):
    """Calls `run` with at most `max_batch` items, from one thread, and hands what came out to `done`.

    When `run` raises for several items, each is run alone, so that only those at fault get the error
    (`failed`). Items that are not `wanted` any more are dropped before they are run. `observe` gets size
    and seconds of each batch.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[list[In]], Sequence[Out]],
        *,
        done: Callable[[list[tuple[In, Out]]], None],
        failed: Callable[[In, Exception], None],
        max_batch: int,
        wanted: Callable[[In], bool] = lambda _: True,
        observe: Callable[[int, float], None] = lambda *_: None,
    ) -> None:
        self._run, self._done, self._failed = run, done, failed
        self._wanted, self._observe = wanted, observe
        self._max_batch, self._room = max_batch, ROOM_IN_BATCHES * max_batch
        self._source: Stage[Any, Any] | None = None
        self._followers: list[Stage[Any, Any]] = []
        self.cost = BatchCost()
        self._queue: deque[In] = deque()
        self._pending = 0
        self._running = False
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def follow(self, source: Stage[Any, Any]) -> None:
        """Work hand in hand with the stage before, for large batches (see `_should_wait` and `_holds_back`).
        To be called before the first `put`.
        """
        self._source = source
        source._followers.append(self)

    def put(self, items: Iterable[In]) -> None:
        """Queue `items`; waits while the queue is full. Raises RuntimeError after `close`."""
        with self._changed:
            for item in items:
                while len(self._queue) >= self._room and not self._closing:
                    self._changed.wait()
                if self._closing:
                    raise RuntimeError("the stage is closed")
                self._queue.append(item)
                self._pending += 1
                self._changed.notify_all()

    def pending(self) -> int:
        """Items that are queued or being run."""
        return self._pending

    def close(self) -> None:
        """Run what is queued, then end the thread. Whoever puts items has to have stopped."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._take():
            finished = self._outcomes([item for item in batch if self._wanted(item)])
            if finished:
                self._done(finished)
            with self._changed:
                self._pending -= len(batch)
                self._running = False
            for neighbour in (*self._followers, *([self._source] if self._source else [])):
                neighbour._look_again()

    def _take(self) -> list[In]:
        """The next batch; empty once the stage is closed and nothing is left."""
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            while self._holds_back() or self._should_wait():
                self._changed.wait()
            self._running = True
            batch = [self._queue.popleft() for _ in range(min(self._max_batch, len(self._queue)))]
            self._changed.notify_all()  # there is room again
            return batch

    def _should_wait(self) -> bool:
        """Whether to wait for what the source works on: until half of it is here (two stages then work on a
        half each, and neither is idle), or for all of it where one batch is better than two.
        """
        if self._source is None or self._closing:
            return False
        here = len(self._queue)
        coming = min(self._source._pending, self._max_batch - here)
        return here < coming or (coming > 0 and self._is_better_whole())

    def _holds_back(self) -> bool:
        """Whether to wait for a follower that is busy. Where one batch is better than two, running ahead
        would keep the items apart: those of the next batch would be ready when the callers of this one come
        back, and neither half would ever join the other.
        """
        return not self._closing and any(one._running and one._is_better_whole() for one in self._followers)

    def _is_better_whole(self) -> bool:
        """Whether the items of this stage and its source had better go through as one batch, the two stages
        one after the other, than as two halves that overlap: where the time that overlapping gains is a
        smaller factor than the work that a second batch adds.
        """
        if self._source is None:
            return False
        items = min(self._max_batch, self._pending + self._source._pending)
        before = items * self._source.cost.seconds_per_item()
        mine, fixed = items * self.cost.per_item, self.cost.fixed
        whole = before + fixed + mine  # its time and its work
        halves_time, halves_work = max(before, 2 * fixed + mine), before + 2 * fixed + mine
        return whole * whole < halves_time * halves_work

    def _look_again(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _outcomes(self, items: list[In]) -> list[tuple[In, Out]]:
        if not items:
            return []
        begun, busy = time.perf_counter(), time.thread_time()
        try:
            finished = list(zip(items, self._run(items), strict=True))
        except Exception as error:  # noqa: BLE001 - belongs to whoever asked, and is raised there
            if len(items) == 1:
                self._failed(items[0], error)
                return []
            return [pair for item in items for pair in self._outcomes([item])]
        seconds, busy = time.perf_counter() - begun, time.thread_time() - busy
        # A stage that computes is measured by its own time: beside other work the clock says anything.
        self.cost.learn(len(items), busy if busy > COMPUTING * seconds else seconds)
        self._observe(len(items), seconds)
        return finished
