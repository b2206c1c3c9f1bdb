"""`.npy` files: written by appending, so that arrays of unknown length need no memory while they are
written, and mapped with a check of their shape.

A file is written under another name and renamed when it is complete: another process may have the old one
mapped, and a map of a truncated file ends its process.
"""

from __future__ import annotations

import contextlib
import os
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

BUFFER_ROWS = 65_536


class NpyAppender:
    """Appends numbers of one dtype to a one-dimensional `.npy`, which appears on close, with its length in
    the header. Raises OSError when it cannot be written.
    """

    def __init__(self, path: Path, dtype: str) -> None:
        self._path = path
        self._partial = path.with_name(path.name + ".tmp")
        self._dtype = np.dtype(dtype)
        self._count = 0
        self._pending: list[int] = []
        self._handle = self._partial.open("wb")
        self._handle.write(self._header())

    def append(self, value: int) -> None:
        """Add one number."""
        self._pending.append(value)
        if len(self._pending) >= BUFFER_ROWS:
            self._flush()

    def extend(self, values: NDArray[Any]) -> None:
        """Add an array."""
        self._flush()
        self._handle.write(np.ascontiguousarray(values, dtype=self._dtype).tobytes())
        self._count += len(values)

    def close(self) -> None:
        """Write the pending numbers and the final header."""
        self._flush()
        self._handle.seek(0)
        self._handle.write(self._header())
        self._handle.close()
        self._partial.replace(self._path)

    def __enter__(self) -> NpyAppender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        with contextlib.suppress(OSError):  # what is pending does not fit on a full disk either
            self._handle.close()
        self._partial.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._pending:
            self._handle.write(np.array(self._pending, dtype=self._dtype).tobytes())
            self._count += len(self._pending)
            self._pending.clear()

    def _header(self) -> bytes:
        return _header(self._dtype, self._count)


def save_npy(path: Path, array: NDArray[Any]) -> None:
    """Write a one-dimensional array. Raises OSError with its reason (`numpy.save` gives none on a full
    disk).
    """
    with NpyAppender(path, array.dtype.str) as out:
        out.extend(array)


def create_npy(path: Path, dtype: str, count: int) -> NDArray[Any]:
    """A new file of `count` zeros as a map that can be written. Its place on the disk is reserved first: a
    map is written by the kernel, and on a full disk that ends the process. Raises OSError where there is no
    room.
    """
    wanted = np.dtype(dtype)
    with path.open("wb") as handle:
        header = _header(wanted, count)
        handle.write(header)
        handle.flush()
        os.posix_fallocate(handle.fileno(), 0, len(header) + count * wanted.itemsize)
    return np.memmap(path, dtype=wanted, mode="r+", offset=len(header), shape=(count,))


def map_npy(path: Path, dtype: str, count: int) -> NDArray[Any]:
    """A read-only map of a file with `count` numbers. Raises ValueError for another file, OSError for
    none.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except EOFError as error:
        raise ValueError(f"{path} is empty") from error
    if array.shape != (count,) or array.dtype != np.dtype(dtype):
        raise ValueError(f"{path} holds {array.dtype} {array.shape} instead of {dtype} ({count},)")
    return array


def _header(dtype: np.dtype[Any], count: int) -> bytes:
    # numpy pads the header for growth of the leading axis, so its size does not depend on the count.
    buffer = BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()
