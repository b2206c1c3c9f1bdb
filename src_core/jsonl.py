"""Append-only JSONL that survives kill -9: whole-line appends with fsync, a torn last line is dropped on
read.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from src_core.errors import UserError
from src_core.json_rows import lines, parsed


def read_jsonl(path: Path, *, torn_tail_ok: bool = False) -> Iterator[dict[str, Any]]:
    """Yield one object per non-blank line. A bad line is a `UserError` naming file and line number. With
    `torn_tail_ok` an incomplete last line (an interrupted append) is skipped.
    """
    if not path.is_file():
        raise UserError(f"no such file: {path}; check the path")
    with path.open("rb") as handle:
        for number, line in enumerate(lines(handle), start=1):
            if not line.strip():
                continue
            row, problem = parsed(line)
            if problem:
                if torn_tail_ok and not line.endswith(b"\n"):
                    return
                raise UserError(f"{path}, line {number}: {problem}; correct or remove that line")
            if not isinstance(row, dict):
                raise UserError(
                    f"{path}, line {number}: expected a JSON object, found {row!r:.60}; correct "
                    "or remove that line"
                )
            yield row


class JsonlWriter:
    """Appends whole lines. Opening truncates the file to its last newline, so that a row is never appended to
    an incomplete line. `durable` calls fsync after each row: a row that was reported is on disk.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        drop_torn_tail(path)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._durable = durable
        self._path = path

    def write(self, line: bytes) -> None:
        """Append `line` (no newline inside) as one row."""
        self.write_many([line])

    def write_many(self, lines: Sequence[bytes]) -> None:
        """Append rows with one fsync. A full disk is a `UserError`, and a partial write is truncated."""
        start = os.fstat(self._fd).st_size
        data = b"".join(line + b"\n" for line in lines)
        try:
            written = os.write(self._fd, data)
            while written < len(data):
                written += os.write(self._fd, data[written:])
            if self._durable:
                os.fsync(self._fd)
        except OSError as error:
            os.ftruncate(self._fd, start)
            raise UserError(
                f"could not write {self._path}: {error.strerror}; free some space and run this again"
            ) from error

    def close(self) -> None:
        """Close the file; further writes fail."""
        os.close(self._fd)

    def __enter__(self) -> JsonlWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


class LineSpool:
    """Lines (without newlines) that are written once and read again, in a nameless file in `folder`: what
    has to be counted or drawn from before it can be written in its place. Raises `UserError` on a full
    disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        except OSError as error:
            raise UserError(
                f"cannot write in {folder}: {error.strerror}; choose another folder (runs_dir)"
            ) from error
        self._count = 0

    def append(self, line: bytes) -> None:
        """Add one line."""
        try:
            self._file.write(line + b"\n")
        except OSError as error:
            raise UserError(
                f"could not write in {self._folder}: {error.strerror}; free some space and run this again"
            ) from error
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        """All lines in order."""
        self._file.seek(0)
        for line in self._file:
            yield line[:-1]

    def __enter__(self) -> LineSpool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._file.close()


def drop_torn_tail(path: Path) -> int:
    """Remove an incomplete last line from `path`. Returns the number of bytes removed (0 when the file is
    complete or absent).
    """
    if not path.exists() or path.stat().st_size == 0:
        return 0
    with path.open("r+b") as handle:
        size = handle.seek(0, os.SEEK_END)
        position, end = size, -1
        while position > 0 and end < 0:
            position = max(0, position - 65536)
            handle.seek(position)
            block = handle.read(min(65536, size - position))
            found = block.rfind(b"\n")
            end = position + found + 1 if found >= 0 else -1
        keep = max(end, 0)
        if keep < size:
            handle.truncate(keep)
        return size - keep


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` in one step: write `<name>.tmp` beside it, fsync, rename."""
    _write_atomic(path, [data])


def rewrite_jsonl(path: Path, lines: Iterable[bytes]) -> None:
    """Replace a JSONL file by `lines` (without newlines) atomically. The lines are written one by one; the
    iterable may read the old file.
    """
    _write_atomic(path, (line + b"\n" for line in lines))


def write_json_array(path: Path, rows: Iterable[bytes]) -> None:
    """Replace `path` by one JSON array of `rows` (each one JSON value without newlines), a row per line;
    atomic as `rewrite_jsonl`, with one row in memory at a time.
    """
    rewrite_jsonl(path, _array_lines(rows))


def _array_lines(rows: Iterable[bytes]) -> Iterator[bytes]:
    yield b"["
    held: bytes | None = None
    for row in rows:
        if held is not None:
            yield held + b","
        held = row
    if held is not None:
        yield held
    yield b"]"


def _write_atomic(path: Path, parts: Iterable[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".tmp")
    try:
        with partial.open("wb") as handle:
            handle.writelines(parts)
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(
            f"could not write {path}: {error.strerror}; free some space or choose another folder"
        ) from error
