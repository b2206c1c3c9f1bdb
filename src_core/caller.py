"""Paths and commands as they are seen from the folder in which a person called a script: the scripts change
to the repository before a program of it runs (deploy/caller.sh).
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

CALLER = "REARAG_CALLER"
"""The variable with the caller's folder; without it the working directory is that folder."""
SYSTEM = "REARAG_SYSTEM"
"""The variable with the name of a whole system whose script runs (deploy/systems.sh); its runs begin with the
script's NAME, and it passes no settings on.
"""
USUAL = ".venv/bin/python"
_MODULE = re.compile(r"(?<![\w/.-])(\.venv(?:-train)?/bin/python) -m\b")
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
    """A text whose commands work in the caller's folder: `bash scripts/report.sh …` with the script's path
    from there, `.venv/bin/python -m …` in the repository, where the modules are, by this process's
    interpreter. Every command is written as from the repository; whoever prints one passes it through here.
    """
    text = _COMMAND.sub(lambda match: f"bash {in_command(match[1])}", text)
    home = seen(".")
    there = "" if home == "." else f"cd {shlex.quote(home)} && "
    return _MODULE.sub(lambda match: f"{there}{_interpreter(match[1])} -m", text)


def in_command(path: Path | str, *, at_home: bool = False) -> str:
    """A path as a word of a command that is printed, quoted for a shell where it has to be: as the caller
    sees it, or with `at_home` as it is, for a command that runs in the repository (`.venv/bin/python -m …`).
    """
    return shlex.quote(str(path) if at_home else seen(path))


def named_run(name: str) -> str:
    """How a command names its run: `RUN_NAME=x` where a script has passed this name on as its knob, else
    `run_name=x`; quoted for a shell where it has to be.
    """
    knob = "RUN_NAME" if os.environ.get("RUN_NAME") == name else "run_name"
    return f"{knob}={shlex.quote(name)}"


def in_system() -> bool:
    """Whether the script of a whole system has started this process."""
    return bool(os.environ.get(SYSTEM))


def _interpreter(usual: str) -> str:
    """The interpreter of this process, seen from the repository, in the place of the usual one."""
    inside = os.path.relpath(sys.executable)
    return usual if usual != USUAL else shlex.quote(sys.executable if inside.startswith("..") else inside)
