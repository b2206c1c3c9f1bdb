"""Searching words. A backend is one module with a `BACKEND` of the base type `SparseBackend`."""

from __future__ import annotations

from src_retrieval.backends import backend_of, backends_in
from src_retrieval.sparse.base import SparseBackend


def sparse_kinds() -> list[str]:
    """The values of `type:` that mean a search of words."""
    return list(backends_in(__name__))


def sparse_backend(kind: str) -> SparseBackend:
    """The backend of `kind`. Raises `UserError` for an unknown one."""
    found: SparseBackend = backend_of(backends_in(__name__), kind, what="word index")
    return found
