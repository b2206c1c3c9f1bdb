"""Where a value stands in a YAML file, for messages about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml


def place_in(file: Path, keys: Sequence[Any], overrides: Sequence[str]) -> str:
    """` in FILE, line N` for the value at `keys`; "" where the file does not have it, or one of `overrides`
    (`key=value`, dotted) gives it. Keys that are in no section, such as the name of a type, are passed over.
    """
    dotted = f"{'.'.join(map(str, keys))}."
    given = (f"{each.partition('=')[0].strip()}." for each in overrides)
    if any(dotted.startswith(each) or each.startswith(dotted) for each in given):
        return ""
    line = _line_of(yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader), keys)
    return f" in {file}, line {line}" if line else ""


def _line_of(node: Any, keys: Sequence[Any]) -> int:
    """The line, from 1, of the innermost of these keys that is there; 0 where none is."""
    line = 0
    for key in keys:
        found = next((pair for pair in _inside(node) if pair[0] == str(key)), None)
        if found is not None:
            _, line, node = found
    return line


def _inside(node: Any) -> list[tuple[str, int, Any]]:
    """The keys of a section, or the numbers of the elements of a list, each with its line and its value."""
    if isinstance(node, yaml.MappingNode):
        return [(str(key.value), key.start_mark.line + 1, value) for key, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        return [(str(at), value.start_mark.line + 1, value) for at, value in enumerate(node.value)]
    return []
