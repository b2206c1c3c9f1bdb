"""The route `/rerank` as clients of three services speak it.

- Jina and Cohere (`/v1/rerank`, `/v2/rerank`): `{"query", "documents": [text or {"text"}], "top_n",
  "return_documents": true}` to `{"results": [{"index", "relevance_score", "document"}]}`
- text-embeddings-inference (`/rerank`): `{"query", "texts": [text], "raw_scores": false, "return_text":
  false}` to `[{"index", "score", "text"}]`

The body decides which, whatever the route. Scores are mapped to 0 to 1 by a sigmoid, as there, unless the
reranker's are already, or `raw_scores` is set. How we differ: the server has one model, which the reply names
whatever `model` was sent; passages are cut at the server's `rerank.max_length`, whatever their own bounds
(`truncate`, `max_tokens_per_doc`) say.
"""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from typing import Any

import orjson

from src_core.http_server import RequestError
from src_retrieval.pipeline.search import Reranked
from src_retrieval.rerankers.base import RerankerIdentity
from src_retrieval.wire import Bounds, flag_of, json_object, query_of

_DOCUMENTS = ("query", "documents", "top_n", "return_documents", "model", "max_tokens_per_doc", "priority")
_TEXTS = ("query", "texts", "raw_scores", "return_text", "truncate", "truncation_direction")
_OLDER = ("rank_fields", "max_chunks_per_doc")
"""Fields of older clients, which may be null."""


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """Texts to rank, of which the best `top_n` are returned. `bare`: in the shape of
    text-embeddings-inference. `echo`: with the texts; `raw`: without the sigmoid.
    """

    query: str
    texts: tuple[str, ...]
    top_n: int
    bare: bool
    echo: bool
    raw: bool = False


def rerank_request(body: bytes, bounds: Bounds) -> RerankRequest:
    """The request in a body of any of the shapes. Raises `RequestError`."""
    sent = json_object(body, tuple(dict.fromkeys((*_DOCUMENTS, *_TEXTS, *_OLDER))))
    values = {name: value for name, value in sent.items() if value is not None}
    if ("texts" in values) == ("documents" in values):
        raise RequestError(
            422, "validation error", "send 'documents' (as Jina and Cohere) or 'texts' (as TEI)"
        )
    bare = "texts" in values
    foreign = sorted(set(values) - set(_TEXTS if bare else _DOCUMENTS))
    if foreign:
        other = "texts" if bare else "documents"
        raise RequestError(
            422, "validation error", f"{foreign[0]!r} does not go with {other!r}; leave it out"
        )
    query = query_of(values.get("query"), "query").strip()[: bounds.max_query_chars]
    texts = _texts(values["texts" if bare else "documents"], "texts" if bare else "documents", bounds)
    if bare:
        if values.get("truncation_direction") not in (None, "Right", "right"):
            detail = "'truncation_direction' must be Right: the end of a long text is cut"
            raise RequestError(422, "validation error", detail)
        echo, raw = flag_of(values, "return_text"), flag_of(values, "raw_scores")
        return RerankRequest(query, texts, len(texts), bare=True, echo=echo, raw=raw)
    echo = flag_of(values, "return_documents", default=True)
    return RerankRequest(query, texts, _top_n(values.get("top_n"), len(texts)), bare=False, echo=echo)


def write_reranked(wanted: RerankRequest, ranked: Reranked, identity: RerankerIdentity) -> bytes:
    """The reply to a request, from the ranking of its texts."""
    plain = wanted.raw or identity.sigmoid
    rows = []
    for result in ranked.rows[: wanted.top_n]:
        score = result.score if plain else _sigmoid(result.score)
        row: dict[str, Any] = {"index": result.row, "score" if wanted.bare else "relevance_score": score}
        if wanted.echo:
            text = wanted.texts[result.row]
            row |= {"text": text} if wanted.bare else {"document": {"text": text}}
        rows.append(row)
    if wanted.bare:
        return orjson.dumps(rows)
    usage = {} if ranked.tokens is None else {"prompt_tokens": ranked.tokens, "total_tokens": ranked.tokens}
    return orjson.dumps({"id": uuid.uuid4().hex, "model": identity.name, "results": rows, "usage": usage})


def _texts(value: Any, name: str, bounds: Bounds) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise RequestError(422, "validation error", f"{name!r} must be a list of at least one text")
    if len(value) > bounds.max_top_n:
        detail = f"{len(value)} texts were sent, at most {bounds.max_top_n} are ranked at once; send fewer"
        raise RequestError(422, "validation error", detail)
    texts: list[Any] = [item.get("text") if isinstance(item, dict) else item for item in value]
    wrong = next((at for at, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        raise RequestError(
            422, "validation error", f"{name}[{wrong}] must be a text, or an object with 'text'"
        )
    return tuple(texts)


def _top_n(value: Any, count: int) -> int:
    if value is None:
        return count
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RequestError(
            422, "validation error", f"'top_n' must be a whole number above 0, not {value!r:.40}"
        )
    return min(value, count)


def _sigmoid(score: float) -> float:
    return 1 / (1 + math.exp(-score)) if score > -700 else 0.0
