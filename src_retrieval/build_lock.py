"""One builder per index folder."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.text import Text

from src_core.errors import UserError
from src_core.progress import Steps
from src_retrieval.layout import IndexLayout

_LOCK_EVERY = 0.2
"""Seconds between two looks at a lock that another builder holds."""


@contextmanager
def locked(layout: IndexLayout, steps: Steps, *, seconds: float) -> Iterator[None]:
    """One builder per folder; the lock ends with the process. Another builder is waited for, at most
    `seconds`; what it made is then found in place. Raises `UserError` after that time.
    """
    with layout.lock.open("w") as handle:
        if not _taken(handle):
            limit = f"at most {seconds / 60:.0f} minutes"
            steps.console.print(
                Text(f"another process is building in {layout.root}: waiting for it, {limit}")
            )
            ends = time.monotonic() + seconds
            with steps("waiting for the other build"):
                while not _taken(handle):
                    if time.monotonic() >= ends:
                        raise UserError(
                            f"another process is still building in {layout.root}; run the same command again "
                            "when it has ended, or choose another index_dir"
                        )
                    time.sleep(_LOCK_EVERY)
        yield


def _taken(handle: TextIO) -> bool:
    """Whether this process holds the lock now."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
