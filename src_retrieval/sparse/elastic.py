"""Elasticsearch as a word index: the retriever of DeepRAG and DRAGIN (reference/deeprag.md, sections 3.2 and
3.3), on a server of its own.

The query is theirs: `multi_match` over `title` and `txt`, `best_fields`, tie breaker 0.5, word statistics of
all shards. How we differ: as many documents are fetched as are used (there, 1,000 for 3), only their ids
travel (the passages are read from the corpus file), a query is not cut to 64 tokens, and missing results are
left out instead of filled with empty documents. A document's id is that of its passage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from src_core.errors import IndexServerError, UserError
from src_core.progress import Steps
from src_retrieval.corpus import Corpus
from src_retrieval.index_server import for_a_person
from src_retrieval.layout import IndexLayout, Manifest
from src_retrieval.results import NOTHING, Facts, Hits
from src_retrieval.sparse import bm25_english
from src_retrieval.sparse.base import Built, SparseBackend, SparseIndex
from src_retrieval.sparse.bm25_english import TIE_BREAKER
from src_retrieval.sparse.elastic_build import build_elastic, is_of, require_whole
from src_retrieval.sparse.elastic_options import ElasticOptions
from src_retrieval.sparse.elastic_server import FIELDS, ElasticServer

HEADER = {"search_type": "dfs_query_then_fetch"}


class ElasticIndex(SparseIndex):
    """An index on a server that holds all of `corpus`. Raises `UserError` for one that does not."""

    def __init__(self, server: ElasticServer, corpus: Corpus, settings: Facts) -> None:
        self._server, self._corpus = server, corpus
        version = server.version()
        self._uuid = require_whole(server, server.state(), corpus).uuid
        self.identity = {"kind": server.product.kind, "server": version, "uuid": self._uuid, **settings}

    def search(self, queries: Sequence[str], k: int, *, among: Sequence[str] | None = None) -> Hits:
        """The `k` best rows per query, by one `msearch`, only passages with the ids `among` where that is
        given (an unknown id finds nothing). Raises `IndexServerError`.
        """
        k = min(k, len(self._corpus))
        rows = np.full((len(queries), k), NOTHING, dtype=np.int64)
        scores = np.zeros((len(queries), k), dtype=np.float32)
        results = self._server.search([_body(query, k, among) for query in queries], HEADER)
        if self._server.uuid() != self._uuid:
            raise IndexServerError(
                f"the index {self._server.index} on {self._server.host} was made anew while it was served; "
                "restart this retriever"
            )
        for at, hits in enumerate(results):
            found = self._rows([hit.id for hit in hits[:k]])
            given = np.array([hit.score for hit in hits[:k]], dtype=np.float32)
            order = np.lexsort((found, -given))  # equal scores in row order, as in the other indexes
            rows[at, : len(found)], scores[at, : len(found)] = found[order], given[order]
        return Hits(rows, scores)

    def _rows(self, ids: list[str]) -> NDArray[np.int64]:
        found = self._corpus.rows_of(ids) if ids else np.zeros(0, dtype=np.int64)
        if (found == NOTHING).any():
            raise IndexServerError(
                f"the index {self._server.index} on {self._server.host} holds documents that are not of "
                f"{self._corpus.path}; build it again with sparse_options.replace=true"
            )
        return found


def _body(query: str, k: int, among: Sequence[str] | None) -> dict[str, Any]:
    fields = {"type": "best_fields", "fields": list(FIELDS), "tie_breaker": TIE_BREAKER}
    wanted: dict[str, Any] = {"multi_match": {"query": query, **fields}}
    if among is not None:  # a filter does not change the scores
        wanted = {"bool": {"must": wanted, "filter": {"ids": {"values": list(among)}}}}
    return {"query": wanted, "size": k, "_source": False, "track_total_hits": False}


class ElasticBackend(SparseBackend):
    """An index on an Elasticsearch server; the folder of the index holds its manifest alone."""

    kinds = ("elasticsearch",)
    options = ElasticOptions

    @override
    def disk_need(self, corpus: Corpus, options: Any) -> int:
        """See `SparseBackend.disk_need`: the disk is the server's, which says itself when it is full."""
        return 0

    @override
    def build(self, kind: str, layout: IndexLayout, corpus: Corpus, options: Any, steps: Steps) -> None:
        """See `SparseBackend.build`."""
        with for_a_person():
            server = ElasticServer(options)
            server.version()
            build_elastic(server, corpus, options, steps)

    @override
    def open(self, kind: str, built: Built, options: Any) -> SparseIndex:
        """See `SparseBackend.open`."""
        if self.settings(options) != built.settings:
            raise UserError(
                f"{built.layout.root} was built with the settings {built.settings}, the config says "
                f"{self.settings(options)}; correct sparse_options.index"
            )
        with for_a_person():
            return ElasticIndex(ElasticServer(options), built.corpus, built.settings)

    @override
    def settings(self, options: Any) -> Facts:
        """See `SparseBackend.settings`."""
        return {"index": options.index, **bm25_english.settings()}

    @override
    def is_whole(self, kind: str, manifest: Manifest, options: Any) -> bool:
        """See `SparseBackend.is_whole`."""
        with for_a_person():
            state = ElasticServer(options).state()
        return (
            state is not None
            and not state.fault
            and is_of(state, manifest.corpus_sha256)
            and state.documents == state.meta.get("rows_done") == manifest.rows
        )

    @override
    def remove(self, layout: IndexLayout) -> None:
        """See `SparseBackend.remove`. The index on the server stays: `sparse_options.replace` deletes it."""


BACKEND = ElasticBackend()
