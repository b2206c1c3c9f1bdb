"""Searching a store of vectors, and the backend that every store shares.

The record beside the vectors is compared with the manifest of the index folder when a server starts, and its
id before each answer: a collection that is made anew while it is served gives errors, never passages of
another corpus.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from src_core.errors import IndexServerError, UserError
from src_core.progress import Steps
from src_retrieval.corpus import Corpus
from src_retrieval.index_server import for_a_person
from src_retrieval.layout import IndexLayout, Manifest
from src_retrieval.results import NOTHING, Facts, FloatArray, Hits
from src_retrieval.vector.base import BuiltFrom, Need, VectorBackend, VectorIndex
from src_retrieval.vector.store import (
    LoadOptions,
    StoreCalls,
    StoreManifest,
    StoreOptions,
    VectorStore,
    checked_name,
)
from src_retrieval.vector.store_load import load, require_whole, state, wanted_manifest, where

BASE_MEMORY = 1 << 29
PROBES = 8
"""Rows that are searched by their own vector at the end of a build."""
TOLERANCE = 0.01
"""Of an inner product, as a share of it: vectors may be kept as fp16."""


class StoreIndex(VectorIndex):
    """A collection that is served. `searching` are its search settings."""

    def __init__(self, call: StoreCalls, manifest: StoreManifest, corpus: Corpus, searching: Any) -> None:
        self._call, self._made, self._corpus, self._searching = call, manifest.made, corpus, searching
        self.rows, self.dim = manifest.rows, manifest.encoder.dim

    def search(self, vectors: FloatArray, k: int, *, among: Sequence[str] | None = None) -> Hits:
        """The `k` best rows for each of float32 [queries, dim], only passages with the ids `among` where that
        is given (an unknown id finds nothing). Raises `IndexServerError`.
        """
        store, k = self._call.store, min(k, self.rows)
        queries = np.ascontiguousarray(vectors, dtype=np.float32)
        only = None if among is None else self._rows_of(among)
        found: list[list[tuple[int, float]]] = [[] for _ in queries]
        if only != [] and len(queries):
            found = self._call(lambda: store.search(queries, k, self._searching, only))
        if self._made not in (self._call(store.manifest) or ""):
            raise IndexServerError(
                f"{where(self._call)} was made anew while it was served; restart this retriever"
            )
        return self._hits(found, len(queries), k)

    def close(self) -> None:
        """Let the store go."""
        self._call.store.close()

    def _rows_of(self, ids: Sequence[str]) -> list[int]:
        rows = self._corpus.rows_of(ids) if ids else np.zeros(0, dtype=np.int64)
        return sorted({int(row) for row in rows if row != NOTHING})

    def _hits(self, found: list[list[tuple[int, float]]], queries: int, k: int) -> Hits:
        rows = np.full((queries, k), NOTHING, dtype=np.int64)
        scores = np.zeros((queries, k), dtype=np.float32)
        if len(found) != queries:
            raise self._call.store.errors.says(f"{len(found)} answers to {queries} queries")
        for at, pairs in enumerate(found):
            own = np.array([row for row, _ in pairs[:k]], dtype=np.int64)
            given = np.array([score for _, score in pairs[:k]], dtype=np.float32)
            if ((own < 0) | (own >= self.rows)).any() or not np.isfinite(given).all():
                raise self._call.store.errors.says("rows that are not of the corpus, or scores that are none")
            order = np.lexsort((own, -given))  # equal scores in row order, as in the other indexes
            rows[at, : len(own)], scores[at, : len(own)] = own[order], given[order]
        return Hits(rows, scores)


class StoreBackend(VectorBackend):
    """The backend of one kind of store. The folder of the index holds its manifest alone."""

    build_options: type[LoadOptions]
    search_options: type[StoreOptions]

    @abstractmethod
    def connect(self, options: Any, collection: str) -> VectorStore:
        """The collection of that name, whether it is there or not. `options` is a `StoreOptions`. Raises
        `UserError` for settings that cannot be right, and where the client is not installed.
        """

    @override
    def need(self, kind: str, *, rows: int, dim: int, options: Any) -> Need:
        """See `VectorBackend.need`: the disk is the store's."""
        return Need(0, BASE_MEMORY)

    @override
    def settings(self, options: Any) -> Facts:
        """See `VectorBackend.settings`."""
        checked_name(options.collection)
        facts: Facts = options.facts()
        return facts

    @override
    def build(
        self, kind: str, built: BuiltFrom, vectors: NDArray[np.float32], options: Any, steps: Steps
    ) -> None:
        """See `VectorBackend.build`."""
        with self._calls(options, options.collection) as call:
            manifest = load(call, built, vectors, options, steps)
            index = StoreIndex(call, manifest, built.corpus, self.search_options())
            with steps("asking for some vectors"):
                require_found(index, built.corpus, vectors)

    @override
    def open(self, kind: str, built: BuiltFrom, options: Any) -> VectorIndex:
        """See `VectorBackend.open`."""
        store = self.connect(options, checked_name(str(built.settings.get("collection", ""))))
        call = StoreCalls(store, options.retry)
        try:
            with for_a_person():
                there, count = state(call)
                manifest = require_whole(call, there, wanted_manifest(built), count)
                version = call(store.version)
        except BaseException:
            store.close()
            raise
        index = StoreIndex(call, manifest, built.corpus, options)
        index.identity = {
            "kind": kind,
            "store": version,
            "made": manifest.made,
            **self.search_facts(options),
        }
        return index

    def search_facts(self, options: Any) -> Facts:
        """The search settings that determine the answers."""
        own = set(StoreOptions.__dataclass_fields__)
        return {name: getattr(options, name) for name in options.__dataclass_fields__ if name not in own}

    @override
    def is_whole(self, kind: str, manifest: Manifest, options: Any) -> bool:
        """See `VectorBackend.is_whole`."""
        with self._calls(options, options.collection) as call:
            there, count = state(call)
        if there is None or manifest.encoder is None:
            return False
        wanted = StoreManifest("", manifest.corpus_sha256, manifest.rows, manifest.encoder, manifest.settings)
        return there.other(wanted) is None and there.ended and count == manifest.rows

    @override
    def keeps_vectors(self, kind: str) -> bool:
        """The store has them."""
        return False

    @override
    def remove(self, layout: IndexLayout) -> None:
        """See `VectorBackend.remove`. The collection stays: `shape.replace` deletes it."""

    @contextmanager
    def _calls(self, options: Any, collection: str) -> Iterator[StoreCalls]:
        with for_a_person(), closing(self.connect(options, collection)) as store:
            yield StoreCalls(store, options.retry)


def require_found(index: StoreIndex, corpus: Corpus, vectors: NDArray[np.float32]) -> None:
    """Raises `UserError` where a store does not give some rows back by their own vector and id: one that
    keeps vectors in another way (normalised, by another measure) would rank in another way without a word.
    """
    for row in sorted({int(at) for at in np.linspace(0, len(vectors) - 1, PROBES)}):
        vector = np.asarray(vectors[row : row + 1], dtype=np.float32)
        hits = index.search(vector, 1, among=[corpus.row(row).id])
        wanted = float(vector[0] @ vector[0])
        found, score = int(hits.rows[0, 0]), float(hits.scores[0, 0])
        if found != row or abs(score - wanted) > TOLERANCE * max(abs(wanted), TOLERANCE):
            raise UserError(
                f"the store does not give back what was sent: row {row} has the inner product {wanted:.4f} "
                f"with itself, the answer is row {found} with {score:.4f}; add shape.replace=true to a new "
                "build"
            )
