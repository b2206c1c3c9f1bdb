"""The flat FAISS file of another project, such as FlashRAG's `e5_Flat.index` (reference/radio_flashrag.md,
section 2.4: 21,015,324 vectors of 768 dimensions, 60.1 GiB), as the vectors of an index.

FAISS writes such an index as 45 bytes and the vectors after them, so they are mapped where they lie. The
type, dimension and number of vectors are read from these bytes alone: FAISS would load a file of another type
whole before it says what it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src_core.errors import UserError
from src_retrieval.corpus import Corpus
from src_retrieval.encoders.base import Encoder
from src_retrieval.vector.base import FLAT_HEADER, flat_header, map_vectors
from src_retrieval.watch_files import OpenFile

KINDS = {
    b"IxFI": "a damaged flat index",
    b"IxF2": "a flat index by L2 distance",
    b"IxFl": "a flat index of another metric",
    b"IHN": "an HNSW index",
    b"Iw": "an IVF index",
    b"Iv": "an IVF index",
    b"IxM": "an index with ids of its own",
    b"IxS": "an index of scalar-quantised vectors",
    b"IxPT": "an index behind a transform",
    b"IxP": "an index of PQ codes",
    b"IP": "an index of PQ codes",
    b"PK": "a zip archive, which has to be unpacked first",
}
"""What the first bytes of a file mean; the longest that fits."""
SAMPLE = 64
AGREE = 0.9
NEAR = 1e-3
"""Of two cosines: fp16 on a GPU and fp32 on a CPU differ by less."""


class FlatFile(NamedTuple):
    """A whole file: float32 [rows, dim] by inner product. `mark` names its contents (`OpenFile.mark`)."""

    path: Path
    rows: int
    dim: int
    mark: str

    def vectors(self) -> NDArray[np.float32]:
        """Mapped, read-only."""
        return map_vectors(self.path, rows=self.rows, dim=self.dim)


def open_flat_file(path: Path, encoder: Encoder) -> FlatFile:
    """The file, whose vectors have the dimension of `encoder`. Raises `UserError` for one of another type or
    dimension, and for one that is not whole.
    """
    if not path.is_file():
        raise UserError(f"no FAISS file at {path}; correct the setting vectors")
    with path.open("rb") as handle:
        first = handle.read(FLAT_HEADER.size)
    header = flat_header(first)
    if header is None:
        raise UserError(f"{path} is {_what(first)}; give the setting vectors a flat index by inner product")
    dim, rows = header.dim, header.rows
    if dim != encoder.identity.dim:
        raise UserError(
            f"{path} holds vectors of {dim} dimensions, {encoder.identity.name} makes "
            f"{encoder.identity.dim}; set encoder to the one that made the file"
        )
    size, wanted = path.stat().st_size, FLAT_HEADER.size + rows * dim * 4
    if size != wanted:
        state = "not whole" if size < wanted else "damaged"
        raise UserError(
            f"{path} is {state}: {size:,} bytes instead of {wanted:,} for {rows:,} vectors; fetch it again"
        )
    file = OpenFile(path)
    try:
        return FlatFile(path, rows, dim, file.mark())
    finally:
        file.close()


def require_of_corpus(file: FlatFile, corpus: Corpus, encoder: Encoder) -> None:
    """Raises `UserError` where the vectors cannot be those of `corpus` in its order by `encoder`: another
    number of them, or a sample of passages whose vectors by `encoder` are not nearest to their own row. That
    is a check of 64 rows, not of all.
    """
    if file.rows != len(corpus):
        raise UserError(
            f"{file.path} holds {file.rows:,} vectors, {corpus.path} has {len(corpus):,} passages; set "
            "corpus to the one that the file was made from"
        )
    rows = np.unique(np.linspace(0, file.rows - 1, min(file.rows, SAMPLE), dtype=np.int64))
    given = _unit(np.array(file.vectors()[rows]))
    if not np.isfinite(given).all():
        raise UserError(f"{file.path} holds vectors that are no numbers; fetch it again")
    own = _unit(encoder.encode_passages([corpus.row(row).contents for row in rows.tolist()]))
    cosines = own @ given.T
    agree = int((cosines.diagonal() >= cosines.max(axis=1) - NEAR).sum())
    if agree < AGREE * len(rows):
        raise UserError(
            f"of {len(rows)} passages of {corpus.path} only {agree} have their own vector in {file.path} by "
            f"{encoder.identity.name}; set encoder and corpus to those that the file was made with"
        )


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def _what(first: bytes) -> str:
    known = max((start for start in KINDS if first.startswith(start)), key=len, default=b"")
    return KINDS.get(known, "no FAISS file")
