"""The description of a server's index, encoder and reranker as plain data: for `/health`, and as one digest
for cache keys and manifests of runs. Two servers with one digest give the same answers.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import orjson

from src_retrieval.engine import OpenedIndex, SearchEngine

DIGEST_CHARS = 16


def describe(opened: OpenedIndex) -> dict[str, Any]:
    """The value of `index` in `/health`: no secrets, no paths, no vectors. `digest` is that of the index,
    `identity` covers everything that determines an answer: index, encoder, search settings and reranker.
    `corpus` is the name of the corpus file, for people: it is in no digest, since a renamed corpus is the
    same.
    """
    engine, manifest = opened
    built: dict[str, Any] = manifest.identity() if manifest else _corpus(engine)
    if engine.encoder is not None:
        built["encoder"] = dataclasses.asdict(engine.encoder.identity)
    if manifest is None and engine.dense is not None:
        built |= {"type": "file", "file": engine.dense.identity}
    settings = built.pop("settings", {})
    facts = {
        **built,
        "digest": digest({**built, "settings": settings}),
        "search": _search(engine),
        "reranker": _reranker(engine),
    }
    if engine.config.type is not None:
        facts["type"] = engine.config.type
    return {**facts, "identity": digest(facts), "corpus": Path(engine.config.corpus_path).resolve().name}


def _corpus(engine: SearchEngine) -> dict[str, Any]:
    return {"rows": len(engine.corpus), "corpus_sha256": engine.corpus.info.sha256}


def digest(facts: Any) -> str:
    """A short hash of JSON data that does not depend on the order of its keys."""
    text = orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:DIGEST_CHARS]


def _search(engine: SearchEngine) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    if engine.dense is not None:
        parts["dense"] = engine.dense.identity
    if engine.sparse is not None:
        parts["sparse"] = engine.sparse.identity
    if engine.hybrid:
        parts |= {"hybrid_depth": engine.config.hybrid_depth, "rrf_constant": engine.config.rrf_constant}
    return parts


def _reranker(engine: SearchEngine) -> dict[str, Any] | None:
    if engine.reranker is None or engine.config.rerank is None:
        return None
    facts = {**dataclasses.asdict(engine.reranker.identity), "top_n": engine.config.rerank.top_n}
    weight = engine.config.rerank.retrieval_weight
    return {**facts, "retrieval_weight": weight} if weight else facts
