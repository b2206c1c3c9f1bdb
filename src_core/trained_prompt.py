"""Compares the prompt that a model or adapter was trained with and the prompt of the run.

Training leaves `training.json` in the folder that it writes: `prompt` (the fields of `PromptStyle`) and
`format` (the protocol of its rows, where all have one). A model answers worse, without any message, under a
prompt other than its training prompt, so a difference is an error.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from src_core.errors import UserError
from src_core.json_file import read_object
from src_core.protocols.base import Protocol
from src_core.protocols.records import Layout, PromptStyle

TRAINING = "training.json"


def require_trained_prompt(folder: Path, protocol: Protocol) -> None:
    """Raises `UserError` where `folder` (or the GGUF file that was converted from it and is beside it)
    records a format or a prompt other than that of `protocol`, its record is damaged, or there is no such
    folder. A folder without a record passes.
    """
    if not folder.exists():
        raise UserError(f"there is no folder {folder} of a trained model; name that of the model or adapter")
    record = _read(folder.with_suffix("") if folder.is_file() else folder)
    if record is None:
        return
    if (trained := record.get("format")) not in (None, protocol.name):
        raise UserError(
            f"{folder} was trained with the format {trained}, this run asks in {protocol.name}; "
            f"set protocol={trained}"
        )
    # An empty template means the protocol's default.
    own = {"user_template": protocol.user_template, "observation_template": protocol.observation_template}
    for name, value in record["prompt"].items():
        if name == "observation_role" and protocol.layout is not Layout.TURNS:
            continue  # observations have no turn of their own there
        trained = value or own.get(name, value)
        asked = getattr(protocol.style, name) or own.get(name, getattr(protocol.style, name))
        if trained != asked:
            raise UserError(
                f"{folder} was trained with {name} {trained!r:.120}, this run asks with {asked!r:.120}; set "
                "the prompt that it was trained with (or, for inference, trained= to ask it in another way)"
            )


def trained_format(folder: Path) -> str:
    """The text format that the model or adapter in a folder was trained with, "" where no record says so."""
    record = _read(folder.with_suffix("") if folder.is_file() else folder)
    return str((record or {}).get("format") or "")


def trained_prompt(folder: Path) -> dict[str, Any] | None:
    """The prompt (fields of `PromptStyle`) that the model or adapter in a folder was trained with, None where
    no record says so. Raises `UserError` for a damaged record.
    """
    record = _read(folder.with_suffix("") if folder.is_file() else folder)
    return None if record is None else dict(record["prompt"])


def _read(folder: Path) -> dict[str, Any] | None:
    file = folder / TRAINING
    if not file.is_file():
        return None
    record = read_object(file, advice="remove it, or train again")
    prompt = record.get("prompt")
    known = {field.name for field in fields(PromptStyle)}
    if not isinstance(prompt, dict) or not prompt.keys() <= known:
        raise UserError(f"{file} does not say with which prompt it was trained; remove it, or train again")
    return {**record, "prompt": prompt}
