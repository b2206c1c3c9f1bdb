"""The base types of a vector backend: what builds an index of vectors, opens it and searches it."""

from __future__ import annotations

import mmap
import struct
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src_core.config import dump
from src_core.errors import UserError
from src_core.progress import Steps
from src_retrieval.corpus import Corpus
from src_retrieval.encoders.spec import EncoderIdentity
from src_retrieval.layout import IndexLayout, Manifest
from src_retrieval.results import Facts, FloatArray, Hits

FLAT_HEADER = struct.Struct("<4siqqq?iQ")
"""What FAISS writes before the vectors of a flat index: kind, dimension, number of vectors, two numbers that
stand for nothing, whether it is trained, metric (0: inner product), number of floats.
"""
_FLAT_BY_INNER_PRODUCT = b"IxFI"


class Need(NamedTuple):
    """Bytes."""

    disk: int
    memory: int


class BuiltFrom(NamedTuple):
    """What an index is built from: its folder, its corpus, the encoder of its vectors,
    `VectorBackend.settings` of its build, and the mark of the FAISS file that its vectors are from ("": the
    encoder made them).
    """

    layout: IndexLayout
    corpus: Corpus
    encoder: EncoderIdentity
    settings: Facts
    vectors: str = ""


class VectorIndex(ABC):
    """An open index: vectors in, nearest rows out. Used by one thread at a time. `identity` holds the values
    beyond the manifest that determine the answers (the kind, search settings); it goes into cache keys and
    `/health`.
    """

    rows: int
    dim: int
    identity: Facts

    @abstractmethod
    def search(self, vectors: FloatArray, k: int) -> Hits:
        """The `k` best rows for each of float32 [queries, dim]."""


class VectorBackend(ABC):
    """Builds and opens the indexes of its `kinds` (values of `type:` in the configs).

    `build_options` and `search_options` are config classes: the sections `shape` of a build and `searching`
    of a server.
    """

    kinds: tuple[str, ...]
    build_options: type[Any]
    search_options: type[Any]

    @abstractmethod
    def need(self, kind: str, *, rows: int, dim: int, options: Any) -> Need:
        """Bytes that a build needs beyond the float32 vector file, or the fp16 one of `half_is_enough`: disk
        for the index, peak memory.
        """

    @abstractmethod
    def build(
        self, kind: str, built: BuiltFrom, vectors: NDArray[np.float32], options: Any, steps: Steps
    ) -> None:
        """Build the index of float32 [rows, dim], or of the fp16 ones in `layout.half_vectors` where
        `half_is_enough`; each long step reports through `steps`. Raises `UserError` when it cannot be built.
        """

    @abstractmethod
    def open(self, kind: str, built: BuiltFrom, options: Any) -> VectorIndex:
        """Open a built index. Raises `UserError` when a part is missing or of the wrong size."""

    @abstractmethod
    def keeps_vectors(self, kind: str) -> bool:
        """Whether the index of `kind` searches the float32 vector file itself."""

    def half_is_enough(self, kind: str) -> bool:  # noqa: ARG002 - for who keeps fp16 vectors
        """Whether the index of `kind` keeps its vectors as fp16 in `layout.half_vectors`: a build then needs
        no float32 file, which has twice the size.
        """
        return False

    @abstractmethod
    def remove(self, layout: IndexLayout) -> None:
        """Remove the files of an interrupted or replaced build (not the two vector files)."""

    def settings(self, options: Any) -> Facts:
        """The options that an index is built by, for the manifest: `open` gets them back, and a build with
        others is another index.
        """
        return dump(options)

    def is_whole(self, kind: str, manifest: Manifest, options: Any) -> bool:  # noqa: ARG002 - what one outside needs
        """Whether a finished index still holds all vectors: one that is kept outside the folder may have
        lost some, and is then completed by the next build.
        """
        return True

    def version(self) -> str:
        """The version of the backend's library, for the manifest."""
        return ""


class FlatHeader(NamedTuple):
    """Of a flat FAISS index by inner product."""

    dim: int
    rows: int


def flat_header(first: bytes) -> FlatHeader | None:
    """What the first bytes of a file say; None where they are not those of a flat FAISS index by inner
    product.
    """
    if len(first) < FLAT_HEADER.size:
        return None
    kind, dim, rows, _, _, _, metric, floats = FLAT_HEADER.unpack(first[: FLAT_HEADER.size])
    ours = kind == _FLAT_BY_INNER_PRODUCT and metric == 0 and dim > 0 and floats == rows * dim
    return FlatHeader(dim, rows) if ours else None


def map_vectors(path: Path, *, rows: int, dim: int, half: bool = False) -> NDArray[Any]:
    """A raw vector file, or the vectors in a flat FAISS file, as a read-only map [rows, dim]; the latter do
    not begin at a multiple of 4 bytes. Raises `UserError` when the size does not fit.
    """
    dtype = np.float16 if half else np.float32
    expected = rows * dim * np.dtype(dtype).itemsize
    found = path.stat().st_size if path.is_file() else None
    start = 0
    if found == FLAT_HEADER.size + expected and not half:
        with path.open("rb") as handle:
            header = flat_header(handle.read(FLAT_HEADER.size))
        start = FLAT_HEADER.size if header == (dim, rows) else 0
    if found != start + expected:
        raise UserError(
            f"{path} has {found} bytes instead of {expected}; build the index again with overwrite=true"
        )
    return np.memmap(path, dtype=dtype, mode="r", offset=start, shape=(rows, dim))


def whole_block(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Rows of a map as float32 that any library takes: contiguous, and at a multiple of 4 bytes."""
    return np.require(vectors, np.float32, ["C_CONTIGUOUS", "ALIGNED"])


def read_singly(vectors: NDArray[Any]) -> None:
    """Tell the kernel that rows of a mapped file are read here and there: it would read 128 KiB around each
    of them, and in a memory that does not hold the file throw as much of it out again.
    """
    held = getattr(vectors, "base", None)
    if isinstance(held, mmap.mmap):
        held.madvise(mmap.MADV_RANDOM)
