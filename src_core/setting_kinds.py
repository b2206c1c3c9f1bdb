"""What a setting may be, in words, from its annotation: `whole number, at least 1`, `one of paper, code`."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Sequence
from enum import Enum
from typing import Any

_LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
_PLAIN: dict[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    type(None): "null",
    Any: "any value",
}


def kind_in_words(hint: Any) -> str:
    """What a value of the annotation `hint` may be, with its range; the name of a type that has no words."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if hasattr(hint, "__metadata__"):
        parts = hint.__metadata__
        return ", ".join(
            word for word in (kind_in_words(inside[0]), range_in_words(parts), _form(parts)) if word
        )
    if hint in _PLAIN:
        return _PLAIN[hint]
    if origin is typing.Literal:
        return _one_of(inside)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _one_of([each.value for each in hint])
    if origin in (typing.Union, types.UnionType):
        options = [kind_in_words(option) for option in inside]
        return f"{', '.join(options[:-1])}{', or ' if ',' in ''.join(options) else ' or '}{options[-1]}"
    if origin in (list, tuple, set, frozenset):
        return f"list, each: {kind_in_words(inside[0])}" if inside else "list"
    if hint in (list, tuple, set, frozenset):
        return "list"
    if hint is dict or origin is dict or dataclasses.is_dataclass(hint):
        return "section of key: value"
    return getattr(hint, "__name__", str(hint))


def range_in_words(parts: Sequence[Any]) -> str:
    """The limits that the `Field`s among `parts` state: `at least 1 and at most 65,535`; "" for none."""
    bounds = {name: value for part in parts for name, value in limits_of(part).items()}
    return " and ".join(f"{_LIMITS[name]} {bounds[name]:,}" for name in _LIMITS if name in bounds)


def metadata_of(hint: Any) -> list[Any]:
    """What `Annotated` adds to a type, also inside a union or a tuple."""
    found = list(getattr(hint, "__metadata__", ()))
    return found + [each for inner in typing.get_args(hint) for each in metadata_of(inner)]


def limits_of(part: Any) -> dict[str, float]:
    """The limits that a `Field` states."""
    stated = getattr(part, "metadata", ())
    return {
        name: value for each in stated for name in _LIMITS if (value := getattr(each, name, None)) is not None
    }


def _one_of(values: Sequence[Any]) -> str:
    return f"one of {', '.join(str(value) for value in values)}"


def _form(parts: Sequence[Any]) -> str:
    """The regular expression that a `Field` states for a text, "" for none."""
    stated = [each for part in parts for each in getattr(part, "metadata", ())]
    form = next((pattern for each in stated if (pattern := getattr(each, "pattern", None))), "")
    return f"of the form {form}" if form else ""
