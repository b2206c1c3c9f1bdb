"""Request fields that differ between OpenAI-compatible servers: constraints in the dialect of the engine, and
fields that settings leave out or rename.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BeforeValidator, PlainSerializer

from src_core.errors import UserError
from src_core.protocols.records import Constraint

OptionalField = Literal["max_tokens", "temperature", "top_p", "stop", "seed", "logprobs", "top_logprobs"]
"""The fields that a server may do without."""
Renames = Annotated[
    tuple[tuple[OptionalField, str], ...],
    BeforeValidator(lambda value: tuple(value.items()) if isinstance(value, dict) else value),
    PlainSerializer(dict),
]
"""Names of fields and the server's names for them: a mapping in the settings, pairs in the (hashable) object.
"""
_NAMES: tuple[OptionalField, ...] = get_args(OptionalField)
_NEW_NAMES: dict[OptionalField, str] = {"max_tokens": "max_completion_tokens"}
"""Fields that newer servers know under another name."""
_OTHER_TROUBLE = re.compile(r"context|too long|model length", re.IGNORECASE)


def constraint_fields(constraint: Constraint | None, engine: str) -> dict[str, Any]:
    """Request fields for a constraint, in the dialect of the engine."""
    if constraint is None:
        return {}
    if constraint.grammar is not None:
        if engine == "llama.cpp":
            return {"grammar": constraint.grammar}
        if engine == "openai":
            raise UserError(
                "engine=openai has no field for a grammar; set constrain to json_schema, auto or off"
            )
        return {"structured_outputs": {"grammar": constraint.grammar}}
    return {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "step", "strict": True, "schema": constraint.schema},
        }
    }


def shaped(body: Mapping[str, Any], *, omit: Sequence[str], rename: Renames) -> dict[str, Any]:
    """`body` without the fields `omit`, and with the names in `rename`."""
    names: dict[str, str] = dict(rename)
    return {names.get(key, key): value for key, value in body.items() if key not in omit}


class Refused(NamedTuple):
    """The fields that a server refuses: those with the name that it wants for them, and those without."""

    renamed: tuple[tuple[OptionalField, str], ...]
    left_out: tuple[OptionalField, ...]


def refused(
    words: str, body: Mapping[str, Any], *, omit: Sequence[OptionalField], rename: Renames
) -> Refused | None:
    """The fields of `body` that the `words` of a refusal name; None where they name none, or say that the
    conversation is too long.
    """
    if _OTHER_TROUBLE.search(words):
        return None
    names: dict[str, str] = dict(rename)
    sent = [key for key in _NAMES if key in body and key not in omit]
    named = [key for key in sent if _names(words, names.get(key, key))]
    new = {key: _NEW_NAMES[key] for key in named if _NEW_NAMES.get(key, "?") in words and key not in names}
    left = tuple(key for key in named if key not in new)
    return Refused(tuple(new.items()), left) if named else None


def advice(found: Refused, *, keys: Sequence[str], omit: Sequence[OptionalField]) -> str:
    """What to set where a server refuses fields. `keys` are the settings of the endpoint."""
    left = [*omit, *found.left_out]
    text = "set " + " ".join(
        setting
        for key in keys
        for setting in (
            *(f"{key}.rename.{old}={name}" for old, name in found.renamed),
            *((f"{key}.omit=[{','.join(left)}]",) if found.left_out else ()),
        )
    )
    others = [f"{key}.rename.{old}={_NEW_NAMES[old]}" for key in keys for old in left if old in _NEW_NAMES]
    return text + (f" (or {' '.join(others)}, if the server knows that name)" if others else "")


def _names(words: str, field: str) -> bool:
    """Whether a field's name is a word of the text."""
    return re.search(rf"(?<![\w]){re.escape(field)}(?![\w])", words) is not None
