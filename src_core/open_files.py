"""The limit of open files, raised to what a pool of connections needs."""

from __future__ import annotations

import resource

from src_core.errors import UserError

SPARE = 128
"""Open files besides connections: rows, logs, libraries, name look-ups."""


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
