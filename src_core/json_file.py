"""A small JSON file that belongs to a model: its configuration, its tokenizer's, an adapter's.

Such files come from publishers, hubs and interrupted downloads. One that is cut, too large, nested without
end or of another kind is an error with the file's name, in flat memory.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from src_core.errors import UserError

MOST_BYTES = 64 << 20
MOST = 2**31
"""Above every number that a configuration holds."""


def read_object(path: Path, *, advice: str) -> dict[str, Any]:
    """The JSON object in `path`. Raises `UserError` with the file, the reason and `advice` (what to do)."""
    if not path.is_file():
        raise UserError(f"{path} is missing or no file; {advice}")
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise UserError(
                f"{path} is larger than {MOST_BYTES >> 20} MiB, which no configuration is; {advice}"
            )
        with path.open("rb") as handle:
            value = json.loads(handle.read(size + 1))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}); {advice}") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply; {advice}") from error
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); {advice}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no JSON object; {advice}")
    return value


def whole_number(
    values: dict[str, Any], key: str, *, path: Path, advice: str, default: int | None = None, least: int = 1
) -> int:
    """The whole number `key`, at least `least`, of the object in `path`; `default` where it is absent or
    null. Raises `UserError` for anything else.
    """
    value = values.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < MOST:
        shown = repr(value)[:40]
        raise UserError(f"{path} has {key} {shown}, a whole number from {least} on is needed; {advice}")
    return value
