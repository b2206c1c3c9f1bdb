"""Modules found by name in one of our packages, or by the path of a file: methods and text formats.

Only the package itself calls this for its own modules, so that no import between packages hides behind a
name.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from src_core.errors import UserError


def plugin_names(package: str) -> list[str]:
    """The names of the modules of a package, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(sys.modules[package].__path__))


def load_plugin(package: str, name: str, *, known: Sequence[str], what: str) -> ModuleType:
    """The module `name` of `package`, which must be among `known`, or the file of that path (it ends in
    `.py`). Raises `UserError` for an unknown name, with the known ones, and for a file that is not there.
    """
    if name.endswith(".py"):
        return _from_file(Path(name), what)
    if name not in known:
        raise UserError(f"no {what} {name!r}; there are: {', '.join(known)}")
    return importlib.import_module(f"{package}.{name}")


def _from_file(path: Path, what: str) -> ModuleType:
    if not path.is_file():
        raise UserError(f"no such file for a {what}: {path}")
    key = f"rearag_plugin_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    if key in sys.modules:
        return sys.modules[key]
    spec = importlib.util.spec_from_file_location(key, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file; a {what} is a module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[key]
        raise
    return module
