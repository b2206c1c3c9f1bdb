"""What a method is and which settings it has: `python -m src_infer.describe METHOD` (called by
`METHOD=deeprag bash infer.sh --help`).
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Iterator

from src_core.config import dump
from src_core.errors import UserError, run_main
from src_core.setting_kinds import kind_in_words
from src_core.terminal import answer
from src_infer.methods import load_method


def described(name: str) -> Iterator[str]:
    """The description of a method, and each of its settings with its default. Raises `UserError` for an
    unknown one.
    """
    method = load_method(name)
    yield f"{name}: {method.summary}"
    if method.settings is None:
        yield "It has no settings of its own."
        return
    yield "Its settings, with their defaults:"
    defaults = dump(method.settings)
    kinds = typing.get_type_hints(type(method.settings), include_extras=True)
    for field in dataclasses.fields(method.settings):
        kind = kind_in_words(kinds[field.name])
        yield f"  method_settings.{field.name}={_written(defaults[field.name])}    {kind}"
    for kept in reversed(type(method.settings).__mro__):
        if dataclasses.is_dataclass(kept) and kept.__doc__:
            yield inspect.cleandoc(kept.__doc__)


def _written(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f'"{value}"' if value == "" else str(value)


def main() -> None:
    """Print the method of the command line."""
    if len(sys.argv) != 2:
        raise UserError("usage: .venv/bin/python -m src_infer.describe METHOD")
    for line in described(sys.argv[1]):
        answer(line)


if __name__ == "__main__":
    run_main(main)
