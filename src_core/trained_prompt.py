"""The prompt that a model or adapter was trained with, compared with the one that it is asked with.

Training leaves `training.json` in the folder that it writes: `prompt` (the fields of `PromptStyle`) and
`format` (the protocol of its rows, where all have one). A model that is asked in another way than it was
trained answers worse without a word, so the difference is an error.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from src_core.errors import UserError
from src_core.protocols.base import Protocol
from src_core.protocols.records import PromptStyle

TRAINING = "training.json"


def require_trained_prompt(folder: Path, protocol: Protocol) -> None:
    """Raises `UserError` where `folder` (or the GGUF file that was made of it and lies beside it) records a
    format or a prompt that is not that of `protocol`, or its record is damaged. A folder without a record
    passes.
    """
    record = _read(folder.with_suffix("") if folder.is_file() else folder)
    if record is None:
        return
    if (trained := record.get("format")) not in (None, protocol.name):
        raise UserError(
            f"{folder} was trained with the format {trained}, this run asks in {protocol.name}; "
            f"set protocol={trained}"
        )
    # A template that is left open is the protocol's own.
    own = {"user_template": protocol.user_template, "observation_template": protocol.observation_template}
    for name, value in record["prompt"].items():
        trained = value or own.get(name, value)
        asked = getattr(protocol.style, name) or own.get(name, getattr(protocol.style, name))
        if trained != asked:
            raise UserError(
                f"{folder} was trained with {name} {trained!r:.120}, this run asks with {asked!r:.120}; set "
                "the prompt that it was trained with, or trained= to ask it in another way"
            )


def _read(folder: Path) -> dict[str, Any] | None:
    file = folder / TRAINING
    if not file.is_file():
        return None
    try:
        record = json.loads(file.read_bytes())
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON ({error}); remove it, or train again") from error
    prompt = record.get("prompt") if isinstance(record, dict) else None
    known = {field.name for field in fields(PromptStyle)}
    if not isinstance(prompt, dict) or not prompt.keys() <= known:
        raise UserError(f"{file} does not say with which prompt it was trained; remove it, or train again")
    return {**record, "prompt": prompt}
