"""Paths and commands as they are seen from the folder in which a person called a script: the scripts change
to the repository before a program of it runs (deploy/caller.sh).
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

CALLER = "REARAG_CALLER"
"""The variable with the caller's folder; without it the working directory is that folder."""
_COMMAND = re.compile(r"\bbash ((?:infer|data_construct)\.sh|(?:scripts|deploy)/\w+\.sh)")


def seen(path: Path | str) -> str:
    """A path, relative to the working directory, as the caller writes it: the shorter of the relative and the
    whole one.
    """
    caller = os.environ.get(CALLER, "")
    if not caller or Path(path).is_absolute() or Path(caller) == Path.cwd():
        return str(path)
    whole = str(Path.cwd() / path)
    return min(os.path.relpath(whole, caller), whole, key=len)


def commands_seen(text: str) -> str:
    """A text whose commands (`bash scripts/report.sh …`) work in the caller's folder."""
    return _COMMAND.sub(lambda match: f"bash {seen(match[1])}", text)


def python_command() -> str:
    """The interpreter of this process as a command of this folder, `.venv/bin/python` for the usual one."""
    inside = os.path.relpath(sys.executable)
    return sys.executable if inside.startswith("..") else inside
