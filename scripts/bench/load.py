"""What the load benchmarks share: settings, the clock, a blocking loop to compare with, figures."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src_core.config import config_class
from src_core.types import Question, Trajectory


@config_class
class LoadSettings:
    """`in_flight` is our side's; the other side has `threads` threads, for the first `blocking` questions.
    The fake LLM runs in `servers` processes.
    """

    in_flight: int = 256
    blocking: int = 16
    threads: int = 4
    servers: int = 2


@dataclass(slots=True)
class Spent:
    """Wall time, and CPU time of this process."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0


class Measured(NamedTuple):
    """One side: what it made and what that took."""

    rows: list[Trajectory]
    spent: Spent

    @property
    def calls(self) -> int:
        """LLM calls of all rows."""
        return sum(row.usage.calls for row in self.rows)

    @property
    def rate(self) -> float:
        """Rows per second."""
        return len(self.rows) / self.spent.seconds


@contextmanager
def stopwatch() -> Iterator[Spent]:
    """Filled in at the end of the block."""
    spent = Spent()
    begun, cpu = time.perf_counter(), time.process_time()
    yield spent
    spent.seconds, spent.cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu


def measure_blocking(
    questions: Sequence[Question],
    work: Callable[[Sequence[Question]], Awaitable[list[Trajectory]]],
    *,
    threads: int,
) -> Measured:
    """Each thread does `work` on every `threads`-th question, one after the other in a loop of its own."""

    async def part(at: int) -> list[Trajectory]:
        return await work(questions[at::threads])

    with stopwatch() as spent, ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(lambda at: asyncio.run(part(at)), range(threads)))
    return Measured([row for rows in parts for row in rows], spent)


def compared(ours: Measured, theirs: Measured, settings: LoadSettings, *, unit: str) -> dict[str, Any]:
    """The figures of both sides; `unit` is what a row is ("questions")."""
    return {
        unit: len(ours.rows),
        "in_flight": settings.in_flight,
        "calls": ours.calls,
        "seconds": round(ours.spent.seconds, 2),
        "calls_per_second": round(ours.calls / ours.spent.seconds, 1),
        "cpu_ms_per_call": round(1000 * ours.spent.cpu_seconds / ours.calls, 3),
        f"{unit}_per_second": round(ours.rate, 3),
        f"blocking_{unit}_per_second": round(theirs.rate, 3),
        "blocking_threads": settings.threads,
        "ratio_to_blocking": round(ours.rate / theirs.rate, 1),
    }


def print_figures(title: str, figures: dict[str, Any]) -> None:
    """A table, then one JSON object on the last line."""
    table = Table(title=title, header_style="bold")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), str(value))
    Console().print(table)
    print(json.dumps(figures))
