"""Checks for the packages of a conversion, before anything is loaded or written."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from src_core.errors import UserError


def require_packages(names: Sequence[str], *, command: str) -> None:
    """Raise a `UserError` that lists the missing packages of `names`, and the way to run `command` (the text
    after `python -m`) with all of them.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"{', '.join(missing)} must be installed: VENV=.venv-train bash scripts/setup.sh"
            f" requirements-train.txt, then .venv-train/bin/python -m {command}"
        )
