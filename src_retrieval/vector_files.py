"""The vectors of an encoder on disk: appended chunk by chunk, with a record of how far they count, so that a
killed build goes on after the last chunk.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import orjson
from numpy.typing import NDArray

from src_core.errors import UserError
from src_core.jsonl import write_atomic
from src_retrieval.encoders.spec import EncoderIdentity
from src_retrieval.layout import IndexLayout
from src_retrieval.results import FloatArray
from src_retrieval.reuse import HASH_BYTES, Hashes
from src_retrieval.vector.base import map_vectors


class VectorFiles:
    """The vector file in the folder of an unfinished index: fp16 where `half`, else float32; beside it, where
    `hashed`, a hash of each passage's text.
    """

    def __init__(
        self,
        layout: IndexLayout,
        *,
        corpus_sha256: str,
        encoder: EncoderIdentity,
        half: bool = False,
        hashed: bool = True,
    ) -> None:
        self._layout, self._half, self._dim = layout, half, encoder.dim
        self._fingerprint = {"corpus": corpus_sha256, "encoder": dataclasses.asdict(encoder)}
        self.path = layout.half_vectors if half else layout.vectors
        self._row_bytes = {self.path: row_bytes(encoder.dim, half=half)}
        if hashed:
            self._row_bytes[layout.content_hashes] = HASH_BYTES

    def rows_done(self, *, replace: bool) -> int:
        """Rows that an earlier run left; 0 when there are none. Raises `UserError` for those of another
        corpus or encoder, unless they are to be replaced.
        """
        saved = self._saved()
        if saved is None:
            return 0
        if saved.get("fingerprint") == self._fingerprint:
            done = int(saved["rows_done"])
            sizes = ((path.stat().st_size if path.is_file() else -1) for path in self._row_bytes)
            needed = (done * size for size in self._row_bytes.values())
            return done if all(size >= need for size, need in zip(sizes, needed, strict=True)) else 0
        if replace or not any(path.is_file() for path in (self._layout.vectors, self._layout.half_vectors)):
            return 0
        raise UserError(
            f"{self._layout.root.parent} holds an unfinished build of another corpus or encoder; add "
            "overwrite=true to replace it, or choose another index_dir"
        )

    def append_after(self, rows: int) -> Appender:
        """Cut the files to `rows` rows and go on from there. What an earlier run left in the other precision
        is removed.
        """
        for path in {self._layout.vectors, self._layout.half_vectors, self._layout.content_hashes}:
            if path not in self._row_bytes:
                path.unlink(missing_ok=True)
        return Appender(self._layout.progress, self._fingerprint, self._row_bytes, rows, half=self._half)

    def vectors(self, rows: int) -> NDArray[Any]:
        """The finished file, mapped: [rows, dim]. Raises `UserError` for one of another size."""
        return map_vectors(self.path, rows=rows, dim=self._dim, half=self._half)

    def _saved(self) -> dict[str, Any] | None:
        """The record; None where there is none, or a damaged one."""
        try:
            saved = orjson.loads(self._layout.progress.read_bytes())
            int(saved["rows_done"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return saved if isinstance(saved, dict) else None


class Appender:
    """Appends rows to the files of `VectorFiles`. A context manager."""

    def __init__(
        self,
        record: Path,
        fingerprint: dict[str, Any],
        row_bytes: dict[Path, int],
        rows: int,
        *,
        half: bool,
    ) -> None:
        self._record, self._fingerprint, self._rows, self._half = record, fingerprint, rows, half
        self._handles = [_cut(path, rows * size) for path, size in row_bytes.items()]

    def append(self, vectors: FloatArray, hashes: Hashes | None = None) -> None:
        """Add float32 [n, dim], and the hashes [n, 2] where there is a file for them; then they count."""
        parts = (vectors.astype(np.float16) if self._half else vectors, hashes)
        for handle, data in zip(self._handles, parts, strict=False):
            if data is None:
                raise ValueError("the vectors have no hashes")
            handle.write(data.tobytes())
            handle.flush()
            os.fsync(handle.fileno())
        self._rows += len(vectors)
        record = {"fingerprint": self._fingerprint, "rows_done": self._rows}
        write_atomic(self._record, orjson.dumps(record))

    def __enter__(self) -> Appender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.close()


def row_bytes(dim: int, *, half: bool) -> int:
    """Bytes of a vector."""
    return dim * (2 if half else 4)


def _cut(path: Path, size: int) -> BinaryIO:
    handle = path.open("r+b" if size else "wb")
    handle.seek(size)
    handle.truncate()
    return handle
