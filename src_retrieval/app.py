"""The Flask app: routes in the shapes of the published server, of Search-R1, and for Prometheus.

Shapes: reference/rearag.md, section 2.5, and reference/r3rag.md, section 3. How we differ: requests of all
callers are batched together, bad requests are refused instead of coerced, missing results are left out
(there, FAISS's -1 silently returns the last document), and where scores are requested a document holds them
by name (`"scores": {"retrieval": 0.8, "rerank": 2.1}`) beside the published list of numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from src_core.config import Count, Positive, Seconds, config_class
from src_core.errors import BoundaryError, IndexServerError
from src_core.http_app import JSON, refusal
from src_core.http_server import HttpOptions, RequestError
from src_core.served import INDEX_HEADER
from src_retrieval.cache import ResultCache
from src_retrieval.client import NOTE_HEADER
from src_retrieval.corpus import Corpus
from src_retrieval.engine import SearchEngine
from src_retrieval.metrics import ServerMetrics
from src_retrieval.pipeline.search import Reranked, SearchPipeline
from src_retrieval.rerank_wire import rerank_request, write_reranked
from src_retrieval.results import Ranked
from src_retrieval.watch_files import FilesChangedError
from src_retrieval.wire import (
    Bounds,
    SearchRequest,
    batch_request,
    ids_request,
    retrieve_request,
    search_request,
)
from src_retrieval.wire_replies import Documents, write_batch, write_retrieve, write_search

LOG = logging.getLogger("src_retrieval")


Parse = Callable[[bytes, Bounds], SearchRequest]


@config_class
class AppOptions(HttpOptions):
    """Bounds of requests and batches (see `HttpOptions` for those of all our servers), and `cached_rows`, the
    number of ranked rows of earlier answers in the cache (0: no cache). One request gets at most
    `max_results` passages (queries times passages per query) and `max_reply_bytes`. `batching: false` is the
    baseline of the benchmark: one query per batch in every stage.
    """

    batching: bool = True
    max_batch: Positive = 64
    max_top_n: Positive = 1_000
    max_query_chars: Positive = 8_192
    max_body_bytes: Positive = 4_194_304
    max_results: Positive = 50_000
    max_reply_bytes: Positive = 67_108_864
    request_timeout: Seconds = 300.0
    cached_rows: Count = 200_000


class SearchService:
    """Runs queries through the stages, caches answers, counts. `identity` identifies index, encoder and
    reranker.
    """

    def __init__(self, engine: SearchEngine, options: AppOptions, *, identity: str) -> None:
        self.corpus: Corpus = engine.corpus
        self.files = engine.files
        self.metrics = ServerMetrics()
        self.bounds = Bounds(
            len(self.corpus),
            options.max_top_n,
            options.max_query_chars,
            options.max_results,
            reranks=engine.reranker is not None,
        )
        self.reranker = engine.reranker
        self._timeout = options.request_timeout
        self.identity = identity
        self._cache = ResultCache(options.cached_rows, identity)
        self._pipeline = SearchPipeline(
            engine, max_batch=options.max_batch if options.batching else 1, observe=self.metrics.observe
        )

    def run(self, wanted: SearchRequest) -> list[list[Ranked]]:
        """Ranked rows for each query of a request."""

        def searched(queries: Sequence[str]) -> list[list[Ranked]]:
            return self._pipeline.run(
                queries, wanted.top_n, timeout=self._timeout, rerank_top_n=wanted.rerank_top_n
            )

        results, known = self._cache.through(searched, wanted.queries, wanted.top_n, wanted.rerank_top_n)
        self.metrics.queries.inc(len(results))
        self.metrics.cached.inc(known)
        return results

    def rerank(self, query: str, texts: Sequence[str]) -> Reranked:
        """Rank the texts that a caller sent."""
        return self._pipeline.rerank(query, texts, timeout=self._timeout)

    def close(self) -> None:
        """Finish queued work."""
        self._pipeline.close()
        if self.reranker is not None:
            self.reranker.close()


Write = Callable[[Documents, SearchRequest, list[list[Ranked]]], bytes]


def make_app(service: SearchService, *, options: AppOptions) -> Flask:
    """The WSGI app, to which `src_core.http_app:GuardedApp` gives whole requests of those who may ask."""
    app = Flask("src_retrieval")

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(service.metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")

    def answer(parse: Parse, write: Write) -> Response:
        wanted = parse(request.environ["wsgi.input"].read(), service.bounds)
        documents = Documents(service.corpus, options.max_reply_bytes)
        response = Response(write(documents, wanted, service.run(wanted)), content_type=JSON)
        if wanted.cut:
            note = (
                f"{wanted.cut} of {len(wanted.queries)} queries cut to {options.max_query_chars} characters"
            )
            response.headers[NOTE_HEADER] = note
        return response

    @app.post("/search")
    def search() -> Response:
        return answer(search_request, write_search)

    @app.post("/batch_search")
    def batch_search() -> Response:
        return answer(batch_request, write_batch)

    @app.post("/retrieve")
    def retrieve() -> Response:
        return answer(retrieve_request, write_retrieve)

    @app.after_request
    def count(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "other"
        service.metrics.requests.labels(route, str(response.status_code)).inc()
        response.headers[INDEX_HEADER] = service.identity
        return response

    _add_passages(app, service, options)
    _add_rerank(app, service)
    _check_files(app, service)
    app.register_error_handler(RequestError, _request_error)
    app.register_error_handler(TimeoutError, _timed_out)
    app.register_error_handler(IndexServerError, _index_server)
    app.register_error_handler(BoundaryError, _boundary_error)
    app.register_error_handler(HTTPException, _http_error)
    return app


def _add_passages(app: Flask, service: SearchService, options: AppOptions) -> None:
    @app.post("/passages")
    def passages() -> Response:
        wanted = ids_request(request.environ["wsgi.input"].read(), service.bounds)
        documents = Documents(service.corpus, options.max_reply_bytes)
        return Response(b"[%b]" % b",".join(map(documents.by_id, wanted)), content_type=JSON)


def _add_rerank(app: Flask, service: SearchService) -> None:
    @app.post("/rerank")
    @app.post("/v1/rerank")
    @app.post("/v2/rerank")
    def rerank() -> Response:
        if service.reranker is None:
            detail = "this server has no reranker; set rerank.model in its config and start it again"
            raise RequestError(404, "no reranker", detail)
        wanted = rerank_request(request.environ["wsgi.input"].read(), service.bounds)
        ranked = service.rerank(wanted.query, wanted.texts)
        return Response(write_reranked(wanted, ranked, service.reranker.identity), content_type=JSON)


def _check_files(app: Flask, service: SearchService) -> None:
    """An answer is sent only when the files that it was made from are still the ones that were opened."""

    @app.after_request
    def still_ours(response: Response) -> Response:
        try:
            service.files.check()
        except FilesChangedError as error:
            return _files_changed(error)
        return response

    app.register_error_handler(FilesChangedError, _files_changed)


def _request_error(error: RequestError) -> Response:
    reply = refusal(error)
    return Response(reply.body, status=reply.status, content_type=JSON)


def _files_changed(error: FilesChangedError) -> Response:
    return _request_error(RequestError(503, "files changed", str(error)))


def _index_server(error: IndexServerError) -> Response:
    """503 where the same search may succeed later: clients then ask again."""
    return _request_error(RequestError(503 if error.retryable else 422, "index server", str(error)))


def _timed_out(_: TimeoutError) -> Response:
    detail = "the search took too long; try again, or ask for fewer queries at once"
    return _request_error(RequestError(504, "timeout", detail))


def _boundary_error(error: BoundaryError) -> Response:
    """A server that this one asks (the model of a reranker) does not answer."""
    return _request_error(RequestError(502, "no answer", str(error)))


def _http_error(error: HTTPException) -> Response:
    """Unknown routes, wrong methods, oversize bodies, and unexpected errors (logged by Flask, answered with
    status 500).
    """
    detail = error.description or error.name
    return _request_error(RequestError(error.code or 500, error.name.lower(), detail))
