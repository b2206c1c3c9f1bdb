"""Modules found by name in one of our packages, or by the path of a file: methods and text formats.

A package calls this for its own modules only, so that every import between packages is an import statement.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from src_core.errors import UserError
from src_core.text import did_you_mean


def plugin_names(package: str) -> list[str]:
    """The names of the modules of a package, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(sys.modules[package].__path__))


def load_plugin(package: str, name: str, *, known: Sequence[str], what: str) -> ModuleType:
    """The module `name` of `package`, which must be one of `known`, or the file at that path (it ends in
    `.py`). Raises `UserError` for an unknown name, with the known ones and the nearest, and for a file that
    is not there or cannot be loaded.
    """
    if is_file(name):
        return _from_file(Path(name), what)
    if name not in known:
        raise UserError(f"no {what} {name!r}; {did_you_mean(name, known)}there are: {', '.join(known)}")
    return importlib.import_module(f"{package}.{name}")


def is_file(name: str) -> bool:
    """Whether a name is the path of a file. Only settings may name files, never data: the file is run."""
    return name.endswith(".py")


def _from_file(path: Path, what: str) -> ModuleType:
    if not path.is_file():
        raise UserError(f"no such file for a {what}: {path}; check the path")
    key = f"rearag_plugin_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    if key in sys.modules:
        return sys.modules[key]
    spec = importlib.util.spec_from_file_location(key, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file; name the .py file of the {what}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[key]
        at, reason = place_in(path, error), f"{type(error).__name__}: {error}"
        raise UserError(f"{path}{at}: the {what} cannot be loaded ({reason}); correct the file") from error
    return module


def place_in(path: Path, error: BaseException) -> str:
    """`, line 7`: where in a user's file an error was raised, "" where it was not."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == path.resolve()]
    return f", line {lines[-1]}" if lines else ""
