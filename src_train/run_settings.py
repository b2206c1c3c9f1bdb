"""The settings of a training run that its result depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from src_core.config import dump
from src_core.served import sampled_digest

_WEIGHTS = "*.safetensors"


def run_settings(config: Any, *, data_digest: str, start: Sequence[Path]) -> dict[str, Any]:
    """The settings for `RunDir`: those of `config`, the digest of the rows, and `start_digest`, that of the
    weights in the folders `start`. A folder may hold others later under the same name, as where an earlier
    stage was trained anew.
    """
    return {**dump(config), "data_digest": data_digest, "start_digest": weights_digest(start)}


def weights_digest(folders: Sequence[Path]) -> str:
    """Hash (16 hex digits) of the weights in some folders, by pieces of each file."""
    hashed = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.glob(_WEIGHTS)):
            hashed.update(f"{path.name} {sampled_digest(path)}\n".encode())
    return hashed.hexdigest()[:16]
