"""One YAML -> one frozen, typed object: defaults < file < `key=value` overrides; an unknown key fails and is
named.

Config classes are pydantic dataclasses decorated with `config_class`; a misspelt key or a wrong type is a
`UserError` of one sentence. `dump` returns the resolved values, which a run directory stores.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, dataclass_transform

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from src_core.caller import seen
from src_core.errors import UserError
from src_core.setting_kinds import metadata_of, range_in_words
from src_core.text import did_you_mean, nearest
from src_core.yaml_place import place_in

T = TypeVar("T")

_NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)
"""What the loader raises: also for bytes that are no text, for dates such as 2024-99-99, and where values are
nested too deeply.
"""
_OUT_OF_RANGE = ("greater_than_equal", "greater_than", "less_than_equal", "less_than", "finite_number")

# The ranges of numbers in settings. Every int and float of a config class has one (a test reads them all).
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
AllOrCount = Annotated[int, Field(ge=-1)]
"""A number of rows; -1 means all."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]
InFlight = Annotated[int, Field(ge=1, le=4096)]
Port = Annotated[int, Field(ge=1, le=65_535)]
Seconds = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Temperature = Annotated[float, Field(ge=0, le=100)]
TopP = Annotated[float, Field(gt=0, le=1)]


@dataclass_transform(frozen_default=True, kw_only_default=True)
def config_class(cls: type[T]) -> type[T]:
    """Class decorator: a frozen, keyword-only dataclass whose fields are validated and whose unknown keys
    fail.
    """
    decorated = pydantic_dataclass(
        cls, frozen=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False)
    )
    return typing.cast("type[T]", decorated)


def load_config(cls: type[T], path: Path | None, overrides: Sequence[str] = ()) -> T:
    """Build `cls` from a YAML file (optional) and `key=value` strings (dotted keys reach into sections).

    Raises `UserError` for a missing file, bad YAML, an unknown key (naming the known ones) or a wrong type.
    """
    if path is None:
        return build_config(cls, {}, overrides, where="the overrides")
    return build_config(cls, read_yaml(path), overrides, where=str(path), file=path)


def build_config(
    cls: type[T],
    values: dict[str, Any],
    overrides: Sequence[str],
    *,
    where: str,
    file: Path | None = None,
) -> T:
    """As `load_config`, from values that are already loaded (`values` is modified by the overrides), and that
    stand in `file`.
    """
    for item in overrides:
        key, sign, text = item.partition("=")
        if not sign or not key:
            raise UserError(f"cannot read the override {item!r}; write it as key=value")
        keys = key.strip().split(".")
        _assign(values, keys, text if _is_text(cls, keys) else _scalar(item, text))
    _check_keys(cls, values, where=where, prefix="")
    try:
        return TypeAdapter(cls).validate_python(values)
    except ValidationError as error:
        found = error.errors()  # of `text | section` the one that is not about the kind that was not given
        first = next(
            (one for one in found if one["type"] != "string_type" or one["input"] in ("", None)), found[0]
        )
        place = ".".join(str(part) for part in first["loc"] if not str(part)[:1].isupper())
        limits = _range_of(cls, first["loc"]) if first["type"] in _OUT_OF_RANGE else ""
        problem = f"it must be {limits}" if limits else str(first["msg"]).removeprefix("Value error, ")
        given = f"{first['input']!r}"[:200]
        where = "" if file is None else place_in(file, first["loc"], overrides)
        if not place:  # of several settings together
            raise UserError(f"the settings do not go together: {problem}; correct them{where}") from error
        raise UserError(f"setting {place!r} is wrong: {problem} (got {given}); correct it{where}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping from `path`; `{}` for an empty file; a `UserError` with line and column otherwise."""
    if not path.is_file():
        hint = _nearest_file(path)
        raise UserError(
            f"no such config file: {path}; {hint}check the path (the shipped files are under configs/)"
        )
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except _NOT_YAML as error:
        raise UserError(
            f"{path} is not valid YAML: {' '.join(str(error).split())}; correct the file"
        ) from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise UserError(f"{path}: expected lines of key: value, found {loaded!r:.60}; correct the file")
    return loaded


def _nearest_file(path: Path) -> str:
    """`did you mean X? ` for a file beside `path`, else for the shipped ones of its name, in any folder and
    with any ending of YAML.
    """
    beside = [each.name for each in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
    if hint := did_you_mean(path.name, sorted(beside), before=f"{path.parent}/"):
        return hint
    shipped = sorted(Path("configs").rglob("*.y*ml"))
    named = [seen(each) for each in shipped if each.stem == path.stem]
    if named:
        return f"did you mean {' or '.join(named)}? "
    by_name = {each.name: each for each in shipped}
    near = nearest(path.name, by_name, cutoff=0.8)
    return f"did you mean {seen(by_name[near])}? " if near else ""


def dump(config: Any) -> dict[str, Any]:
    """The resolved values as plain JSON data."""
    plain: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return plain


def _range_of(cls: Any, place: Sequence[Any]) -> str:
    """The range of the number at `place`, in words; "" where it is not a field of a config class."""
    hint: Any = cls
    for key in place:
        section = _section_class(hint)
        if section is not None:
            hint = typing.get_type_hints(section, include_extras=True).get(str(key))
        elif isinstance(key, int):  # an element of a tuple, which may have a range of its own length
            plain = typing.get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
            hint = next(iter(typing.get_args(plain)), None)
    return range_in_words(metadata_of(hint))


def _is_text(cls: Any, keys: Sequence[str]) -> bool:
    """Whether the dotted key names a plain text setting, whose value is not parsed as YAML (a question may
    contain `: ` or start with `[`).
    """
    hint: Any = cls
    for key in keys:
        section = _section_class(hint)
        if section is None:
            return False
        hint = typing.get_type_hints(section).get(key)
    # Text enumerations are included: YAML would read `off` as False.
    return isinstance(hint, type) and issubclass(hint, str)


def _scalar(item: str, text: str) -> Any:
    try:
        return yaml.safe_load(text) if text else ""
    except _NOT_YAML as error:
        shown = item if len(item) <= 100 else f"{item[:99]}…"
        advice = _open_bracket(text) or "quote it"
        raise UserError(f"cannot read the value of the override {shown!r}; {advice}") from error


def _open_bracket(text: str) -> str:
    """What is wrong with the brackets of a list or a section, "" where each has its other one. Those inside
    quotation marks are text.
    """
    expected: list[str] = []
    for char in re.sub(r"\"[^\"]*\"|'[^']*'", "", text):
        if char in "[{":
            expected.append("]" if char == "[" else "}")
        elif char in "]}" and (not expected or expected.pop() != char):
            return f"a {char} has no opening bracket before it; correct the brackets"
    if len(expected) > 3:
        return f"{len(expected)} of its brackets are not closed; close them"
    return f"{''.join(reversed(expected))} is missing at its end; add it" if expected else ""


def _assign(values: dict[str, Any], keys: list[str], value: Any) -> None:
    within: Any = values
    for depth, key in enumerate(keys[:-1]):
        place = _place(within, keys, depth)
        within = within.setdefault(key, {}) if isinstance(within, dict) else within[place]
    within[_place(within, keys, len(keys) - 1)] = value


def _place(within: Any, keys: list[str], depth: int) -> str | int:
    """The key of a section, or the number of an element that a list has already."""
    key = keys[depth]
    if isinstance(within, dict):
        return key
    dotted = ".".join(keys)
    if not isinstance(within, list):
        raise UserError(f"{dotted} reaches into {keys[depth - 1]!r}, which is not a section; correct the key")
    if re.fullmatch(r"[0-9]{1,9}", key) and int(key) < len(within):
        return int(key)
    count = len(within)
    raise UserError(f"{dotted}: {keys[depth - 1]} has {count} elements, counted from 0; correct the number")


def _check_keys(cls: Any, values: dict[str, Any], *, where: str, prefix: str) -> None:
    """Reject unknown keys, section by section, with the nearest known key as a hint."""
    hints = typing.get_type_hints(cls)
    known = {field.name for field in dataclasses.fields(cls)}
    for key, value in values.items():
        if key not in known:
            hint = did_you_mean(str(key), known, before=prefix) or _deeper(hints, str(key), values, prefix)
            names = ", ".join(sorted(known))
            raise UserError(f"unknown setting {prefix}{key!s} in {where}; {hint}known here: {names}")
        section = _section_class(hints[key])
        if section is not None and isinstance(value, dict):
            _check_keys(section, value, where=where, prefix=f"{prefix}{key}.")
        inner = _element_class(hints[key])
        if inner is not None and isinstance(value, list):
            for n, item in enumerate(value):
                if isinstance(item, dict):
                    _check_keys(inner, item, where=where, prefix=f"{prefix}{key}.{n}.")


def _deeper(hints: dict[str, Any], key: str, values: dict[str, Any], prefix: str) -> str:
    """Where a key belongs that is none of this section but one of a section inside it or of the elements of a
    list: `did you mean limits.t_max? `, `n belongs to each of datasets: set datasets.0.n; `; "" for nowhere.
    """
    for name, hint in hints.items():
        section, inner = _section_class(hint), _element_class(hint)
        if section is not None and key in _keys_of(section):
            return f"did you mean {prefix}{name}.{key}? "
        given = values.get(name)
        if inner is not None and key in _keys_of(inner) and isinstance(given, list) and given:
            places = ", ".join(f"{prefix}{name}.{at}.{key}" for at in range(len(given)))
            return f"{key} belongs to each of {prefix}{name}: set {places}; "
    return ""


def _keys_of(section: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(section)}


def _element_class(hint: Any) -> Any:
    """The config class of the elements of a tuple, which may be among other types; None for other fields."""
    if typing.get_origin(hint) is not tuple:
        return None
    return _section_class(next(iter(typing.get_args(hint)), None))


def _section_class(hint: Any) -> Any:
    """The config class behind a field's annotation (also behind `X | None`), or None for plain values."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return next((option for option in options if dataclasses.is_dataclass(option)), None)
