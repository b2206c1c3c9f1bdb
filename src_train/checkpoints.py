"""The checkpoints of a training run that were written to their end."""

from __future__ import annotations

from pathlib import Path

WHOLE = "whole"
"""An empty file in each checkpoint that was written to its end."""


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint under `folder` that was written to its end; None when there is none."""
    numbered = [
        (int(path.name.rpartition("-")[2]), path)
        for path in folder.glob("checkpoint-*")
        if (path / WHOLE).is_file() and path.name.rpartition("-")[2].isdigit()
    ]
    return max(numbered)[1] if numbered else None
