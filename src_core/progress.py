"""Progress of long steps: a bar on a terminal; elsewhere (log files, pipes) a plain line every few seconds,
also while no unit is finished.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from src_core.console import description_column

PLAIN_EVERY = 10.0
"""Seconds between two plain lines."""
QUICK = 2.0
"""A step of a long command (`Steps`) that ends in fewer seconds writes no plain line."""


def count(value: float) -> str:
    """A number with thousands separators."""
    return f"{value:,.0f}"


def mebibytes(value: float) -> str:
    """Bytes as MiB, below one as KiB."""
    return f"{value / 2**20:,.0f} MiB" if value >= 2**20 else f"{value / 2**10:,.0f} KiB"


class Begun(NamedTuple):
    """When a run began: the time of day, and the monotonic clock, from which its duration is computed (the
    time of day may be set back).
    """

    day: float
    clock: float

    @classmethod
    def now(cls) -> Begun:
        """Now, on both clocks."""
        return cls(time.time(), time.monotonic())

    def facts(self) -> dict[str, str | float]:
        """`started` (UTC) and `wall_seconds`, for a manifest."""
        return {
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.day)),
            "wall_seconds": round(time.monotonic() - self.clock, 2),
        }


class StepProgress:
    """Progress of one step of `total` units (None: not known yet), of which `done` were finished in an
    earlier run. Without either, `unit` names the step, such as one long call of a library.

    `show` formats a number of units. Off a terminal a step that ends within `quick` seconds is silent. A
    context manager; `stop` ends the progress. Thread-safe.
    """

    def __init__(
        self,
        console: Console,
        *,
        unit: str,
        total: int | None,
        done: int = 0,
        show: Callable[[float], str] = count,
        every: float = PLAIN_EVERY,
        quick: float = 0.0,
    ) -> None:
        self._console, self._unit, self._show, self._quick = console, unit, show, quick
        self._total, self._done, self._first = total, done, done
        self._shown: tuple[int, int | None] | None = None  # done and total in the last line
        self._note = self._detail = ""
        self._begun = self._printed = time.monotonic()
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._bar: Progress | None = None
        if console.is_terminal:
            columns = (description_column(), BarColumn(), MofNCompleteColumn())
            self._bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)
            self._task = self._bar.add_task(unit, total=total, completed=done)
            self._bar.start()
        else:
            self._every = every
            threading.Thread(target=self._heartbeat, name=f"progress of {unit}", daemon=True).start()

    def advance(self, by: int = 1) -> None:
        """`by` more units are done."""
        with self._lock:
            self.update(self._done + by)

    def skip(self, by: int = 1) -> None:
        """`by` more units were done in an earlier run: they count as done, but not in the rate."""
        with self._lock:
            self._first += by
            self.update(self._done + by, quiet=True)

    def leave_out(self, by: int, *, note: str) -> None:
        """`by` units need no work: the total is that of the others, and `note` says so after the rate."""
        with self._lock:
            total = None if self._total is None else self._total - by
            self.update(self._done, total=total, note=note)  # these may have been the last that were left

    def update(
        self, done: int, *, total: int | None = None, note: str | None = None, quiet: bool = False
    ) -> None:
        """Set the number of units `done`, and `total` where it is known only now; `note` is shown after the
        rate.
        """
        with self._lock:
            self._done = done
            self._total = self._total if total is None else total
            self._note = self._note if note is None else note
            if self._bar:
                text = f"{self._unit} ({self._rate_text()})"
                self._bar.update(self._task, completed=done, total=self._total, description=text)
            elif not quiet and (self._is_due() or (self._ends() and self._shown != (done, self._total))):
                self._print()

    def note(self, text: str) -> None:
        """Show `text` after the rate from now on ("": nothing); a new text is printed at once."""
        with self._lock:
            new = bool(text) and not self._note
            self.update(self._done, note=text, quiet=True)
            if new and not self._bar:
                self._print()

    def detail(self, text: str) -> None:
        """Show `text`, which says how far the open units are, after the rate from now on: on a terminal at
        once, elsewhere in the next line.
        """
        with self._lock:
            self._detail = text
            self.update(self._done, quiet=True)

    def stop(self) -> None:
        """End the step: the bar is removed and no further line is printed."""
        self._ended.set()
        if self._bar:
            self._bar.stop()

    def __enter__(self) -> StepProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()

    def _heartbeat(self) -> None:
        while not self._ended.wait(self._every / 4):
            with self._lock:
                if self._is_due() and not self._ended.is_set():
                    self._print()

    def _is_due(self) -> bool:
        return time.monotonic() - self._printed >= self._every

    def _ends(self) -> bool:
        """Whether all units are done, in a step that deserves a line."""
        long = self._shown is not None or time.monotonic() - self._begun >= self._quick
        return self._done == self._total and long

    def _rate(self) -> float:
        """Units per second of this run."""
        return (self._done - self._first) / max(time.monotonic() - self._begun, 1e-9)

    def _rate_text(self) -> str:
        rate = 60 * self._rate()
        per_minute = (
            f"{rate:,.{1 if rate < 100 else 0}f}/min"
            if self._show is count
            else f"{self._show(self._rate())}/s"
        )
        return ", ".join(part for part in (per_minute, self._detail, self._note) if part)

    def _print(self) -> None:
        self._printed, self._shown = time.monotonic(), (self._done, self._total)
        text = self._figures() if self._total is not None or self._done else self._phase()
        self._console.print(Text(text), soft_wrap=True)

    def _figures(self) -> str:
        done, total = self._show(self._done), self._total
        left = ""
        if total is not None and self._rate() > 0:
            left = f", {(total - self._done) / self._rate():.0f} s left"
        elif self._done != total:
            left = self._so_far()
        figures = done if total is None else f"{done}/{self._show(total)}"
        return f"{figures} {self._unit}, {self._rate_text()}{left}"

    def _phase(self) -> str:
        """The line of a step without countable units: its name and its elapsed seconds."""
        return ", ".join(part for part in (self._unit, self._detail, self._note) if part) + self._so_far()

    def _so_far(self) -> str:
        return f", {time.monotonic() - self._begun:.0f} s so far"


class Steps:
    """Builds the progress of each step of a long command, all on one console: `with steps("rows read",
    total=10) as progress`, or `with steps("training the index"):` for a step without countable units.
    """

    def __init__(self, console: Console, *, every: float = PLAIN_EVERY) -> None:
        self.console = console
        self._every = every
        self._said: set[str] = set()

    def say_once(self, text: str) -> None:
        """Print a line, unless these steps have printed the same."""
        if text not in self._said:
            self._said.add(text)
            self.console.print(Text(text), soft_wrap=True)

    def __call__(
        self, unit: str, *, total: int | None = None, done: int = 0, show: Callable[[float], str] = count
    ) -> StepProgress:
        """See `StepProgress`."""
        quick = min(QUICK, self._every)
        return StepProgress(
            self.console, unit=unit, total=total, done=done, show=show, every=self._every, quick=quick
        )
