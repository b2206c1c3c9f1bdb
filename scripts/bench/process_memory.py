"""The memory of another process, sampled from /proc until it ends."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    """Peaks in megabytes over the life of a process: private memory; with the pages of files that it wrote
    and that were not flushed yet (0 where these were not looked at).
    """

    anonymous: float
    dirty: float


class Sampler:
    """Reads a process's private memory every 50 ms. `dirty`: also its unflushed pages, which takes a walk
    over all pages that it has mapped; not for a process with maps of many gigabytes.
    """

    def __init__(self, pid: int, *, dirty: bool = True) -> None:
        self._folder, self._look_for_dirty = Path(f"/proc/{pid}"), dirty
        self._anonymous = self._dirty = 0
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def now(self) -> float:
        """Private megabytes at this moment."""
        return round(self._numbers("status").get("RssAnon:", 0) * 1.024e-3, 1)

    def peak(self) -> Memory:
        """The peaks, once the process has ended."""
        self._thread.join()
        return Memory(round(self._anonymous * 1.024e-3, 1), round(self._dirty * 1.024e-3, 1))

    def _sample(self) -> None:
        while True:
            status = self._numbers("status")
            if "RssAnon:" not in status:  # it has ended
                return
            self._anonymous = max(self._anonymous, status["RssAnon:"])
            if self._look_for_dirty:
                self._dirty = max(self._dirty, self._numbers("smaps_rollup").get("Private_Dirty:", 0))
            time.sleep(0.05)

    def _numbers(self, file: str) -> dict[str, int]:
        """The lines `NAME: NUMBER kB`."""
        try:
            parts = [line.split() for line in (self._folder / file).read_text().splitlines()]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return {}
        return {words[0]: int(words[1]) for words in parts if len(words) == 3 and words[2] == "kB"}
