"""The Flask app: routes in the shapes of the published server, of Search-R1, and for Prometheus.

Shapes: reference/rearag.md, section 2.5, and reference/r3rag.md, section 3. How we differ: requests of all
callers are batched together, bad requests are refused instead of coerced, missing results are left out
(there, FAISS's -1 silently returns the last document), and where scores are requested a document holds them
by name (`"scores": {"retrieval": 0.8, "rerank": 2.1}`) beside the published list of numbers.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import orjson
from flask import Flask, Response, request
from pydantic import Field
from werkzeug.exceptions import HTTPException

from src_core.config import config_class
from src_core.http_server import RequestError
from src_retrieval.cache import ResultCache
from src_retrieval.corpus import Corpus
from src_retrieval.engine import SearchEngine
from src_retrieval.metrics import ServerMetrics
from src_retrieval.pipeline.search import SearchPipeline
from src_retrieval.results import Ranked
from src_retrieval.wire import (
    Bounds,
    SearchRequest,
    batch_request,
    ids_request,
    retrieve_request,
    search_request,
)

LOG = logging.getLogger("src_retrieval")
JSON = "application/json"
DRAIN_FACTOR = 16
DRAIN_PIECE = 1 << 20

Parse = Callable[[bytes, Bounds], SearchRequest]


@config_class
class AppOptions:
    """Bounds of requests and batches, and `cached_rows`, the number of ranked rows of earlier answers in the
    cache (0: no cache). `batching: false` is the baseline of the benchmark: one query per batch in every
    stage.
    """

    batching: bool = True
    max_batch: int = 64
    max_top_n: int = 1_000
    max_query_chars: int = 8_192
    max_body_bytes: int = 4_194_304
    request_timeout: float = 300.0
    cached_rows: Annotated[int, Field(ge=0)] = 200_000


class SearchService:
    """Runs queries through the stages, caches answers, counts. `identity` identifies index, encoder and
    reranker.
    """

    def __init__(self, engine: SearchEngine, options: AppOptions, *, identity: str) -> None:
        self.corpus: Corpus = engine.corpus
        self.metrics = ServerMetrics()
        self.bounds = Bounds(len(self.corpus), options.max_top_n, options.max_query_chars)
        self._timeout = options.request_timeout
        self._cache = ResultCache(options.cached_rows, identity)
        self._pipeline = SearchPipeline(
            engine, max_batch=options.max_batch if options.batching else 1, observe=self.metrics.observe
        )

    def run(self, wanted: SearchRequest) -> list[list[Ranked]]:
        """Ranked rows for each query of a request."""
        results, known = self._cache.through(self._searched, wanted.queries, wanted.top_n)
        self.metrics.queries.inc(len(results))
        self.metrics.cached.inc(known)
        return results

    def close(self) -> None:
        """Finish queued work."""
        self._pipeline.close()

    def _searched(self, queries: Sequence[str], top_n: int) -> list[list[Ranked]]:
        return self._pipeline.run(queries, top_n, timeout=self._timeout)


def make_app(
    service: SearchService, *, options: AppOptions, index: dict[str, Any], token: str | None
) -> Flask:
    """The WSGI app. `index` is the description of the index in `/health`; with a `token`, all other routes
    require it.
    """
    app = Flask("src_retrieval")
    healthy = orjson.dumps(
        {"status": "healthy", "retrievers": {"total": 1, "available": 1}, "index": index},
    )

    @app.before_request
    def check_token() -> None:
        if token and request.path != "/health":
            _require_token(token, request.headers.get("Authorization", ""))

    @app.get("/health")
    def health() -> Response:
        return Response(healthy, content_type=JSON)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(service.metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")

    def answer(parse: Parse, write: Callable[[Corpus, SearchRequest, list[list[Ranked]]], bytes]) -> Response:
        wanted = parse(_body(options.max_body_bytes), service.bounds)
        return Response(write(service.corpus, wanted, service.run(wanted)), content_type=JSON)

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
        return response

    _add_passages(app, service, options)
    app.register_error_handler(RequestError, _request_error)
    app.register_error_handler(TimeoutError, _timed_out)
    app.register_error_handler(HTTPException, _http_error)
    return app


def _add_passages(app: Flask, service: SearchService, options: AppOptions) -> None:
    @app.post("/passages")
    def passages() -> Response:
        wanted = ids_request(_body(options.max_body_bytes), service.bounds)
        return Response(write_passages(service.corpus, wanted), content_type=JSON)


def _require_token(token: str, given: str) -> None:
    if not hmac.compare_digest(given.encode("utf-8", "replace"), f"Bearer {token}".encode()):
        raise RequestError(401, "unauthorised", "send the header 'Authorization: Bearer <token>'")


def _body(limit: int) -> bytes:
    """The whole body, also of a chunked request. A body over the limit is read to its end (within bounds) and
    discarded: otherwise a client that is still writing gets a broken pipe instead of the answer.
    """
    stream = request.environ["wsgi.input"]
    body: bytes = stream.read(limit + 1)
    if len(body) <= limit:
        return body
    drained = 0
    while drained < DRAIN_FACTOR * limit and (piece := stream.read(DRAIN_PIECE)):
        drained += len(piece)
    raise RequestError(
        413, "body too large", f"the body has more than {limit} bytes; send fewer queries at once"
    )


def write_search(corpus: Corpus, wanted: SearchRequest, results: list[list[Ranked]]) -> bytes:
    """`[document, …]` or `[[document, …], [score, …]]`."""
    documents = _documents(corpus, wanted, results[0])
    return b"[%b,%b]" % (documents, _scores(results[0])) if wanted.with_scores else documents


def write_batch(corpus: Corpus, wanted: SearchRequest, results: list[list[Ranked]]) -> bytes:
    """`[[document, …], …]`, or a pair of this list and the scores in the same nesting."""
    documents = b"[%b]" % b",".join(_documents(corpus, wanted, row) for row in results)
    if not wanted.with_scores:
        return documents
    return b"[%b,[%b]]" % (documents, b",".join(_scores(row) for row in results))


def write_retrieve(corpus: Corpus, wanted: SearchRequest, results: list[list[Ranked]]) -> bytes:
    """`{"result": [[{"document", "score"}, …], …]}`; bare documents without scores."""
    if not wanted.with_scores:
        return b'{"result":[%b]}' % b",".join(_documents(corpus, wanted, row) for row in results)
    rows = (
        b",".join(
            b'{"document":%b,"score":%b}' % (_document(corpus, wanted, result), orjson.dumps(result.score))
            for result in row
        )
        for row in results
    )
    return b'{"result":[%b]}' % b",".join(b"[%b]" % row for row in rows)


def write_passages(corpus: Corpus, ids: tuple[str, ...]) -> bytes:
    """`[document, …]` in the order of `ids`. Raises `RequestError` (404) for an id that the corpus lacks."""
    documents = []
    for wanted in ids:
        row = corpus.row_of(wanted)
        if row is None:
            detail = (
                f"the corpus has no passage with the id {wanted[:200]!r}; use an id that /search returned"
            )
            raise RequestError(404, "unknown id", detail)
        documents.append(corpus.document(row))
    return b"[%b]" % b",".join(documents)


def _documents(corpus: Corpus, wanted: SearchRequest, results: list[Ranked]) -> bytes:
    return b"[%b]" % b",".join(_document(corpus, wanted, result) for result in results)


def _document(corpus: Corpus, wanted: SearchRequest, result: Ranked) -> bytes:
    """The row as in the corpus; with its named scores where scores were requested."""
    row = corpus.document(result.row)
    if not wanted.with_scores:
        return row
    return b'%b,"scores":%b}' % (row.rstrip().removesuffix(b"}"), orjson.dumps(result.scores()))


def _scores(results: list[Ranked]) -> bytes:
    return orjson.dumps([result.score for result in results])


def _reply(status: int, error: str, detail: str) -> Response:
    return Response(orjson.dumps({"error": error, "detail": detail}), status=status, content_type=JSON)


def _request_error(error: RequestError) -> Response:
    return _reply(error.status, error.error, error.detail)


def _timed_out(_: TimeoutError) -> Response:
    return _reply(504, "timeout", "the search took too long; try again, or ask for fewer queries at once")


def _http_error(error: HTTPException) -> Response:
    """Unknown routes, wrong methods, oversize bodies, and unexpected errors (logged by Flask, answered with
    status 500).
    """
    return _reply(error.code or 500, error.name.lower(), error.description or error.name)
