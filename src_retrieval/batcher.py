"""Micro-batching across requests: whatever queued while the last batch ran becomes the next one. No
timer.

An idle server answers a lone query at once; a busy one fills its batches by itself. One thread runs the
batches, so encoder and index need no locks. The published server answers one query per scan, whoever
waits (reference/ rearag.md, section 2.5).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


class _Batch(Generic[In, Out]):
    """Items that will be processed together, and the future of their results in the same order."""

    def __init__(self) -> None:
        self.items: list[In] = []
        self.future: Future[list[Out]]


class Batcher(Generic[In, Out]):
    """Calls `process` with lists of at most `max_batch` items, from one thread."""

    def __init__(self, process: Callable[[list[In]], list[Out]], *, max_batch: int) -> None:
        self._process = process
        self._max_batch = max_batch
        self._lock = threading.Lock()
        self._open: _Batch[In, Out] | None = None
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batch")

    def run(self, items: Sequence[In], *, timeout: float) -> list[Out]:
        """The results of `items` in order; several batches when there are many. Raises what `process`
        raised, or TimeoutError after `timeout` seconds.
        """
        places = [self._enqueue(item) for item in items]
        return [batch.future.result(timeout)[at] for batch, at in places]

    def close(self) -> None:
        """Finish what is queued, then stop the thread."""
        self._executor.shutdown(wait=True)

    def _enqueue(self, item: In) -> tuple[_Batch[In, Out], int]:
        with self._lock:
            if self._open is None or len(self._open.items) >= self._max_batch:
                self._open = _Batch()
                self._open.future = self._executor.submit(self._run, self._open)
            self._open.items.append(item)
            return self._open, len(self._open.items) - 1

    def _run(self, batch: _Batch[In, Out]) -> list[Out]:
        with self._lock:
            # From here on newcomers open the next batch.
            if self._open is batch:
                self._open = None
        return self._process(batch.items)
