"""The weights of an LLM as a folder in the hub's layout, for what torch loads (training, inner states)."""

from __future__ import annotations

from pathlib import Path

from src_core.errors import UserError
from src_models.convert.to_hf import to_hf
from src_models.hub import snapshot
from src_models.model_file import find_model


def llm_folder(name: str) -> Path:
    """The folder of a model: the folder itself, the hub's copy (cached or downloaded) of that name, or, for a
    name of `configs/models.yaml`, its GGUF converted to bf16 (once). Raises `UserError` when none is found.
    """
    folder = Path(name)
    if (folder / "config.json").is_file():
        return folder
    if folder.exists():
        raise UserError(f"{name} has no config.json; give a folder as the hub lays it out")
    if name.startswith((".", "/", "~")):
        raise UserError(f"there is no model folder at {name}; check the path")
    if "/" in name:
        return snapshot(name)
    gguf = find_model(name)
    widened = gguf.with_name(f"{gguf.stem}-bf16")
    if not widened.exists():
        to_hf(gguf, widened)
    return widened
