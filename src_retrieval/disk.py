"""One sentence for a disk that is full, a folder that cannot be written and their like."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src_core.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def writing_into(folder: Path) -> Iterator[None]:
    """Turns an OSError of what is inside into a `UserError`."""
    try:
        yield
    except OSError as error:
        at = Path(error.filename) if isinstance(error.filename, str) else folder
        reason = error.strerror or str(error)
        if at != folder and folder not in at.parents and at not in folder.parents:
            raise UserError(f"could not use {at}: {reason}; correct that and run this again") from error
        full = "free some space or " if error.errno in FULL else ""
        raise UserError(
            f"could not write {at}: {reason}; {full}choose another folder (index_dir), then run this again"
        ) from error
