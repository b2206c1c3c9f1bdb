"""Files that others may change while they are open: an answer made from a changed file is never given.

A file that is replaced (a new one is renamed over it) stays readable through its descriptor and its maps. A
file that is rewritten in place does not: its text is another one, and a map beyond its new end ends the
process. So text is read through `OpenFile.read`, which cannot fail that way, and after each read the file
must still be the one that was opened.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from src_core.errors import UserError

LOG = logging.getLogger("src_retrieval")
WHOLE_BYTES = 1 << 26
SAMPLE_BYTES = 1 << 16
SAMPLES = 256
LOOK_SECONDS = 1.0


class FilesChangedError(UserError):
    """A file was rewritten in place while it was open; what is made from it now would be wrong."""


class _Stat(NamedTuple):
    size: int
    mtime_ns: int
    ctime_ns: int


class OpenFile:
    """A file held open, with the size and times that it had. Safe to use from several threads.

    With a `sha256`, a file whose times changed but whose bytes did not (a `touch`, a link, a rename) is read
    on; without one, another size or modification time counts as a change.
    """

    def __init__(self, path: Path, *, sha256: str = "") -> None:
        self.path = path
        self._sha256 = sha256
        self._fd = os.open(path, os.O_RDONLY)
        self._stat = _stat(self._fd)
        self._lock = threading.Lock()
        self._changed = False

    @property
    def size(self) -> int:
        """Bytes, when it was opened."""
        return self._stat.size

    @property
    def mtime_ns(self) -> int:
        """The time of its last change, when it was opened."""
        return self._stat.mtime_ns

    def read(self, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` (exclusive). Raises `FilesChangedError` where they are another file's."""
        data = os.pread(self._fd, stop - start, start)
        self.check()
        return data

    def check(self) -> None:
        """Raises `FilesChangedError` once the file was rewritten in place; from then on always."""
        now = _stat(self._fd)
        if now != self._stat or self._changed:
            self._look_closer(now)

    def look(self) -> None:
        """`check` without reading the file, for where nothing may take long."""
        if self._changed or not self._sha256 or os.fstat(self._fd).st_size != self._stat.size:
            self.check()

    def replaced(self) -> bool:
        """Whether the path leads to another file by now."""
        try:
            there, ours = self.path.stat(), os.fstat(self._fd)
        except OSError:  # nothing is there, or nothing that may be looked at
            return True
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    def mark(self) -> str:
        """A sha256 over the size and the bytes; over the ends and samples between them of a large file, since
        reading 65 GB takes minutes.
        """
        digest = hashlib.sha256(str(self.size).encode())
        if self.size <= WHOLE_BYTES:
            digest.update(_sha256(self._fd).encode())
            return digest.hexdigest()
        step = (self.size - SAMPLE_BYTES) // (SAMPLES - 1)
        for at in range(SAMPLES):
            digest.update(os.pread(self._fd, SAMPLE_BYTES, at * step))
        digest.update(os.pread(self._fd, SAMPLE_BYTES, self.size - SAMPLE_BYTES))
        return digest.hexdigest()

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)

    def _look_closer(self, now: _Stat) -> None:
        with self._lock:
            if now != self._stat and not self._changed:
                same = self._same_bytes(now)
                self._stat, self._changed = (now, False) if same else (self._stat, True)
                if self._changed:
                    LOG.error("%s", self._sentence())
        if self._changed:
            raise FilesChangedError(self._sentence())

    def _same_bytes(self, now: _Stat) -> bool:
        if now.size != self._stat.size:
            return False
        if not self._sha256:
            return now.mtime_ns == self._stat.mtime_ns
        return _sha256(self._fd) == self._sha256 and _stat(self._fd) == now

    def _sentence(self) -> str:
        return (
            f"{self.path} was changed while it was in use, so nothing more is read from it; restore it or "
            "rebuild its index, then start this again"
        )


class FileWatch:
    """The files of an index that a server has open. `check` is called after each answer."""

    def __init__(self, files: Iterable[OpenFile] = ()) -> None:
        self._files = list(files)
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._told = False

    def check(self) -> None:
        """Raises `FilesChangedError` when one was rewritten in place; logs once when one was replaced."""
        for file in self._files:
            file.check()
        if not self._told and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_SECONDS
            self._tell()

    def look(self) -> None:
        """`check` as far as the sizes show it, without reading a file."""
        for file in self._files:
            file.look()

    def _tell(self) -> None:
        newer = next((file.path for file in self._files if file.replaced()), None)
        if newer is not None:
            self._told = True
            LOG.warning(
                "%s was replaced: this server goes on with the old files until it is restarted", newer
            )


def _stat(fd: int) -> _Stat:
    found = os.fstat(fd)
    return _Stat(found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _sha256(fd: int) -> str:
    """Of the whole file, without moving its position."""
    digest, at = hashlib.sha256(), 0
    while piece := os.pread(fd, 1 << 20, at):
        digest.update(piece)
        at += len(piece)
    return digest.hexdigest()
