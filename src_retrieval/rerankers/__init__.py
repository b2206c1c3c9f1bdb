"""Rerankers: pairs of a query and a passage to scores. A backend is one module with a `BACKEND` of the base
type `RerankerBackend`.
"""

from __future__ import annotations

from src_core.errors import UserError
from src_retrieval.backends import backend_of, backends_in
from src_retrieval.rerankers.base import Reranker, RerankerBackend, RerankOptions


def load_reranker(options: RerankOptions) -> Reranker:
    """The reranker of a config. Raises `UserError` for an unknown type or an unusable model."""
    backend: RerankerBackend = backend_of(backends_in(__name__), options.type, what="type of reranker")
    if bool(options.model) == backend.asks_llm or (options.llm is not None) != backend.asks_llm:
        wanted = (
            "the section rerank.llm and no rerank.model"
            if backend.asks_llm
            else "rerank.model and no rerank.llm"
        )
        raise UserError(f"rerank.type={options.type} needs {wanted}; correct the config")
    return backend.load(options)
