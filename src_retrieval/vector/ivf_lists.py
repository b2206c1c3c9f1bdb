"""The inverted lists of an IVF index, in the file that FAISS maps when it searches.

FAISS merges the lists of several parts through a map of the new file, and on a full disk a write into a map
ends the process. Here the file is written from its beginning to its end: for each list its codes, then its
ids (int64).
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src_core.progress import StepProgress
from src_retrieval.layout import IndexLayout
from src_retrieval.vector.faiss_index import load_faiss

ID_BYTES = 8


class ListsWriter:
    """Takes the lists of parts of an index, each in a file of its own, and writes them as one. Raises
    OSError when that is not possible.
    """

    def __init__(self, layout: IndexLayout, lists: int, code_size: int) -> None:
        self._layout, self._lists, self._code_size = layout, lists, code_size
        self._sizes: list[NDArray[np.int64]] = []

    @property
    def shards(self) -> int:
        """The number of parts."""
        return len(self._sizes)

    def add_shard(self, lists: Any) -> None:
        """Write the `InvertedLists` of a part beside the index."""
        faiss = load_faiss()
        sizes = np.array([lists.list_size(at) for at in range(self._lists)], dtype=np.int64)
        with self._path(self.shards).open("wb") as handle:
            for at in np.flatnonzero(sizes):
                codes = faiss.rev_swig_ptr(lists.get_codes(int(at)), int(sizes[at]) * self._code_size)
                handle.write(codes.data)
                handle.write(list_ids(lists, int(at)).data)
        self._sizes.append(sizes)

    def merge_into(self, index: Any, progress: StepProgress) -> None:
        """Write the file, point the trained, empty IVF `index` to it, and remove the parts."""
        faiss = load_faiss()
        target, paths = self._layout.ivf_lists, [self._path(at) for at in range(self.shards)]
        with ExitStack() as stack:
            out = stack.enter_context(target.open("wb"))
            parts = [stack.enter_context(path.open("rb")) for path in paths]
            for at in range(self._lists):
                sizes = [int(shard[at]) for shard in self._sizes]
                pieces = [
                    (part.read(size * self._code_size), part.read(size * ID_BYTES))
                    for part, size in zip(parts, sizes, strict=True)
                ]
                out.writelines(codes for codes, _ in pieces)
                out.writelines(ids for _, ids in pieces)
                progress.advance(1)
        for path in paths:
            path.unlink()
        totals = np.sum(self._sizes, axis=0, dtype=np.uint64)
        lists = faiss.OnDiskInvertedLists(self._lists, self._code_size, str(target))
        lists.set_all_lists_sizes(faiss.swig_ptr(totals))
        lists.totsize = target.stat().st_size
        index.ntotal = int(totals.sum())
        index.replace_invlists(lists, True)
        lists.this.disown()

    def _path(self, shard: int) -> Path:
        return self._layout.root / f"ivf.shard{shard}"


def list_ids(lists: Any, at: int) -> NDArray[np.int64]:
    """The ids of a list, as a copy."""
    ids: NDArray[np.int64] = load_faiss().rev_swig_ptr(lists.get_ids(at), lists.list_size(at)).copy()
    return ids
