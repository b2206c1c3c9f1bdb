"""A process with a limit on all its memory, page cache included: a control group of Linux, version 2 or 1,
below the group of this process.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")


class Group:
    """A group with a limit. `command` starts another command in it."""

    def __init__(self, folder: Path, *, old: bool) -> None:
        self._folder, self._old = folder, old

    def command(self) -> list[str]:
        """What goes before a command."""
        return ["sh", "-c", f'echo $$ > "{self._folder}/cgroup.procs" && exec "$@"', "limited"]

    def cached(self) -> float:
        """Megabytes of page cache in the group."""
        numbers = dict(line.split() for line in (self._folder / "memory.stat").read_text().splitlines())
        return round(int(numbers["cache" if self._old else "file"]) / 1e6, 1)

    def major_faults(self) -> int:
        """Pages that had to be read from the disk for a map."""
        numbers = dict(line.split() for line in (self._folder / "memory.stat").read_text().splitlines())
        return int(numbers["pgmajfault"])


@contextmanager
def limited(most: int) -> Iterator[Group | None]:
    """A group of at most `most` bytes; None where this machine lets nobody make one."""
    found = _make()
    if found is None:
        yield None
        return
    folder, old = found
    try:
        (folder / ("memory.limit_in_bytes" if old else "memory.max")).write_text(str(most))
        yield Group(folder, old=old)
    finally:
        for _ in range(50):  # its processes may be ending
            with contextlib.suppress(OSError):
                folder.rmdir()
                break
            time.sleep(0.1)


def _make() -> tuple[Path, bool] | None:
    """The new group, and whether it is of version 1."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = {parts[1]: parts[2].lstrip("/") for parts in (line.split(":", 2) for line in lines)}
    for controller, root, old in (("memory", GROUPS / "memory", True), ("", GROUPS, False)):
        limit = "memory.limit_in_bytes" if old else "memory.max"
        if controller not in own:
            continue
        folder = root / own[controller] / f"scale-{os.getpid()}"
        with contextlib.suppress(OSError):
            folder.mkdir()
            if (folder / limit).is_file():
                return folder, old
            folder.rmdir()
    return None


def forget(folder: Path) -> None:
    """Drop the files of a folder from the page cache: what others had read would cost the group nothing."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as handle:
                os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
