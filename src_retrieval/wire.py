"""Parses request bodies: JSON to frozen values, or a 4xx status with one sentence. No field is coerced or
ignored.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson

from src_core.http_server import RequestError

DEFAULT_TOP_N = 10
DEFAULT_TOPK = 3
EMPTY_QUERY = "Query content cannot be empty"


@dataclasses.dataclass(frozen=True, slots=True)
class SearchRequest:
    """Queries to answer with `top_n` documents each."""

    queries: tuple[str, ...]
    top_n: int
    with_scores: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of a request."""

    rows: int
    max_top_n: int
    max_query_chars: int


def search_request(body: bytes, bounds: Bounds) -> SearchRequest:
    """`{"query": text, "top_n": 10, "return_score": false}`."""
    values = _object(body, ("query", "top_n", "return_score"))
    query = _query(values.get("query"), "query", bounds)
    top_n = _top_n(values.get("top_n", DEFAULT_TOP_N), "top_n", bounds, given="top_n" in values)
    return SearchRequest((query,), top_n, _flag(values, "return_score"))


def batch_request(body: bytes, bounds: Bounds) -> SearchRequest:
    """`{"query": [text, …], "top_n": 10, "return_score": false}`."""
    values = _object(body, ("query", "top_n", "return_score"))
    queries = _queries(values.get("query"), "query", bounds)
    top_n = _top_n(values.get("top_n", DEFAULT_TOP_N), "top_n", bounds, given="top_n" in values)
    return SearchRequest(queries, top_n, _flag(values, "return_score"))


def retrieve_request(body: bytes, bounds: Bounds) -> SearchRequest:
    """Search-R1's `{"queries": [text, …], "topk": 3 | null, "return_scores": false}`, and SkyRL's
    `query` for one.
    """
    values = _object(body, ("queries", "query", "topk", "return_scores"))
    if "query" in values:
        if "queries" in values:
            raise RequestError(422, "validation error", "send 'queries' or 'query', not both")
        queries: tuple[str, ...] = (_query(values["query"], "query", bounds),)
    else:
        queries = _queries(values.get("queries"), "queries", bounds)
    topk = values.get("topk")
    top_n = _top_n(DEFAULT_TOPK if topk is None else topk, "topk", bounds, given=topk is not None)
    return SearchRequest(queries, top_n, _flag(values, "return_scores"))


def ids_request(body: bytes, bounds: Bounds) -> tuple[str, ...]:
    """`{"ids": [text, …]}`: passages by id."""
    value = _object(body, ("ids",)).get("ids")
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RequestError(422, "validation error", "'ids' must be a list of texts")
    if len(value) > bounds.max_top_n:
        detail = f"{len(value)} ids were sent, at most {bounds.max_top_n} are read at once"
        raise RequestError(422, "validation error", detail)
    return tuple(value)


def _object(body: bytes, known: tuple[str, ...]) -> dict[str, Any]:
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


def _query(value: Any, name: str, bounds: Bounds) -> str:
    if not isinstance(value, str):
        raise RequestError(422, "validation error", f"{name!r} must be a text, not {_type(value)}")
    if not value.strip():
        raise RequestError(400, "empty query", EMPTY_QUERY)
    if len(value) > bounds.max_query_chars:
        limit = bounds.max_query_chars
        raise RequestError(
            422, "validation error", f"a query has {len(value)} characters; send at most {limit}"
        )
    return value


def _queries(value: Any, name: str, bounds: Bounds) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise RequestError(422, "validation error", f"{name!r} must be a list of texts, not {_type(value)}")
    return tuple(_query(item, name, bounds) for item in value)


def _top_n(value: Any, name: str, bounds: Bounds, *, given: bool) -> int:
    """A default is reduced to the size of a small corpus; a number from the caller is not changed."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise RequestError(422, "validation error", f"{name!r} must be a whole number, not {_type(value)}")
    most = min(bounds.rows, bounds.max_top_n)
    if not given:
        return min(value, most)
    if value < 1:
        raise RequestError(422, "validation error", f"{name!r} must be at least 1, not {value}")
    if value > most:
        why = f"the corpus has {bounds.rows} passages" if most == bounds.rows else "the server's limit"
        raise RequestError(
            422, "validation error", f"{name!r} is {value}, at most {most} are available ({why}); lower it"
        )
    return value


def _flag(values: dict[str, Any], name: str) -> bool:
    value = values.get(name, False)
    if not isinstance(value, bool):
        raise RequestError(422, "validation error", f"{name!r} must be true or false, not {_type(value)}")
    return value


def _type(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
