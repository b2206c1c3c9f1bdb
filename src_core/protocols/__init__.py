"""Text formats, one module each, found by the value of `format` in conversation rows and of `protocol` in
settings: `rearag`, `react`, `search_r1` (with the dialects `r1_searcher` and `research`), `chat`.

A new format is one module here, or a file of the user's that is given by its path, whose class is named
`FORMAT`.
"""

from __future__ import annotations

from src_core.errors import UserError
from src_core.plugins import load_plugin, plugin_names
from src_core.protocols.base import Protocol
from src_core.protocols.records import PromptStyle

_NO_FORMATS = frozenset({"action_text", "base", "parsers", "records", "trajectory_text"})
_DIALECTS = {"r1_searcher": "search_r1", "research": "search_r1"}


def protocol_names() -> list[str]:
    """The formats of this package."""
    return sorted({*plugin_names(__name__), *_DIALECTS} - _NO_FORMATS)


def protocol_class(name: str) -> type[Protocol]:
    """The class of a format, by its name or by the path of its file. Raises `UserError` for an
    unknown one.
    """
    known = protocol_names()
    module = load_plugin(__name__, _DIALECTS.get(name, name), known=known, what="format")
    found = module.DIALECTS[name] if name in _DIALECTS else getattr(module, "FORMAT", None)
    if not (isinstance(found, type) and issubclass(found, Protocol)):
        raise UserError(f"the module of the format {name!r} names no class FORMAT that is a Protocol")
    return found


def load_protocol(name: str, style: PromptStyle | None = None) -> Protocol:
    """The format `name` with the given prompt style (None: its own)."""
    return protocol_class(name)(style)
