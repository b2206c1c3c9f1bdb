"""Backends are modules of `vector/`, `sparse/` and `rerankers/`: one module each, found by the kinds that it
serves.

A module offers itself by a constant `BACKEND`. Importing it must cost nothing: heavy packages and client
libraries are imported where they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from src_core.config import build_config
from src_core.errors import UserError
from src_core.plugins import load_plugin, plugin_names

T = TypeVar("T")


def backends_in(package: str) -> dict[str, Any]:
    """Each kind that a module of `package` serves, with that module's `BACKEND`."""
    found: dict[str, Any] = {}
    names = plugin_names(package)
    for name in names:
        backend = getattr(load_plugin(package, name, known=names, what="backend"), "BACKEND", None)
        if backend is not None:
            found |= dict.fromkeys(backend.kinds, backend)
    return found


def backend_of(kinds: Mapping[str, Any], kind: str, *, what: str) -> Any:
    """The backend of `kind`; an unknown one is a `UserError` that lists the known ones."""
    if kind not in kinds:
        raise UserError(f"no {what} is called {kind!r}; there are: {', '.join(kinds)}")
    return kinds[kind]


def options_of(cls: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """The section `where` of a config as the class of the backend that reads it. Raises `UserError` for a key
    that the backend does not know.
    """
    return build_config(cls, dict(values), (), where=f"the section {where!r}")
