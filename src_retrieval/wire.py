"""Parses request bodies: JSON to frozen values, or a 4xx status with one sentence. No field is coerced or
ignored; only a query that is longer than the server reads is cut, and the reply says so.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson

from src_core.http_server import RequestError

DEFAULT_TOP_N = 10
DEFAULT_TOPK = 3
RERANK = "rerank_top_n"
EMPTY_QUERY = "Query content cannot be empty"


@dataclasses.dataclass(frozen=True, slots=True)
class SearchRequest:
    """Queries to answer with `top_n` documents each. `cut` of them were longer than the server reads and have
    lost their end. `rerank_top_n` candidates are reranked (None: the server's number, 0: none).
    """

    queries: tuple[str, ...]
    top_n: int
    with_scores: bool
    cut: int
    rerank_top_n: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of a request. `max_results` are queries times passages per query; `reranks` is whether the
    server has a reranker.
    """

    rows: int
    max_top_n: int
    max_query_chars: int
    max_results: int
    reranks: bool = False


def search_request(body: bytes, bounds: Bounds) -> SearchRequest:
    """`{"query": text, "top_n": 10, "return_score": false, "rerank_top_n": 20}`."""
    values = json_object(body, ("query", "top_n", "return_score", RERANK))
    queries = (query_of(values.get("query"), "query"),)
    return _request(
        queries, values.get("top_n", DEFAULT_TOP_N), values, names=("top_n", "return_score"), bounds=bounds
    )


def batch_request(body: bytes, bounds: Bounds) -> SearchRequest:
    """`{"query": [text, …], "top_n": 10, "return_score": false, "rerank_top_n": 20}`."""
    values = json_object(body, ("query", "top_n", "return_score", RERANK))
    queries = _queries(values.get("query"), "query")
    return _request(
        queries, values.get("top_n", DEFAULT_TOP_N), values, names=("top_n", "return_score"), bounds=bounds
    )


def retrieve_request(body: bytes, bounds: Bounds) -> SearchRequest:
    """Search-R1's `{"queries": [text, …], "topk": 3 | null, "return_scores": false}`, and SkyRL's
    `query` for one; `rerank_top_n` as in our own routes.
    """
    values = json_object(body, ("queries", "query", "topk", "return_scores", RERANK))
    if "query" in values:
        if "queries" in values:
            raise RequestError(422, "validation error", "send 'queries' or 'query', not both")
        queries: tuple[str, ...] = (query_of(values["query"], "query"),)
    else:
        queries = _queries(values.get("queries"), "queries")
    topk = values.get("topk")
    top_n = DEFAULT_TOPK if topk is None else topk
    return _request(queries, top_n, values, names=("topk", "return_scores"), bounds=bounds)


def ids_request(body: bytes, bounds: Bounds) -> tuple[str, ...]:
    """`{"ids": [text, …]}`: passages by id."""
    value = json_object(body, ("ids",)).get("ids")
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RequestError(422, "validation error", "'ids' must be a list of texts")
    if len(value) > bounds.max_top_n:
        detail = f"{len(value)} ids were sent, at most {bounds.max_top_n} are read at once"
        raise RequestError(422, "validation error", detail)
    return tuple(value)


def json_object(body: bytes, known: tuple[str, ...]) -> dict[str, Any]:
    """A body that is a JSON object of known keys. Raises `RequestError`."""
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(
            400, "bad JSON", f"the body is not valid JSON: {error}; send a JSON object"
        ) from error
    if not isinstance(values, dict):
        raise RequestError(422, "validation error", f"the body must be a JSON object, not {values!r:.60}")
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise RequestError(422, "validation error", f"unknown key {unknown[0]!r}; known: {', '.join(known)}")
    return values


def _request(
    queries: tuple[str, ...], top_n: Any, values: dict[str, Any], *, names: tuple[str, str], bounds: Bounds
) -> SearchRequest:
    """The request within its bounds; `names` are those of the number of passages and of the flag."""
    number, flag = names
    most = bounds.max_query_chars
    cut = sum(len(query) > most for query in queries)
    depth = _top_n(top_n, number, bounds)
    reranked = _rerank_top_n(values.get(RERANK), bounds)
    widest = max(depth, reranked or 0)
    if len(queries) * widest > bounds.max_results:
        detail = (
            f"{len(queries)} queries with {widest} passages each are more than {bounds.max_results} "
            "passages; send fewer queries at once"
        )
        raise RequestError(422, "validation error", detail)
    short = tuple(query if len(query) <= most else query.strip()[:most] for query in queries)
    return SearchRequest(short, depth, flag_of(values, flag), cut, reranked)


def query_of(value: Any, name: str) -> str:
    """A query. Raises `RequestError` for what is no text, or an empty one."""
    if not isinstance(value, str):
        raise RequestError(422, "validation error", f"{name!r} must be a text, not {_type(value)}")
    if not value.strip():
        raise RequestError(400, "empty query", EMPTY_QUERY)
    return value


def _queries(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise RequestError(422, "validation error", f"{name!r} must be a list of texts, not {_type(value)}")
    return tuple(query_of(item, name) for item in value)


def _top_n(value: Any, name: str, bounds: Bounds) -> int:
    """Of a small corpus there are fewer passages than were asked for."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise RequestError(422, "validation error", f"{name!r} must be a whole number, not {_type(value)}")
    if value < 1:
        raise RequestError(422, "validation error", f"{name!r} must be at least 1, not {value}")
    wanted = min(value, bounds.rows)
    if wanted > bounds.max_top_n:
        detail = f"{name!r} is {value}, at most {bounds.max_top_n} passages are returned"
        raise RequestError(422, "validation error", detail)
    return wanted


def _rerank_top_n(value: Any, bounds: Bounds) -> int | None:
    if value is None or (value == 0 and isinstance(value, int) and not isinstance(value, bool)):
        return value
    if not bounds.reranks:
        detail = f"this server has no reranker; set rerank.model in its config, or leave {RERANK!r} out"
        raise RequestError(422, "validation error", detail)
    return _top_n(value, RERANK, bounds)


def flag_of(values: dict[str, Any], name: str, *, default: bool = False) -> bool:
    """The flag `name`; null counts as absent. Raises `RequestError` for another type."""
    value = values.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise RequestError(422, "validation error", f"{name!r} must be true or false, not {_type(value)}")
    return value


def _type(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
