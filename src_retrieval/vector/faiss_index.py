"""Searching vectors: FAISS indexes, memory-mapped, by inner product.

All arrays stay in files: a flat index is a view on the raw vectors, PQ keeps 4-bit codes and refines
with mapped fp16 vectors, IVF lists are mapped, HNSW is loaded with `IO_FLAG_MMAP_IFC`. Measured in
reference/performance.md: section 1.3 (FAISS leaves BLAS unused below batch 167 at 768 dimensions), 1.4
(recall against speed), 1.6 (mapping).
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src_core.config import Count, Positive, config_class
from src_core.errors import UserError
from src_retrieval.layout import IndexLayout
from src_retrieval.results import Facts, FloatArray, Hits
from src_retrieval.vector.base import VectorIndex, map_vectors, read_singly

BLAS_FROM_BATCH = 4
BLAS_ALWAYS = 1


class DenseType(StrEnum):
    """Kinds of FAISS index, all by inner product. `flat` is exact."""

    FLAT = "flat"
    HNSW = "hnsw"
    IVF = "ivf"
    PQ = "pq"


@config_class
class SearchOptions:
    """Search settings, which trade accuracy for speed. `threads` 0 leaves FAISS its default."""

    threads: Count = 0
    hnsw_ef: Positive = 128
    ivf_nprobe: Positive = 128
    pq_refine_factor: Positive = 20
    blas_switch: bool = True


def load_faiss() -> Any:
    """FAISS, imported on first use, with OpenMP threads that sleep between searches instead of spinning."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if _is_amd_with_avx2():
        # The OpenBLAS in the FAISS wheel treats recent AMD cores as old ones: 2.3 times slower on Zen 4.
        os.environ.setdefault("OPENBLAS_CORETYPE", "Zen")
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    import faiss

    return faiss


def _is_amd_with_avx2() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    return "AuthenticAMD" in text and " avx2 " in text


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Redirect standard output, which is for results: FAISS's on-disk lists print messages from C++."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what C++ has printed lies in the buffer of C
        os.dup2(saved, 1)
        os.close(saved)


@functools.cache
def stock_blas_threshold() -> int:
    """FAISS's own value, read before the first search changes it (it is global to the process)."""
    return int(load_faiss().cvar.distance_compute_blas_threshold)


class FaissIndex(VectorIndex):
    """A FAISS index of any kind. `keep` holds the arrays that the index points to; `identity` the search
    settings that determine its answers.
    """

    def __init__(
        self,
        index: Any,
        options: SearchOptions,
        *,
        keep: tuple[Any, ...] = (),
        identity: Facts | None = None,
    ) -> None:
        self.identity = dict(identity or {})
        self._faiss = load_faiss()
        self._index = index
        self._options = options
        self._keep = keep
        self._stock_threshold = stock_blas_threshold()
        self.rows: int = index.ntotal
        self.dim: int = index.d

    def search(self, vectors: FloatArray, k: int) -> Hits:
        """The `k` best rows for each of float32 [queries, dim]; k above the number of rows is cut to it."""
        if self._options.threads:
            # The OpenMP setting belongs to the calling thread, hence here and not at load.
            self._faiss.omp_set_num_threads(self._options.threads)
        if self._options.blas_switch:
            # One matrix product serves the batch; up to three are faster in the direct loop.
            batched = len(vectors) >= BLAS_FROM_BATCH
            threshold = BLAS_ALWAYS if batched else self._stock_threshold
            self._faiss.cvar.distance_compute_blas_threshold = threshold
        scores, rows = self._index.search(np.ascontiguousarray(vectors), min(k, self.rows))
        return Hits(rows, scores)


def open_dense(
    layout: IndexLayout, kind: DenseType, *, rows: int, dim: int, options: SearchOptions
) -> FaissIndex:
    """Map a built index. Raises `UserError` when a file is missing or of the wrong size."""
    faiss = load_faiss()
    if kind is DenseType.FLAT:
        linked = layout.linked_vectors
        vectors = map_vectors(linked if linked.is_file() else layout.vectors, rows=rows, dim=dim)
        return FaissIndex(flat_view(vectors), options, keep=(vectors,), identity={"kind": kind})
    path = layout.faiss_file(kind)
    if kind is DenseType.IVF:
        with stdout_to_stderr():
            index = read_faiss(path, faiss.IO_FLAG_ONDISK_SAME_DIR | faiss.IO_FLAG_READ_ONLY)
        _require_lists(index, layout)
        _require_size(index, path, rows=rows, dim=dim)
        index.nprobe = min(options.ivf_nprobe, index.nlist)
        return FaissIndex(index, options, identity={"kind": kind, "ivf_nprobe": index.nprobe})
    index = read_faiss(path, faiss.IO_FLAG_MMAP_IFC)
    _require_size(index, path, rows=rows, dim=dim)
    if kind is DenseType.HNSW:
        index.hnsw.efSearch = options.hnsw_ef
        return FaissIndex(index, options, identity={"kind": kind, "hnsw_ef": options.hnsw_ef})
    halves = map_vectors(layout.half_vectors, rows=rows, dim=dim, half=True)
    read_singly(halves)
    refiner = half_view(halves)
    refined = faiss.IndexRefine(index, refiner)
    refined.k_factor = options.pq_refine_factor
    known: Facts = {"kind": kind, "pq_refine_factor": options.pq_refine_factor}
    return FaissIndex(refined, options, keep=(index, refiner, halves), identity=known)


def on_gpus(index: FaissIndex, options: SearchOptions) -> FaissIndex:
    """The same index with fp16 storage, sharded over all visible GPUs. Raises `UserError` without one."""
    faiss = load_faiss()
    count = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    if not hasattr(faiss, "GpuMultipleClonerOptions") or count == 0:
        raise UserError(
            "faiss_gpu is true but FAISS sees no GPU; install faiss-gpu on a GPU node or set it to false"
        )
    cloner = faiss.GpuMultipleClonerOptions()
    cloner.useFloat16 = True
    cloner.shard = True
    known: Facts = {**index.identity, "storage": "fp16"}
    return FaissIndex(faiss.index_cpu_to_all_gpus(index._index, co=cloner), options, identity=known)


def read_faiss(path: Path, flags: int) -> Any:
    """Read a FAISS file; a missing or broken one is a `UserError`."""
    if not path.is_file():
        raise UserError(
            f"no index at {path}; build it with bash scripts/build_index.sh, or correct index_path"
        )
    try:
        return load_faiss().read_index(str(path), flags)
    except (RuntimeError, MemoryError, ValueError, OverflowError) as error:
        raise UserError(f"{path} is not a FAISS index that this version reads; rebuild it") from error


def _require_size(index: Any, path: Path, *, rows: int, dim: int) -> None:
    if (index.ntotal, index.d) != (rows, dim):
        raise UserError(
            f"{path} holds {index.ntotal} vectors of {index.d} dimensions instead of {rows} of {dim}; build "
            "the index again with overwrite=true"
        )


def _require_lists(index: Any, layout: IndexLayout) -> None:
    """Raises `UserError` for a file that is too short: FAISS maps it unchecked, and reading beyond its end
    ends the process.
    """
    wanted = load_faiss().downcast_InvertedLists(index.invlists).totsize
    found = layout.ivf_lists.stat().st_size if layout.ivf_lists.is_file() else 0
    if found < wanted:
        raise UserError(
            f"{layout.ivf_lists} has {found} bytes instead of {wanted}; build the index again with "
            "overwrite=true"
        )


def flat_view(vectors: NDArray[np.float32]) -> Any:
    """An exact inner-product index over mapped vectors, which it does not copy (keep them alive)."""
    index = load_faiss().IndexFlatIP(vectors.shape[1])
    return _point_at(index, vectors)


def half_view(vectors: NDArray[np.float16]) -> Any:
    """A scalar-quantiser index whose fp16 codes are the mapped vectors themselves (keep them alive)."""
    faiss = load_faiss()
    kind = faiss.ScalarQuantizer.QT_fp16
    index = faiss.IndexScalarQuantizer(vectors.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    return _point_at(index, vectors)


def _point_at(index: Any, vectors: NDArray[Any]) -> Any:
    """Let the codes of a flat-coded index be the bytes of `vectors`. FAISS's own `create_view` wants an owner
    object that Python cannot create, so the fields of the view are set directly.
    """
    faiss = load_faiss()
    codes = faiss.MaybeOwnedVectorUInt8()
    start = faiss.swig_ptr(vectors.view(np.uint8).reshape(-1))
    codes.is_owned = False
    codes.view_data = codes.c_ptr = start
    codes.view_size = codes.c_size = vectors.nbytes
    index.codes = codes
    index.ntotal = len(vectors)
    return index
