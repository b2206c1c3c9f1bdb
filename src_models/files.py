"""Small file tools of this room: hashing, a lock between processes, a disk check."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from src_core.errors import UserError

BLOCK = 1 << 20

Report = Callable[[int], None]
"""Called with the number of bytes that arrived so far for the file at hand."""


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold an advisory lock on `path`; a second process waits here. A holder that dies lets go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def require_space(folder: Path, *, need: int, what: str) -> None:
    """Raise a `UserError` when the disk of `folder` has less than `need` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < need:
        raise UserError(
            f"{what} needs {need / 1e6:,.0f} MB of disk in {folder}, {free / 1e6:,.0f} MB are free; "
            "free some space or set REARAG_CACHE to a folder on another disk"
        )


def bytes_in(folder: Path) -> int:
    """Total size of the files under `folder` (0 when it does not exist)."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
