"""A FAISS file from another source (such as the published flat index of wiki18): what it is, and which
passages its vectors are.

A file may have ids of its own: an IndexIDMap (DPR counts from 1), or the ids that were added to an IVF
index. They are the ids of the corpus, or row numbers, or neither; a search is answered only where it is
certain which.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from src_core.errors import UserError
from src_retrieval.results import NOTHING, Facts, FloatArray, Hits
from src_retrieval.vector.faiss_index import FaissIndex, SearchOptions, load_faiss, read_faiss
from src_retrieval.vector.ivf_lists import list_ids

END_BYTES = 1 << 20
SAMPLE_IDS = 1_000

Ids = NDArray[np.int64]
RowsOf = Callable[[Sequence[str]], Ids]
"""The row of each id of a corpus, -1 for an id that it lacks."""


class FaissFile(FaissIndex):
    """An index whose ids are translated to rows, and whose L2 distances become scores (their negative): more
    is better in every list of scores.
    """

    def __init__(self, index: Any, options: SearchOptions, *, ids: Ids, rows: Ids, identity: Facts) -> None:
        super().__init__(index, options, identity=identity)
        order = np.argsort(ids, kind="stable")
        self._ids, self._rows_of_ids = ids[order], rows[order]
        self._sign = 1 if index.metric_type == load_faiss().METRIC_INNER_PRODUCT else -1

    @override
    def search(self, vectors: FloatArray, k: int) -> Hits:
        """See `VectorIndex.search`."""
        hits = super().search(vectors, k)
        scores = hits.scores if self._sign > 0 else -hits.scores
        if not len(self._ids):
            return Hits(hits.rows, scores)
        at = np.minimum(np.searchsorted(self._ids, hits.rows), len(self._ids) - 1)
        rows = np.where(self._ids[at] == hits.rows, self._rows_of_ids[at], NOTHING)
        return Hits(rows, scores)


def open_faiss_file(path: Path, options: SearchOptions, *, rows_of: RowsOf | None = None) -> FaissIndex:
    """Map the file. Raises `UserError` for one that cannot be searched, or whose ids are not certain to mean
    a row; without `rows_of` they can only be row numbers.
    """
    faiss = load_faiss()
    index = read_faiss(path, faiss.IO_FLAG_MMAP_IFC)
    if index.metric_type not in (faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2):
        raise UserError(f"{path} does not search by inner product or L2 distance; build it with one of them")
    known: Facts = {"kind": "file", "file": path.name, "sha256_of_ends": digest_of_ends(path)}
    if index.metric_type == faiss.METRIC_L2:
        known["metric"] = "negative squared L2 distance"
    ids = _own_ids(index)
    rows = ids if ids is None else _rows(ids, rows_of, path)
    if ids is None or rows is None:
        ids = rows = np.zeros(0, dtype=np.int64)
    opened = FaissFile(index, options, ids=ids, rows=rows, identity=known)
    try:
        opened.search(np.zeros((1, opened.dim), dtype=np.float32), 1)
    except (RuntimeError, MemoryError) as error:
        raise UserError(f"{path} cannot be searched: the file is damaged; fetch or build it again") from error
    return opened


def digest_of_ends(path: Path) -> str:
    """A sha256 over the size, the first and the last MiB of a file: reading a whole file of 65 GB takes
    minutes.
    """
    if not path.is_file():
        return ""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as handle:
        digest.update(handle.read(END_BYTES))
        handle.seek(max(0, size - END_BYTES))
        digest.update(handle.read(END_BYTES))
    return digest.hexdigest()


def _rows(ids: Ids, rows_of: RowsOf | None, path: Path) -> Ids | None:
    """The row of each id; None where the ids are the row numbers in their order. Raises `UserError`."""
    count = len(ids)
    if np.array_equal(np.sort(ids), np.arange(count)):
        some = np.unique(np.linspace(0, count - 1, min(count, SAMPLE_IDS), dtype=np.int64))
        named = some if rows_of is None else rows_of([str(number) for number in some.tolist()])
        if (named >= 0).all() and not np.array_equal(named, some):
            raise UserError(
                f"the ids in {path} are row numbers of the corpus and ids of other rows of it too, so it is "
                "not certain which passages are meant; build it without ids, in the order of the corpus"
            )
        return None
    if len(np.unique(ids)) != count:
        raise UserError(f"{path} has several vectors with one id; build it with one vector per passage")
    rows = None if rows_of is None else rows_of([str(number) for number in ids.tolist()])
    if rows is None or (rows < 0).any():
        raise UserError(
            f"the ids in {path} are neither the ids nor the row numbers of the corpus (0 to {count - 1}); "
            "set corpus_path to the corpus that the index was built from, or build it without ids"
        )
    return rows


def _own_ids(index: Any) -> Ids | None:
    """The ids that a search can return; None where they are the numbers of the vectors."""
    faiss = load_faiss()
    inner = faiss.downcast_index(index)
    while True:
        if isinstance(inner, faiss.IndexIDMap):
            return np.array(faiss.vector_to_array(inner.id_map), dtype=np.int64)
        if isinstance(inner, faiss.IndexPreTransform):
            inner = faiss.downcast_index(inner.index)
        elif isinstance(inner, faiss.IndexRefine):
            inner = faiss.downcast_index(inner.base_index)
        else:
            break
    if not isinstance(inner, faiss.IndexIVF):
        return None
    lists = inner.invlists
    found = [list_ids(lists, at) for at in range(lists.nlist) if lists.list_size(at)]
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
