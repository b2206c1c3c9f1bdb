"""Building FAISS indexes from a vector file with flat memory: training on a sample, adding in blocks.

HNSW alone must hold its graph and fp16 vectors in memory while it is built; `memory_needed` says how much.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src_core.config import config_class
from src_core.errors import UserError
from src_core.progress import Steps
from src_retrieval.layout import IndexLayout
from src_retrieval.vector.base import Need
from src_retrieval.vector.faiss_index import DenseType, load_faiss, stdout_to_stderr

BLOCK_ROWS = 20_000
HNSW_BLOCK_ROWS = 2_000
SHARD_ROWS = 100_000
MIN_TRAIN_ROWS = 1_000
BASE_MEMORY = 1 << 30


@config_class
class DenseOptions:
    """Shapes of the approximate indexes; 0 means chosen from the data. `train_rows` bounds the training
    sample.
    """

    hnsw_m: int = 32
    hnsw_ef_construction: int = 200
    ivf_lists: int = 0
    pq_parts: int = 0
    train_rows: int = 65_536
    seed: int = 0


def build_dense(
    kind: DenseType,
    layout: IndexLayout,
    vectors: NDArray[np.float32],
    options: DenseOptions,
    steps: Steps,
) -> None:
    """Write the files of `kind` for float32 [rows, dim]. A flat index needs none."""
    if kind is DenseType.FLAT:
        return
    if kind is not DenseType.HNSW and len(vectors) < MIN_TRAIN_ROWS:
        raise UserError(
            f"type {kind} needs at least {MIN_TRAIN_ROWS} passages to train on, the corpus has "
            f"{len(vectors)}; use flat"
        )
    makers = {DenseType.HNSW: _build_hnsw, DenseType.IVF: _build_ivf, DenseType.PQ: _build_pq}
    makers[kind](layout, vectors, options, steps)


def need_of(kind: DenseType, *, rows: int, dim: int, options: DenseOptions) -> Need:
    """What building takes beyond the vector file: disk for the index, memory at the peak."""
    half = rows * dim * 2
    train = options.train_rows * dim * 4
    if kind is DenseType.FLAT:
        return Need(0, BASE_MEMORY)
    if kind is DenseType.HNSW:
        graph = rows * options.hnsw_m * 2 * 4
        return Need(half + graph, BASE_MEMORY + 2 * (half + graph))
    if kind is DenseType.IVF:
        return Need(2 * half, BASE_MEMORY + 2 * train + SHARD_ROWS * dim * 4)
    codes = rows * dim // 4
    return Need(half + codes, BASE_MEMORY + 2 * train + 2 * codes)


def pq_parts(dim: int, wanted: int) -> int:
    """How many 4-bit codes per vector: `wanted`, or one per two dimensions.

    One per four is enough for the embeddings of reference/performance.md, section 1.4, but not for E5,
    whose vectors lie close together: on 43,201 passages with E5-small and refine factor 20, recall@10
    is .83 with one per four and .99 with one per two.
    """
    if wanted:
        if dim % wanted:
            raise UserError(f"pq_parts {wanted} does not divide the dimension {dim}; choose a divisor")
        return wanted
    return next(dim // width for width in range(2, dim + 1) if dim % width == 0)


def list_count(rows: int, wanted: int) -> int:
    """How many inverted lists: `wanted`, or about four times the root of the rows, with 39 rows each at
    least.
    """
    return wanted or max(1, min(int(4 * math.sqrt(rows)), rows // 39))


def _build_hnsw(
    layout: IndexLayout, vectors: NDArray[np.float32], options: DenseOptions, steps: Steps
) -> None:
    faiss = load_faiss()
    kind = faiss.ScalarQuantizer.QT_fp16
    index = faiss.IndexHNSWSQ(vectors.shape[1], kind, options.hnsw_m, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = options.hnsw_ef_construction
    index.train(np.ascontiguousarray(vectors[:MIN_TRAIN_ROWS]))  # an instant: it learns the range of fp16
    with steps("vectors added to the hnsw index", total=len(vectors)) as progress:
        # The last rows of a graph cost most, so the blocks are small: a line of the log says how far it is.
        for block in _blocks(vectors, rows=HNSW_BLOCK_ROWS):
            index.add(block)
            progress.advance(len(block))
    _write(index, layout.faiss_file(DenseType.HNSW), steps)


def _build_ivf(
    layout: IndexLayout, vectors: NDArray[np.float32], options: DenseOptions, steps: Steps
) -> None:
    """Shards of bounded size, merged into one file of inverted lists that is mapped when searching."""
    faiss = load_faiss()
    rows, dim = vectors.shape
    lists = list_count(rows, options.ivf_lists)
    trained = faiss.index_factory(dim, f"IVF{lists},SQfp16", faiss.METRIC_INNER_PRODUCT)
    trained.by_residual = False
    trained.cp.seed = options.seed or trained.cp.seed
    _train(trained, vectors, max(options.train_rows, lists * 39), options.seed, steps)
    shards: list[Path] = []
    with steps("vectors added to the ivf index", total=rows) as progress:
        for start in range(0, rows, SHARD_ROWS):
            shard = faiss.clone_index(trained)
            for at in range(start, min(start + SHARD_ROWS, rows), BLOCK_ROWS):
                stop = min(at + BLOCK_ROWS, start + SHARD_ROWS, rows)
                block = np.ascontiguousarray(vectors[at:stop])
                shard.add_with_ids(block, np.arange(at, stop, dtype=np.int64))
                progress.advance(stop - at)
            shards.append(layout.root / f"ivf.shard{len(shards)}")
            faiss.write_index(shard, str(shards[-1]))
    _merge(trained, shards, layout, steps)


def _train(index: Any, vectors: NDArray[np.float32], rows: int, seed: int, steps: Steps) -> None:
    """One call of FAISS that takes minutes; lines of the log come from the heartbeat of the step."""
    sample = _sample(vectors, rows, seed)
    with steps(f"training on {len(sample):,} vectors"):
        index.train(sample)


def _merge(trained: Any, shards: list[Path], layout: IndexLayout, steps: Steps) -> None:
    from faiss.contrib.ondisk import merge_ondisk

    logging.getLogger("faiss.contrib.ondisk").setLevel(logging.WARNING)
    layout.ivf_lists.unlink(missing_ok=True)
    with stdout_to_stderr(), steps(f"merging {len(shards)} parts of the ivf index"):
        merge_ondisk(trained, [str(shard) for shard in shards], str(layout.ivf_lists))
    _write(trained, layout.faiss_file(DenseType.IVF), steps)
    for shard in shards:
        shard.unlink()


def _build_pq(layout: IndexLayout, vectors: NDArray[np.float32], options: DenseOptions, steps: Steps) -> None:
    """4-bit FastScan codes in FAISS's file, fp16 vectors beside it for refining."""
    faiss = load_faiss()
    parts = pq_parts(vectors.shape[1], options.pq_parts)
    index = faiss.index_factory(vectors.shape[1], f"PQ{parts}x4fs", faiss.METRIC_INNER_PRODUCT)
    _train(index, vectors, options.train_rows, options.seed, steps)
    with (
        layout.half_vectors.open("wb") as halves,
        steps("vectors added to the pq index", total=len(vectors)) as progress,
    ):
        for block in _blocks(vectors):
            index.add(block)
            halves.write(block.astype(np.float16).tobytes())
            progress.advance(len(block))
    _write(index, layout.faiss_file(DenseType.PQ), steps)


def _blocks(vectors: NDArray[np.float32], *, rows: int = BLOCK_ROWS) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(vectors), rows):
        yield np.ascontiguousarray(vectors[start : start + rows])


def _sample(vectors: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    """Random rows, read in file order."""
    if count >= len(vectors):
        return np.ascontiguousarray(vectors)
    chosen = np.random.default_rng(seed).choice(len(vectors), size=count, replace=False)
    return np.ascontiguousarray(vectors[np.sort(chosen)])


def _write(index: Any, path: Path, steps: Steps) -> None:
    """Write under another name, then rename: a killed build leaves no half index under the real name."""
    partial = path.with_name(path.name + ".tmp")
    with steps(f"writing {path.name}"):
        load_faiss().write_index(index, str(partial))
    partial.replace(path)
