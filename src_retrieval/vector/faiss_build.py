"""Building FAISS indexes from a vector file with flat memory: training on a sample, adding in blocks.

Only HNSW needs its graph and fp16 vectors in memory while it is built; `need_of` gives the bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from src_core.config import Count, Positive, Seed, config_class
from src_core.errors import UserError
from src_core.progress import Steps
from src_retrieval.layout import IndexLayout
from src_retrieval.vector.base import Need, whole_block
from src_retrieval.vector.faiss_index import DenseType, load_faiss
from src_retrieval.vector.ivf_lists import ListsWriter

BLOCK_ROWS = 20_000
HNSW_BLOCK_ROWS = 2_000
SHARD_ROWS = 100_000
MIN_TRAIN_ROWS = 1_000
BASE_MEMORY = 1 << 30
HNSW_ROW_BYTES = 24
"""Of a row: its level, the place of its neighbours, and those of the upper levels."""
FAST_SCAN_ROWS = 32
"""FastScan stores whole blocks of rows."""


@config_class
class DenseOptions:
    """Shapes of the approximate indexes; 0 means chosen from the data. `train_rows` bounds the training
    sample.
    """

    hnsw_m: Annotated[int, Field(ge=2, le=512)] = 32
    hnsw_ef_construction: Positive = 200
    ivf_lists: Count = 0
    pq_parts: Count = 0
    train_rows: Positive = 65_536
    seed: Seed = 0


def need_of(kind: DenseType, *, rows: int, dim: int, options: DenseOptions) -> Need:
    """Bytes that a build needs beyond the vector file (of PQ: the fp16 one): disk for the index, peak
    memory.
    """
    half = rows * dim * 2
    train = options.train_rows * dim * 4
    if kind is DenseType.FLAT:
        return Need(0, BASE_MEMORY)
    if kind is DenseType.HNSW:
        graph = rows * (options.hnsw_m * 2 * 4 + HNSW_ROW_BYTES)
        return Need(half + graph, BASE_MEMORY + 2 * (half + graph))
    if kind is DenseType.IVF:
        centres = list_count(rows, options.ivf_lists) * dim * 4
        return Need(2 * (half + rows * 8) + centres, BASE_MEMORY + 2 * train + SHARD_ROWS * dim * 4)
    codes = (rows + FAST_SCAN_ROWS) * pq_parts(dim, options.pq_parts) // 2
    return Need(2 * codes, BASE_MEMORY + 2 * train + 2 * codes)


def pq_parts(dim: int, wanted: int) -> int:
    """The number of 4-bit codes per vector: `wanted`, or one per two dimensions.

    One per four is enough for the embeddings of reference/performance.md, section 1.4, but not for E5, whose
    vectors lie close together: on 43,201 passages with E5-small and refine factor 20, recall@10 is .83 with
    one per four and .99 with one per two.
    """
    if wanted:
        if dim % wanted:
            raise UserError(f"pq_parts {wanted} does not divide the dimension {dim}; choose a divisor")
        return wanted
    return next(dim // width for width in range(2, dim + 1) if dim % width == 0)


def list_count(rows: int, wanted: int) -> int:
    """The number of inverted lists: `wanted`, or about four times the root of the rows, with 39 rows each at
    least.
    """
    return wanted or max(1, min(int(4 * math.sqrt(rows)), rows // 39))


def build_hnsw(
    layout: IndexLayout, vectors: NDArray[np.float32], options: DenseOptions, steps: Steps
) -> None:
    """A graph over fp16 vectors, in memory until it is written."""
    faiss = load_faiss()
    kind = faiss.ScalarQuantizer.QT_fp16
    index = faiss.IndexHNSWSQ(vectors.shape[1], kind, options.hnsw_m, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = options.hnsw_ef_construction
    index.train(whole_block(vectors[:MIN_TRAIN_ROWS]))  # fast: it only determines the range of fp16
    with steps("vectors added to the hnsw index", total=len(vectors)) as progress:
        # The last rows of a graph cost most, so the blocks are small: a line of the log says how far it is.
        for block in _blocks(vectors, rows=HNSW_BLOCK_ROWS):
            index.add(block)
            progress.advance(len(block))
    write_faiss(index, layout.faiss_file(DenseType.HNSW), steps)


def build_ivf(layout: IndexLayout, vectors: NDArray[np.float32], options: DenseOptions, steps: Steps) -> None:
    """Shards of bounded size, merged into one file of inverted lists that is mapped when searching."""
    faiss = load_faiss()
    rows, dim = vectors.shape
    lists = list_count(rows, options.ivf_lists)
    trained = faiss.index_factory(dim, f"IVF{lists},SQfp16", faiss.METRIC_INNER_PRODUCT)
    trained.by_residual = False
    trained.cp.seed = options.seed or trained.cp.seed
    train(trained, vectors, max(options.train_rows, lists * 39), options.seed, steps)
    merged = ListsWriter(layout, trained.nlist, trained.code_size)
    with steps("vectors added to the ivf index", total=rows) as progress:
        for start in range(0, rows, SHARD_ROWS):
            shard = faiss.clone_index(trained)
            for at in range(start, min(start + SHARD_ROWS, rows), BLOCK_ROWS):
                stop = min(at + BLOCK_ROWS, start + SHARD_ROWS, rows)
                block = whole_block(vectors[at:stop])
                shard.add_with_ids(block, np.arange(at, stop, dtype=np.int64))
                progress.advance(stop - at)
            merged.add_shard(shard.invlists)
    with steps(f"merging {merged.shards} parts of the ivf index", total=trained.nlist) as progress:
        merged.merge_into(trained, progress)
    write_faiss(trained, layout.faiss_file(DenseType.IVF), steps)


def train(index: Any, vectors: NDArray[np.float32], rows: int, seed: int, steps: Steps) -> None:
    """Train on at most `rows` vectors. One call of FAISS that takes minutes; lines of the log come from the
    heartbeat of the step.
    """
    sample = _sample(vectors, rows, seed)
    with steps(f"training on {len(sample):,} vectors"):
        index.train(sample)


def _blocks(vectors: NDArray[np.float32], *, rows: int = BLOCK_ROWS) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(vectors), rows):
        yield whole_block(vectors[start : start + rows])


def _sample(vectors: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    """Random rows, read in file order."""
    if count >= len(vectors):
        return whole_block(vectors)
    chosen = np.random.default_rng(seed).choice(len(vectors), size=count, replace=False)
    return whole_block(vectors[np.sort(chosen)])


def write_faiss(index: Any, path: Path, steps: Steps) -> None:
    """Write under another name, then rename. Through a Python file: FAISS's own writer does not report that
    the last bytes did not fit on the disk. Raises OSError then.
    """
    faiss = load_faiss()
    failed: list[OSError] = []
    partial = path.with_name(path.name + ".tmp")

    def write(data: bytes) -> int:
        try:
            return handle.write(data)
        except OSError as error:  # FAISS would make a RuntimeError of it
            failed.append(error)
            return 0

    with steps(f"writing {path.name}"), partial.open("wb") as handle:
        try:
            faiss.write_index(index, faiss.PyCallbackIOWriter(write))
        except RuntimeError:
            if failed:
                raise failed[0] from None
            raise
    partial.replace(path)
