"""Methods, one module each, found by name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from src_core.errors import UserError
from src_core.types import Question, Trajectory
from src_infer.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Method:
    """A method's coroutine, and whether it needs the retriever (`NEEDS_SEARCH = False` in its module says
    no).
    """

    run: Callable[[Question, Runtime], Awaitable[Trajectory]]
    needs_search: bool


def method_names() -> list[str]:
    """The names of all methods in this package."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_method(name: str) -> Method:
    """The method in `src_infer/methods/<name>.py`. An unknown name is a `UserError` that lists the known
    ones.
    """
    if name not in method_names():
        raise UserError(f"no method {name!r}; there are: {', '.join(method_names())}")
    module = importlib.import_module(f"{__name__}.{name}")
    return Method(module.run, getattr(module, "NEEDS_SEARCH", True))
