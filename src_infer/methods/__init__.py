"""Methods, one module each. `load_method(name)` finds `run` in `src_infer/methods/<name>.py`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Awaitable, Callable

from src_core.errors import UserError
from src_core.types import Question, Trajectory
from src_infer.kit import Kit

Method = Callable[[Question, Kit], Awaitable[Trajectory]]


def method_names() -> list[str]:
    """The names of all methods in this package."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_method(name: str) -> Method:
    """The `run` coroutine of a method. An unknown name is a `UserError` that lists the known ones."""
    if name not in method_names():
        raise UserError(f"no method {name!r}; there are: {', '.join(method_names())}")
    method: Method = importlib.import_module(f"{__name__}.{name}").run
    return method
