"""Methods, one module each, found by name; a user's file is found by its path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from src_core.config import build_config
from src_core.errors import UserError
from src_core.plugins import load_plugin, plugin_names
from src_core.types import Question, Trajectory
from src_infer.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Method:
    """A method's coroutine, its settings (None where it has none), its description in one sentence, and
    whether it needs the retriever (not with `NEEDS_SEARCH = False` in its module).
    """

    run: Callable[[Question, Runtime], Awaitable[Trajectory]]
    settings: Any
    summary: str
    needs_search: bool


def method_names() -> list[str]:
    """The names of all methods in this package."""
    return plugin_names(__name__)


def load_method(name: str, settings: dict[str, Any] | None = None) -> Method:
    """The method in `src_infer/methods/<name>.py`, or in the file `name` (it ends in `.py`), with its
    settings. Raises `UserError` for an unknown name, a module without `run`, and wrong settings.
    """
    module = load_plugin(__name__, name, known=method_names(), what="method")
    run = getattr(module, "run", None)
    if run is None:
        raise UserError(f"the method {name} has no 'async def run(question, runtime)'; add it to its module")
    declared = getattr(module, "Settings", None)
    if declared is None and settings:
        raise UserError(f"the method {name} has no settings; remove method_settings ({', '.join(settings)})")
    built = None
    if declared is not None:
        built = build_config(declared, dict(settings or {}), (), where=f"method_settings of {name}")
    summary = " ".join((module.__doc__ or "").split("\n\n", 1)[0].split())
    return Method(run, built, summary, getattr(module, "NEEDS_SEARCH", True))
