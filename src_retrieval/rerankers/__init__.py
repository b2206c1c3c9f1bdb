"""Rerankers: pairs of a query and a passage to scores. A backend is one module with a `BACKEND` of the base
type `RerankerBackend`.
"""

from __future__ import annotations

from src_retrieval.backends import backend_of, backends_in
from src_retrieval.rerankers.base import Reranker, RerankerBackend, RerankOptions


def load_reranker(options: RerankOptions) -> Reranker:
    """The reranker of a config. Raises `UserError` for an unknown type or an unusable model."""
    backend: RerankerBackend = backend_of(backends_in(__name__), options.type, what="type of reranker")
    return backend.load(options)
