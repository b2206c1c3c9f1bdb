"""The limit of open files, raised to what a pool of connections needs, or as far as it goes."""

from __future__ import annotations

import resource
from pathlib import Path

from src_core.errors import UserError

SPARE = 128
"""Open files besides connections: rows, logs, libraries, name look-ups."""
MOST = 1 << 20


def allow_connections(count: int, *, in_flight: int) -> None:
    """Raise this process's soft limit to `count` connections, which `in_flight` pieces of work at once need.
    Raises `UserError` where the hard limit is lower, with the largest number that fits.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + SPARE
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        fits = max((hard - SPARE) * in_flight // count, 1)
        raise UserError(
            f"in_flight={in_flight} needs {needed:,} open files and this system allows {hard:,}; "
            f"set in_flight to at most {fits:,}, or raise 'ulimit -Hn'"
        )
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    except (OSError, ValueError) as error:
        raise UserError(
            f"in_flight={in_flight} needs {needed:,} open files, and the limit cannot be raised ({error}); "
            "set in_flight to a smaller number, or raise 'ulimit -n'"
        ) from error


def raise_open_files() -> int:
    """Raise the soft limit to the hard one; returns the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # macOS has a lower limit than it says
        return soft
    return wanted


def count_open_files() -> int:
    """How many are open now; 64 where the system does not say."""
    folder = Path("/dev/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 64
