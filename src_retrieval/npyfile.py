"""A `.npy` file written by appending, so that arrays of unknown length need no memory while they are
written.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

BUFFER_ROWS = 65_536


class NpyAppender:
    """Appends numbers of one dtype to a one-dimensional `.npy`; the length in the header is corrected on
    close.
    """

    def __init__(self, path: Path, dtype: str) -> None:
        self._dtype = np.dtype(dtype)
        self._count = 0
        self._pending: list[int] = []
        self._handle = path.open("wb")
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

    def __enter__(self) -> NpyAppender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def _flush(self) -> None:
        if self._pending:
            self._handle.write(np.array(self._pending, dtype=self._dtype).tobytes())
            self._count += len(self._pending)
            self._pending.clear()

    def _header(self) -> bytes:
        # numpy pads the header for growth of the leading axis, so its size does not depend on the count.
        buffer = BytesIO()
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._count,),
        }
        np.lib.format.write_array_header_1_0(buffer, header)
        return buffer.getvalue()
