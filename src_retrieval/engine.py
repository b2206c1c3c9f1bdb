"""Queries in, ranked corpus rows out: the parts of a search, its steps, and the checks before serving."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from src_core.config import Positive, config_class
from src_core.errors import UserError
from src_retrieval.backends import options_of
from src_retrieval.corpus import Corpus, open_corpus
from src_retrieval.encoders.base import Encoder, EncoderOptions
from src_retrieval.encoders.load import load_encoder
from src_retrieval.fusion import RRF_K, fuse, with_retrieval
from src_retrieval.index_checks import corpus_of, halves, require_encoder, require_tokenizer
from src_retrieval.index_files import open_files, require_unreplaced
from src_retrieval.layout import IndexLayout, Manifest, read_manifest
from src_retrieval.rerankers import load_reranker
from src_retrieval.rerankers.base import Candidates, Reranker, RerankOptions
from src_retrieval.results import FloatArray, Ranked, ranked
from src_retrieval.sparse import sparse_backend
from src_retrieval.sparse.base import Built, SparseIndex
from src_retrieval.vector import vector_backend
from src_retrieval.vector.base import BuiltFrom, VectorIndex
from src_retrieval.vector.faiss_file import open_faiss_file
from src_retrieval.vector.faiss_index import FaissIndex, SearchOptions, on_gpus
from src_retrieval.watch_files import FileWatch, OpenFile

LOG = logging.getLogger("src_retrieval")


@config_class
class EngineConfig:
    """The settings of a search engine. The first four names are those of the published
    `retriever_config.yaml`: the encoder (a folder, a hub name or a registry name), the index (a folder built
    by `build_index.sh`, or a FAISS file), FAISS on the GPU, and the corpus. `type` empty: as the index was
    built; either half of a hybrid can be served alone. `hybrid_depth` rows of each list are fused.
    `searching` and `sparse_options` hold the settings of the vector and the word backend; `rerank` empty: no
    reranker.
    """

    retrieval_method: str
    index_path: str
    corpus_path: str
    faiss_gpu: bool = False
    type: str | None = None
    hybrid_depth: Positive = 50
    rrf_constant: Positive = RRF_K
    encoding: EncoderOptions = EncoderOptions()
    searching: dict[str, Any] = dataclasses.field(default_factory=dict)
    sparse_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    rerank: RerankOptions | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SearchEngine:
    """The parts that search one corpus, and the steps of a search over them. Each part is used by one thread
    at a time: the pipeline calls each step from its own thread.
    """

    corpus: Corpus
    encoder: Encoder | None
    dense: VectorIndex | None
    sparse: SparseIndex | None
    reranker: Reranker | None
    config: EngineConfig
    files: FileWatch = dataclasses.field(default_factory=FileWatch)

    @property
    def hybrid(self) -> bool:
        """Whether two lists are fused."""
        return self.dense is not None and self.sparse is not None

    @property
    def rerank_batch(self) -> int:
        """The number of queries that are reranked together."""
        return self.config.rerank.max_batch if self.config.rerank else 1

    def candidates(self, top_n: int, rerank_top_n: int | None = None) -> int:
        """The number of rows that are reranked, or returned without a reranker. `rerank_top_n` replaces the
        server's `rerank.top_n`; 0 means that nothing is reranked.
        """
        if rerank_top_n is None:
            rerank_top_n = self.config.rerank.top_n if self.config.rerank else 0
        return max(top_n, rerank_top_n)

    def search(self, queries: Sequence[str], top_n: Sequence[int]) -> list[list[Ranked]]:
        """The best `top_n[i]` rows for query i, fewer where an index finds fewer; step by step in this
        thread.
        """
        counts = [self.candidates(wanted) for wanted in top_n]
        dense = self.search_dense(self.encode(queries), counts) if self.dense is not None else []
        rows = self.search_sparse(queries, counts) if self.sparse is not None else dense
        if self.hybrid:
            rows = [self.fuse(*lists) for lists in zip(dense, rows, counts, strict=True)]
        return self.rerank(queries, rows, top_n) if self.reranker is not None else rows

    def warm_up(self) -> None:
        """Make a first search; rerank its row only where that happens in this process."""
        rows = replace(self, reranker=None).search(["warm up"], [1])
        if self.reranker is not None and self.reranker.local:
            self.rerank(["warm up"], rows, [1])

    def encode(self, queries: Sequence[str]) -> list[FloatArray]:
        """A vector [dim] per query."""
        return list(self.encoder.encode_queries(queries)) if self.encoder is not None else []

    def search_dense(self, vectors: Sequence[FloatArray], counts: Sequence[int]) -> list[list[Ranked]]:
        """The rows of the vector index for each query, as many as the later steps need for `counts`
        candidates.
        """
        if self.dense is None:
            return [[] for _ in counts]
        depths = [self._depth(count) for count in counts]
        hits = self.dense.search(np.stack(vectors), max(depths))
        # Cut to the number that each query would get alone, so that the answer does not depend on the batch.
        return [ranked(hits, at, depth) for at, depth in enumerate(depths)]

    def search_sparse(self, queries: Sequence[str], counts: Sequence[int]) -> list[list[Ranked]]:
        """The rows of the word index for each query, as many as the later steps need for `counts`
        candidates.
        """
        if self.sparse is None:
            return [[] for _ in counts]
        depths = [self._depth(count) for count in counts]
        hits = self.sparse.search(queries, max(depths))
        return [ranked(hits, at, depth) for at, depth in enumerate(depths)]

    def fuse(self, dense: list[Ranked], sparse: list[Ranked], count: int) -> list[Ranked]:
        """Fuse the two lists of a query to `count` candidates."""
        return fuse([dense, sparse], count, constant=self.config.rrf_constant)

    def rerank(
        self, queries: Sequence[str], rows: Sequence[list[Ranked]], top_n: Sequence[int]
    ) -> list[list[Ranked]]:
        """The best `top_n[i]` of the candidates of query i, as `by_score` orders them."""
        lists = [
            Candidates(query, [self.contents(result) for result in found])
            for query, found in zip(queries, rows, strict=True)
        ]
        return [
            self.by_score(found, scores, wanted)
            for found, scores, wanted in zip(rows, self.judge(lists), top_n, strict=True)
        ]

    def contents(self, result: Ranked) -> str:
        """The text of a row, as a reranker reads it."""
        return self.corpus.row(result.row).contents

    def judge(self, lists: Sequence[Candidates]) -> list[FloatArray]:
        """The reranker's scores float32 [passages] for the candidates of each query. Raises `ArithmeticError`
        for scores that are no numbers.
        """
        if self.reranker is None:
            raise ValueError("the engine has no reranker")
        judged = self.reranker.score_lists(lists)
        if not all(np.isfinite(scores).all() for scores in judged):
            raise ArithmeticError(f"{self.reranker.identity.name} gave scores that are not numbers")
        return judged

    def by_score(
        self, found: Sequence[Ranked], scores: FloatArray, top_n: int, *, searched: bool = True
    ) -> list[Ranked]:
        """The best `top_n` candidates of a query by the reranker's scores, with the share of the retriever's
        that `rerank.retrieval_weight` says where they were `searched`; ties keep their order.
        """
        weight = self.config.rerank.retrieval_weight if self.config.rerank and searched else 0.0
        mixed = with_retrieval(scores.tolist(), [each.retrieval for each in found], weight=weight)
        scored = [each._replace(rerank=score) for each, score in zip(found, mixed, strict=True)]
        return sorted(scored, key=lambda each: -each.score)[:top_n]

    def _depth(self, count: int) -> int:
        """The number of rows that are taken from each index for `count` candidates."""
        return max(count, self.config.hybrid_depth) if self.hybrid else count


class OpenedIndex(NamedTuple):
    """An engine ready to search, and the manifest it was checked against (None for a bare FAISS file)."""

    engine: SearchEngine
    manifest: Manifest | None


def open_engine(config: EngineConfig) -> OpenedIndex:
    """Load and verify. Raises `UserError` when index, encoder and corpus do not match."""
    path = Path(config.index_path)
    if path.is_file():
        return OpenedIndex(_from_file(config, path), None)
    layout = IndexLayout(path)
    manifest = read_manifest(layout)
    if manifest is None:
        unfinished = "an unfinished index" if layout.unfinished.root.is_dir() else "no index"
        raise UserError(
            f"there is {unfinished} in {path}; build it with bash scripts/build_index.sh "
            f"corpus={config.corpus_path} index_dir={path} encoder={config.retrieval_method}"
        )
    files = open_files(layout, manifest)
    corpus = corpus_of(config.corpus_path, layout, manifest)
    engine = _from_folder(config, layout, manifest, corpus, FileWatch([*files, corpus.file]))
    require_unreplaced(layout, manifest)
    return OpenedIndex(engine, manifest)


def _from_folder(
    config: EngineConfig, layout: IndexLayout, manifest: Manifest, corpus: Corpus, files: FileWatch
) -> SearchEngine:
    dense_kind, sparse_kind = halves(config.type, manifest, layout)
    encoder: Encoder | None = None
    dense: VectorIndex | None = None
    sparse: SparseIndex | None = None
    if dense_kind is not None:
        encoder = load_encoder(config.retrieval_method, config.encoding)
        built_by = require_encoder(encoder, manifest, layout)
        backend = vector_backend(dense_kind)
        options = options_of(backend.search_options, config.searching, where="searching")
        built = BuiltFrom(layout, corpus, built_by, manifest.settings)
        opened = backend.open(dense_kind, built, options)
        dense = _on_gpus(opened, options) if config.faiss_gpu else opened
    if sparse_kind is not None:
        own = sparse_backend(sparse_kind)
        require_tokenizer(own, manifest, layout)
        options = options_of(own.options, config.sparse_options, where="sparse_options")
        sparse = own.open(sparse_kind, Built(layout, corpus, manifest.sparse_settings), options)
    return _engine(config, corpus, encoder=encoder, dense=dense, sparse=sparse, files=files)


def _on_gpus(index: VectorIndex, options: SearchOptions) -> VectorIndex:
    if not isinstance(index, FaissIndex):
        raise UserError("faiss_gpu is true but the index is not one of FAISS; set it to false")
    return on_gpus(index, options)


def _from_file(config: EngineConfig, path: Path) -> SearchEngine:
    """An engine over a FAISS file from another source: without a manifest only sizes can be checked."""
    LOG.warning("%s has no manifest: that it was built by %s is not checked", path, config.retrieval_method)
    corpus = open_corpus(Path(config.corpus_path), path.with_name(path.name + ".corpus"))
    encoder = load_encoder(config.retrieval_method, config.encoding)
    options = options_of(SearchOptions, config.searching, where="searching")
    file = OpenFile(path)
    index = open_faiss_file(path, options, rows_of=corpus.rows_of)
    if index.dim != encoder.identity.dim:
        raise UserError(
            f"{path} holds vectors of {index.dim} dimensions, {config.retrieval_method} makes "
            f"{encoder.identity.dim}; set retrieval_method to the encoder that the index was built by"
        )
    if index.rows != len(corpus):
        raise UserError(
            f"{path} holds {index.rows} vectors, {config.corpus_path} holds {len(corpus)} passages; "
            "set corpus_path to the corpus that the index was built from"
        )
    dense = on_gpus(index, options) if config.faiss_gpu else index
    files = FileWatch([file, corpus.file])
    return _engine(config, corpus, encoder=encoder, dense=dense, sparse=None, files=files)


def _engine(
    config: EngineConfig,
    corpus: Corpus,
    *,
    encoder: Encoder | None,
    dense: VectorIndex | None,
    sparse: SparseIndex | None,
    files: FileWatch,
) -> SearchEngine:
    reranker = load_reranker(config.rerank) if config.rerank else None
    return SearchEngine(
        corpus=corpus,
        encoder=encoder,
        dense=dense,
        sparse=sparse,
        reranker=reranker,
        config=config,
        files=files,
    )
