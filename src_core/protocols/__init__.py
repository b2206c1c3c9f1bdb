"""Text formats, one module each, found by the value of `format` in conversation rows and of `protocol` in
settings: `rearag`, `react`, `r3rag`, `r3rag_whole`, `search_r1` (with the dialects `r1_searcher` and
`research`), `deeprag`, `chat`.

A new format is one module here, or a file of the user's that is given by its path, whose class is named
`FORMAT`.
"""

from __future__ import annotations

from src_core.errors import UserError
from src_core.plugins import is_file, load_plugin, plugin_names
from src_core.protocols.base import Protocol
from src_core.protocols.records import PromptStyle

_NO_FORMATS = frozenset({"action_text", "base", "deeprag_lines", "parsers", "records", "trajectory_text"})
_FROM_FILES: dict[str, type[Protocol]] = {}
"""Formats of files that the settings named, by their names."""
_DIALECTS = {"r1_searcher": "search_r1", "research": "search_r1"}


def protocol_names() -> list[str]:
    """The formats of this package."""
    return sorted({*plugin_names(__name__), *_DIALECTS} - _NO_FORMATS)


def protocol_class(name: str) -> type[Protocol]:
    """The class of a format, by its name or by the path of its file; once a file was loaded, its format is
    also found by its name. Raises `UserError` for an unknown one.
    """
    if name in _FROM_FILES:
        return _FROM_FILES[name]
    known = protocol_names()
    module = load_plugin(__name__, _DIALECTS.get(name, name), known=known, what="format")
    found = module.DIALECTS[name] if name in _DIALECTS else getattr(module, "FORMAT", None)
    if not (isinstance(found, type) and issubclass(found, Protocol)):
        raise UserError(
            f"the module of the format {name!r} has no FORMAT; set FORMAT there to its subclass of Protocol"
        )
    if is_file(name):
        own = getattr(found, "name", None)
        if not isinstance(own, str) or not own or own in known or _FROM_FILES.get(own, found) is not found:
            raise UserError(
                f"the class FORMAT in {name} has the name {own!r:.60}; give it a `name` that no "
                "other format has"
            )
        _FROM_FILES[own] = found
    return found


def load_protocol(name: str, style: PromptStyle | None = None) -> Protocol:
    """The format `name` with the given prompt style (None: its own)."""
    return protocol_class(name)(style)
