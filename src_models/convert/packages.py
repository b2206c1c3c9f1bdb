"""The packages that a conversion needs, asked for before anything is loaded or written."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from src_core.errors import UserError


def require_packages(names: Sequence[str], *, command: str) -> None:
    """Raise a `UserError` that names those of `names` that are not installed, and how to run `command` (what
    follows `python -m`) with all of them.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"{', '.join(missing)} must be installed: VENV=.venv-train bash scripts/setup.sh"
            f" requirements-train.txt, then .venv-train/bin/python -m {command}"
        )
