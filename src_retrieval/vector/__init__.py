"""Searching vectors. A backend is one module with a `BACKEND` of the base type `VectorBackend`."""

from __future__ import annotations

from src_retrieval.backends import backend_of, backends_in
from src_retrieval.vector.base import VectorBackend


def vector_kinds() -> list[str]:
    """The values of `type:` that mean a search of vectors."""
    return list(backends_in(__name__))


def vector_backend(kind: str) -> VectorBackend:
    """The backend of `kind`. Raises `UserError` for an unknown one."""
    found: VectorBackend = backend_of(backends_in(__name__), kind, what="vector index")
    return found
