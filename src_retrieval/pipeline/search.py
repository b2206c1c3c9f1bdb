"""The stages of a search and how they hang together: encode, search (dense beside sparse), fuse, rerank.

    encode -> dense --+
                      +-> fuse -> rerank -> answer
              sparse -+

Only the stages that the engine needs are there: a server of BM25 alone has one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from src_retrieval.engine import SearchEngine
from src_retrieval.pipeline.stage import Stage
from src_retrieval.results import FloatArray, Ranked

Observe = Callable[[str, int, float], None]
"""Called with the name of a stage, the size of a batch, and its seconds."""


@dataclass(slots=True, eq=False)
class _Job:
    """One query on its way through the stages, and what they made of it."""

    query: str
    top_n: int
    searches_left: int
    vector: FloatArray | None = None
    dense: list[Ranked] = field(default_factory=list)
    sparse: list[Ranked] = field(default_factory=list)
    rows: list[Ranked] = field(default_factory=list)
    answer: Future[list[Ranked]] = field(default_factory=Future)
    settled: bool = False

    def wanted(self) -> bool:
        """Whether somebody still waits for it."""
        return not self.settled and not self.answer.cancelled()


_Put = Callable[[list[_Job]], None]


class SearchPipeline:
    """Runs the queries of all callers through the stages. `max_batch` bounds the batches of searching;
    encoding and reranking have smaller bounds, so that the next stage can begin early.
    """

    def __init__(self, engine: SearchEngine, *, max_batch: int, observe: Observe = lambda *_: None) -> None:
        self._engine, self._max_batch, self._observe = engine, max_batch, observe
        self._lock = threading.Lock()
        self._stages: list[Stage[_Job, Any]] = []
        self._entries: list[_Put] = []
        after: _Put = self._settle
        if engine.reranker is not None:
            after = self._add("rerank", self._rerank, "rows", after, engine.rerank_batch).put
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

    def run(self, queries: Sequence[str], top_n: int, *, timeout: float) -> list[list[Ranked]]:
        """The best `top_n` rows for each query, in order. Raises what a stage raised for one of them, or
        TimeoutError after `timeout` seconds; what is still on its way then is dropped.
        """
        jobs = [_Job(query, top_n, searches_left=len(self._entries)) for query in queries]
        try:
            for put in self._entries:
                put(jobs)
            return [job.answer.result(timeout) for job in jobs]
        finally:
            for job in jobs:
                job.answer.cancel()  # does nothing to one that is done

    def close(self) -> None:
        """Finish what is queued, then end all threads."""
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
        """A stage whose result becomes the field `into` of its jobs, which then go `after`."""

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
        return self._engine.search_dense(vectors, [job.top_n for job in jobs])

    def _search_sparse(self, jobs: list[_Job]) -> list[list[Ranked]]:
        return self._engine.search_sparse([job.query for job in jobs], [job.top_n for job in jobs])

    def _fuse(self, jobs: list[_Job]) -> list[list[Ranked]]:
        return [self._engine.fuse(job.dense, job.sparse, job.top_n) for job in jobs]

    def _rerank(self, jobs: list[_Job]) -> list[list[Ranked]]:
        return self._engine.rerank(
            [job.query for job in jobs], [job.rows for job in jobs], [job.top_n for job in jobs]
        )
