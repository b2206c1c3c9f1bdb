"""The stages of a search and their connections: encode, search (dense and sparse in parallel), fuse, rerank.

    encode -> dense --+
                      +-> fuse -> rerank -> answer
              sparse -+

Only the stages that the engine needs are created: a server of BM25 alone has one. Passages that a caller
sends enter at the last stage, and share its batches with the searches.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from src_retrieval.engine import SearchEngine
from src_retrieval.pipeline.stage import Stage
from src_retrieval.rerankers.base import Candidates, Pair
from src_retrieval.results import FloatArray, Ranked

Observe = Callable[[str, int, float], None]
"""Called with the name of a stage, the size of a batch, and its seconds."""


@dataclass(slots=True, eq=False)
class _Job:
    """One query in the pipeline, with the results of the stages so far. `count` rows are candidates of the
    reranker, unless it is not `reranked`; `texts` are the candidates where the caller sent them.
    """

    query: str
    top_n: int
    count: int
    reranked: bool
    searches_left: int
    texts: Sequence[str] | None = None
    vector: FloatArray | None = None
    dense: list[Ranked] = field(default_factory=list)
    sparse: list[Ranked] = field(default_factory=list)
    rows: list[Ranked] = field(default_factory=list)
    tokens: int | None = None
    answer: Future[list[Ranked]] = field(default_factory=Future)
    settled: bool = False

    def wanted(self) -> bool:
        """Whether a caller still waits for it."""
        return not self.settled and not self.answer.cancelled()


class Reranked(NamedTuple):
    """The places of a caller's texts, best first, and the tokens that were read (None: not counted)."""

    rows: list[Ranked]
    tokens: int | None


_Put = Callable[[list[_Job]], None]


class SearchPipeline:
    """Runs the queries of all callers through the stages. `max_batch` bounds the batches of searching;
    encoding and reranking have smaller bounds, so that the next stage can start early.
    """

    def __init__(self, engine: SearchEngine, *, max_batch: int, observe: Observe = lambda *_: None) -> None:
        self._engine, self._max_batch, self._observe = engine, max_batch, observe
        self._lock = threading.Lock()
        self._stages: list[Stage[_Job, Any]] = []
        self._entries: list[_Put] = []
        self._reranking: _Put | None = None
        after: _Put = self._settle
        if engine.reranker is not None:
            self._reranking = self._add("rerank", self._rerank, "rows", after, engine.rerank_batch).put
            after = self._rerank_or_settle
        if engine.hybrid:
            after = self._join_before(self._add("fuse", self._fuse, "rows", after).put)
        if engine.sparse is not None:
            into = "sparse" if engine.hybrid else "rows"
            self._entries.append(self._add("sparse", self._search_sparse, into, after).put)
        if engine.encoder is not None:
            into = "dense" if engine.hybrid else "rows"
            dense = self._add("dense", self._search_dense, into, after)
            encode = self._add("encode", self._encode, "vector", dense.put, engine.encoder.batch_size)
            dense.follow(encode)
            self._entries.append(encode.put)

    def run(
        self, queries: Sequence[str], top_n: int, *, timeout: float, rerank_top_n: int | None = None
    ) -> list[list[Ranked]]:
        """The best `top_n` rows for each query, in order; `rerank_top_n` as in `SearchEngine.candidates`.
        Raises the error of a stage for one of them, or TimeoutError after `timeout` seconds; unfinished
        queries are then dropped.
        """
        count = self._engine.candidates(top_n, rerank_top_n)
        reranked, searches = rerank_top_n != 0, len(self._entries)
        jobs = [_Job(query, top_n, count, reranked, searches) for query in queries]
        return self._answers(jobs, self._entries, timeout)

    def rerank(self, query: str, texts: Sequence[str], *, timeout: float) -> Reranked:
        """Rank the texts that a caller sent. Raises as `run`."""
        if self._reranking is None:
            raise ValueError("the pipeline has no reranker")
        rows = [Ranked(place, 0.0) for place in range(len(texts))]
        job = _Job(query, len(texts), len(texts), True, 0, texts=texts, rows=rows)
        return Reranked(self._answers([job], [self._reranking], timeout)[0], job.tokens)

    def _answers(self, jobs: list[_Job], entries: Sequence[_Put], timeout: float) -> list[list[Ranked]]:
        try:
            for put in entries:
                put(jobs)
            return [job.answer.result(timeout) for job in jobs]
        finally:
            for job in jobs:
                job.answer.cancel()  # no effect on a finished job

    def close(self) -> None:
        """Finish the queued jobs, then end all threads."""
        for stage in reversed(self._stages):  # from the entries to the end
            stage.close()

    def _add(
        self,
        name: str,
        run: Callable[[list[_Job]], Sequence[Any]],
        into: str,
        after: _Put,
        most: int | None = None,
    ) -> Stage[_Job, Any]:
        """A stage whose result becomes the field `into` of its jobs, which are then passed to `after`."""

        def done(finished: list[tuple[_Job, Any]]) -> None:
            for job, result in finished:
                setattr(job, into, result)
            after([job for job, _ in finished])

        stage: Stage[_Job, Any] = Stage(
            name,
            run,
            done=done,
            failed=self._fail,
            max_batch=min(self._max_batch, most or self._max_batch),
            wanted=_Job.wanted,
            observe=lambda size, seconds: self._observe(name, size, seconds),
        )
        self._stages.append(stage)
        return stage

    def _join_before(self, after: _Put) -> _Put:
        """Passes a job on when the last of its searches is done."""

        def join(jobs: list[_Job]) -> None:
            with self._lock:
                for job in jobs:
                    job.searches_left -= 1
                whole = [job for job in jobs if job.searches_left == 0]
            after(whole)

        return join

    def _rerank_or_settle(self, jobs: list[_Job]) -> None:
        wanted = [job for job in jobs if job.reranked]
        plain = [job for job in jobs if not job.reranked]
        for job in plain:
            job.rows = job.rows[: job.top_n]
        self._settle(plain)
        if self._reranking is not None and wanted:
            self._reranking(wanted)

    def _settle(self, jobs: list[_Job]) -> None:
        for job in jobs:
            if job.answer.set_running_or_notify_cancel():
                job.answer.set_result(job.rows)

    def _fail(self, job: _Job, error: Exception) -> None:
        with self._lock:  # both searches of a query may fail
            first, job.settled = not job.settled, True
        if first and job.answer.set_running_or_notify_cancel():
            job.answer.set_exception(error)

    def _encode(self, jobs: list[_Job]) -> Sequence[FloatArray]:
        return self._engine.encode([job.query for job in jobs])

    def _search_dense(self, jobs: list[_Job]) -> list[list[Ranked]]:
        vectors = [job.vector for job in jobs if job.vector is not None]
        return self._engine.search_dense(vectors, [job.count for job in jobs])

    def _search_sparse(self, jobs: list[_Job]) -> list[list[Ranked]]:
        return self._engine.search_sparse([job.query for job in jobs], [job.count for job in jobs])

    def _fuse(self, jobs: list[_Job]) -> list[list[Ranked]]:
        return [self._engine.fuse(job.dense, job.sparse, job.count) for job in jobs]

    def _rerank(self, jobs: list[_Job]) -> list[list[Ranked]]:
        contents = self._engine.contents
        lists = [
            Candidates(job.query, list(map(contents, job.rows)) if job.texts is None else job.texts)
            for job in jobs
        ]
        scores = self._engine.judge(lists)
        for job in jobs:
            if job.texts is not None and self._engine.reranker is not None:
                pairs = [Pair(job.query, text) for text in job.texts]
                job.tokens = self._engine.reranker.count_tokens(pairs)
        by_score = self._engine.by_score
        return [
            by_score(job.rows, found, job.top_n, searched=job.texts is None)
            for job, found in zip(jobs, scores, strict=True)
        ]
