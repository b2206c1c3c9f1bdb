"""FAISS as a vector backend: exact (`flat`), graph (`hnsw`), inverted lists (`ivf`), 4-bit codes (`pq`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from src_core.errors import UserError
from src_core.progress import Steps
from src_retrieval.layout import IndexLayout
from src_retrieval.vector.base import BuiltFrom, Need, VectorBackend, VectorIndex
from src_retrieval.vector.faiss_build import (
    MIN_TRAIN_ROWS,
    DenseOptions,
    build_hnsw,
    build_ivf,
    need_of,
)
from src_retrieval.vector.faiss_index import DenseType, SearchOptions, load_faiss, open_dense
from src_retrieval.vector.pq_build import build_pq


def build_dense(
    kind: DenseType,
    layout: IndexLayout,
    vectors: NDArray[np.float32],
    options: DenseOptions,
    steps: Steps,
    *,
    made_from: Mapping[str, Any],
) -> None:
    """Write the files of `kind` for float32 [rows, dim], which are `made_from` this. A flat index needs
    none.
    """
    if kind is DenseType.FLAT:
        return
    if kind is not DenseType.HNSW and len(vectors) < MIN_TRAIN_ROWS:
        raise UserError(
            f"type {kind} needs at least {MIN_TRAIN_ROWS} passages to train on, the corpus has "
            f"{len(vectors)}; use flat"
        )
    if kind is DenseType.PQ:
        build_pq(layout, vectors, options, steps, made_from)
    elif kind is DenseType.IVF:
        build_ivf(layout, vectors, options, steps)
    else:
        build_hnsw(layout, vectors, options, steps)


class FaissBackend(VectorBackend):
    """All kinds search by inner product."""

    kinds = tuple(DenseType)
    build_options = DenseOptions
    search_options = SearchOptions

    def need(self, kind: str, *, rows: int, dim: int, options: Any) -> Need:
        """See `VectorBackend.need`."""
        return need_of(DenseType(kind), rows=rows, dim=dim, options=options)

    def build(
        self, kind: str, built: BuiltFrom, vectors: NDArray[np.float32], options: Any, steps: Steps
    ) -> None:
        """See `VectorBackend.build`."""
        made_from = {
            "corpus": built.corpus.info.sha256,
            "encoder": dataclasses.asdict(built.encoder),
            "vectors": built.vectors,
        }
        build_dense(DenseType(kind), built.layout, vectors, options, steps, made_from=made_from)

    def open(self, kind: str, built: BuiltFrom, options: Any) -> VectorIndex:
        """See `VectorBackend.open`."""
        rows, dim = len(built.corpus), built.encoder.dim
        return open_dense(built.layout, DenseType(kind), rows=rows, dim=dim, options=options)

    def keeps_vectors(self, kind: str) -> bool:
        """A flat index is the vector file."""
        return kind == DenseType.FLAT

    @override
    def half_is_enough(self, kind: str) -> bool:
        """The vectors that refine PQ results are fp16."""
        return kind == DenseType.PQ

    def remove(self, layout: IndexLayout) -> None:
        """See `VectorBackend.remove`."""
        paths = [layout.linked_vectors, layout.ivf_lists, *layout.root.glob("ivf.shard*")]
        for kind in DenseType:
            paths += [layout.faiss_file(kind), layout.faiss_file(kind).with_suffix(".faiss.tmp")]
        for path in paths:
            path.unlink(missing_ok=True)

    def version(self) -> str:
        """FAISS's own."""
        return str(load_faiss().__version__)


BACKEND = FaissBackend()
