"""Filling an Elasticsearch index with a corpus: progress, resume, and a count at the end.

The release sends its documents once, without a total, and searches whatever arrived (reference/deeprag.md,
sections 3.2 and 14). Here the index itself holds, in `_meta`, which corpus it is made from and how many of
its rows have arrived: a second call goes on there, also from another machine, and nobody searches an index
whose documents are not all there.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from src_core.errors import UserError
from src_core.progress import StepProgress, Steps
from src_retrieval.corpus import Corpus
from src_retrieval.rows import Row
from src_retrieval.sparse.bm25_english import fields_of
from src_retrieval.sparse.elastic_options import ElasticOptions
from src_retrieval.sparse.elastic_server import ANALYZER, FIELDS, ElasticServer, IndexState

SAVE_SECONDS = 5.0
"""Between two saves of how far a build has come."""


class _Sent(NamedTuple):
    """A request on its way, and the number of its passages."""

    answer: Future[None]
    passages: int


def build_elastic(server: ElasticServer, corpus: Corpus, options: ElasticOptions, steps: Steps) -> None:
    """Make the index, or complete the one that an interrupted build left. Raises `UserError`."""
    state = _usable(server, corpus, options)
    if state is None:
        server.create(_meta(corpus, 0), shards=options.shards, replicas=options.replicas)
    done = _rows_done(state, corpus)
    with steps(f"passages sent to {server.product.title}", total=len(corpus), done=done) as progress:
        _send(server, corpus, options, done, progress)
    server.refresh_again()
    state = server.state()
    if state is not None and state.documents < len(corpus) and is_of(state, corpus.info.sha256):
        server.write_meta(_meta(corpus, 0))  # the next build sends all of them
    require_whole(server, state, corpus, ended=False)
    server.write_meta(_meta(corpus, len(corpus)))


def require_whole(
    server: ElasticServer, state: IndexState | None, corpus: Corpus, *, ended: bool = True
) -> IndexState:
    """The state of an index that holds all of `corpus` and nothing else. Raises `UserError` for any other.
    `ended`: its build has to have said so as well.
    """
    name = f"the index {server.index} on {server.host}"
    if state is None:
        raise UserError(
            f"there is no index {server.index} on {server.host}; build it with {_command(server)}"
        )
    _require_ours(server, state, corpus)
    if state.documents != len(corpus):
        raise UserError(
            f"{name} holds {state.documents} documents, {corpus.path} has {len(corpus)} passages; "
            + (
                f"complete it with {_command(server)}"
                if state.documents < len(corpus)
                else "delete what is not of this corpus, or add sparse_options.replace=true to a new build"
            )
        )
    if ended and state.meta.get("rows_done") != len(corpus):
        raise UserError(f"the build of {name} has not ended; run it again: {_command(server)}")
    return state


def is_of(state: IndexState, corpus_sha256: str) -> bool:
    """Whether an index was made, or is being made, from a corpus."""
    return state.meta.get("corpus_sha256") == corpus_sha256


def _usable(server: ElasticServer, corpus: Corpus, options: ElasticOptions) -> IndexState | None:
    """The index to go on with; None where a new one has to be made."""
    state = server.state()
    if state is not None and options.replace and (state.fault or not is_of(state, corpus.info.sha256)):
        server.delete()
        return None
    if state is not None:
        _require_ours(server, state, corpus)
    return state


def _require_ours(server: ElasticServer, state: IndexState, corpus: Corpus) -> None:
    name, hint = f"the index {server.index} on {server.host}", "choose another sparse_options.index, or"
    if not is_of(state, corpus.info.sha256):
        raise UserError(
            f"{name} was not made from {corpus.path} ({state.documents} documents); {hint} delete that index "
            "by adding sparse_options.replace=true"
        )
    if state.fault:
        raise UserError(
            f"{name} is not one of the fields {' and '.join(FIELDS)} with the analyzer {ANALYZER}: "
            f"{state.fault}; {hint} make it anew by adding sparse_options.replace=true"
        )


def _rows_done(state: IndexState | None, corpus: Corpus) -> int:
    """The rows that need not be sent; none where the index has lost some of them."""
    done = 0 if state is None else state.meta.get("rows_done", 0)
    whole = state is not None and isinstance(done, int) and 0 <= done <= min(state.documents, len(corpus))
    return int(done) if whole else 0


def _send(
    server: ElasticServer, corpus: Corpus, options: ElasticOptions, done: int, progress: StepProgress
) -> None:
    """Send the rows from `done` on, several requests at a time; the answers are taken in row order."""
    waiting: deque[_Sent] = deque()
    saved = time.monotonic()

    def arrived() -> int:
        sent = waiting.popleft()
        sent.answer.result()
        progress.advance(sent.passages)
        return sent.passages

    with ThreadPoolExecutor(options.bulk_requests, thread_name_prefix="elasticsearch") as pool:
        try:
            for rows in _chunks(corpus, done, options):
                waiting.append(_Sent(pool.submit(_add, server, rows), len(rows)))
                if len(waiting) < options.bulk_requests:
                    continue
                done += arrived()
                if time.monotonic() - saved >= SAVE_SECONDS:
                    server.write_meta(_meta(corpus, done))
                    saved = time.monotonic()
            while waiting:
                arrived()
        except BaseException:
            server.give_up()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _chunks(corpus: Corpus, start: int, options: ElasticOptions) -> Iterator[list[Row]]:
    """The rows from `start` on in order, as many as go into a request."""
    chunk: list[Row] = []
    size = 0
    for at in range(start, len(corpus), options.bulk_passages):
        for row in corpus.rows(at, at + options.bulk_passages):
            own = len(row.contents.encode())
            if chunk and (len(chunk) == options.bulk_passages or size + own > options.bulk_bytes):
                yield chunk
                chunk, size = [], 0
            chunk.append(row)
            size += own
    if chunk:
        yield chunk


def _add(server: ElasticServer, rows: Sequence[Row]) -> None:
    server.add({row.id: dict(zip(FIELDS, fields_of(row.contents), strict=True)) for row in rows})


def _meta(corpus: Corpus, rows_done: int) -> dict[str, Any]:
    return {"corpus_sha256": corpus.info.sha256, "rows": len(corpus), "rows_done": rows_done}


def _command(server: ElasticServer) -> str:
    return (
        f"bash scripts/build_index.sh type={server.product.kind} "
        f"sparse_options.host={server.host} sparse_options.index={server.index}"
    )
