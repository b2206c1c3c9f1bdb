"""One stage of a pipeline: a queue, a thread, and `run(list) -> list`.

A batch is formed from the queued items when the thread is free, without a timer. An idle stage runs a single
item at once; a busy stage gets full batches, across all requests. Each stage has its own thread, so that
encoding the next batch overlaps searching the current one, and the function of a stage needs no locks.

Where the cost of a batch hardly depends on its size (a scan of all vectors), small batches cost more than
overlapping gains, and stages that start at once keep their batches small. So a stage may wait for its source,
and a source for the stage after it (see `Stage.follow`), according to the cost of a batch, which is fitted to
earlier batches; each wait ends with a batch of the other stage. The published server always answers one query
per scan (reference/rearag.md, section 2.5).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from src_core.errors import is_of_server

In = TypeVar("In")
Out = TypeVar("Out")

ROOM_IN_BATCHES = 4
"""The queue length of a stage in batches; `put` blocks while the queue is full."""
NEWEST = 0.2
"""The weight of a new batch in the average over batches of similar size."""
FADING = 0.99
"""The decay per batch of the weight of batch sizes that did not occur."""
FORGOTTEN = 1e-6
"""A size whose weight falls below this no longer counts in the fit."""
COMPUTING = 0.2
"""A stage that uses a core for less than this share of its time waits for another machine, not for a core."""


class BatchCost:
    """Seconds of a batch as `fixed + per_item * size`: a line through the averages of batches of about one
    size (1, 2 to 3, 4 to 7, …), so that a run of similar batches, which says little, does not outweigh the
    others.
    """

    def __init__(self) -> None:
        self.fixed = 0.0
        self.per_item = 0.0
        self._latest: dict[int, float] = {}  # weight by the bit length of the batch size
        self._sizes: dict[int, float] = {}
        self._seconds: dict[int, float] = {}
        self._mean = 0.0

    def learn(self, size: int, seconds: float) -> None:
        """Add one batch to the fit. From batches of a single size the two parts cannot be separated; the last
        fit is then kept.
        """
        bits = size.bit_length()
        faded = {key: FADING * weight for key, weight in self._latest.items()}
        self._latest = {key: weight for key, weight in faded.items() if weight > FORGOTTEN} | {bits: 1.0}
        self._sizes[bits] = _closer(self._sizes.get(bits, size), size)
        self._seconds[bits] = _closer(self._seconds.get(bits, seconds), seconds)
        self._mean = _closer(self._mean or seconds / size, seconds / size)
        if len(self._latest) > 1:
            self._fit()

    def seconds_per_item(self) -> float:
        """The average over the latest batches."""
        return self._mean

    def _fit(self) -> None:
        weights = self._latest
        total = sum(weights.values())
        size = sum(weights[key] * self._sizes[key] for key in weights) / total
        seconds = sum(weights[key] * self._seconds[key] for key in weights) / total
        spread = sum(weights[key] * (self._sizes[key] - size) ** 2 for key in weights)
        both = sum(
            weights[key] * (self._sizes[key] - size) * (self._seconds[key] - seconds) for key in weights
        )
        self.per_item = max(0.0, both / spread)
        self.fixed = max(0.0, seconds - self.per_item * size)


def _closer(old: float, new: float) -> float:
    return old + NEWEST * (new - old)


class Stage(Generic[In, Out]):
    """Calls `run` with at most `max_batch` items, from one thread, and passes the results to `done`.

    When `run` raises for several items, each is run alone, so that only the failing items get the error
    (`failed`); all get it at once where a server does not answer, which would cost each item the time-out.
    Items that are no longer `wanted` are dropped before they are run. `observe` gets the size and the seconds
    of each batch.
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
        """Coordinate with the stage before, for large batches (see `_should_wait` and `_holds_back`). Must be
        called before the first `put`.
        """
        self._source = source
        source._followers.append(self)

    def put(self, items: Iterable[In]) -> None:
        """Queue `items`; blocks while the queue is full. Raises RuntimeError after `close`."""
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
        """The number of items that are queued or running."""
        return self._pending

    def close(self) -> None:
        """Run the queued items, then end the thread. No `put` may follow or be in progress."""
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
        """The next batch; empty once the stage is closed and the queue is empty."""
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            while self._holds_back() or self._should_wait():
                self._changed.wait()
            self._running = True
            batch = [self._queue.popleft() for _ in range(min(self._max_batch, len(self._queue)))]
            self._changed.notify_all()  # the queue has room again
            return batch

    def _should_wait(self) -> bool:
        """Whether to wait for the items of the source: until half of them are here (the two stages then work
        on one half each, and neither is idle), or for all of them where one batch is better than two.
        """
        if self._source is None or self._closing:
            return False
        here = len(self._queue)
        coming = min(self._source._pending, self._max_batch - here)
        return here < coming or (coming > 0 and self._is_better_whole())

    def _holds_back(self) -> bool:
        """Whether to wait for a busy follower. Where one batch is better than two, running ahead would keep
        the items in two batches: those of the next batch would be ready when the callers of this one send
        again, and the two halves would never be joined.
        """
        return not self._closing and any(one._running and one._is_better_whole() for one in self._followers)

    def _is_better_whole(self) -> bool:
        """Whether one batch of the items of this stage and its source, with the two stages one after the
        other, is better than two halves that overlap: where overlapping saves a smaller factor of time than a
        second batch adds in work.
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
        except Exception as error:  # noqa: BLE001 - passed to the caller, and raised there
            if len(items) == 1 or is_of_server(error):
                for item in items:
                    self._failed(item, error)
                return []
            return [pair for item in items for pair in self._outcomes([item])]
        seconds, busy = time.perf_counter() - begun, time.thread_time() - busy
        # A computing stage is measured by its CPU time: beside other work the wall-clock time is unreliable.
        self.cost.learn(len(items), busy if busy > COMPUTING * seconds else seconds)
        self._observe(len(items), seconds)
        return finished
