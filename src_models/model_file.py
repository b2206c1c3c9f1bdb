"""A model that was named on a command line: a GGUF file, or a name of `configs/models.yaml`."""

from __future__ import annotations

from pathlib import Path

from src_core.caller import in_command
from src_core.errors import UserError
from src_models.fetch import ensure_model
from src_models.gguf_header import read_gguf_header


def find_model(name_or_path: str) -> Path:
    """A GGUF file from a path, or fetched by its name in `configs/models.yaml`."""
    path = Path(name_or_path).expanduser() if is_path(name_or_path) else ensure_model(name_or_path)
    if path.is_dir():
        raise UserError(
            f"{path} is a folder, llama.cpp takes a GGUF file; make one with: "
            f".venv/bin/python -m src_models.convert.to_gguf {in_command(path, at_home=True)} OUT.gguf"
        )
    if not path.is_file():
        raise UserError(f"no such model file: {path}; give a GGUF file or a name of configs/models.yaml")
    read_gguf_header(path)  # a damaged file is refused here with its reason
    return path


def is_path(name_or_path: str) -> bool:
    """Whether the text is a path, and not a name of the catalogue."""
    return "/" in name_or_path or name_or_path.endswith(".gguf")
