"""The folder of a run: which names it may have, whether this project made it, and emptying it.

A folder is emptied only if it carries the marker (older runs: the settings of a run), and only if every entry
in it has a name that this project writes there.
"""

from __future__ import annotations

import shutil
from fnmatch import fnmatchcase
from pathlib import Path

from src_core.caller import seen
from src_core.config import read_yaml
from src_core.errors import UserError

CONFIG = "config.yaml"
MARKER = ".rearag-run"
_LONGEST = 240
"""Bytes: file systems allow 255, and files beside the folder add an ending to its name."""
_KEPT = (".lock", MARKER, "logs")
MADE = (
    *("config.yaml", "manifest.json", "servers.json", "trajectories.jsonl", "failed.jsonl", "*.tmp"),
    *("scores.jsonl", "scores.json", "verdicts.jsonl", "judge.json", "report.html"),
    *(
        "mixture.json",
        "question_ids.json",
        "shards",
        "kept.jsonl",
        "rejected.jsonl",
        "provenance.jsonl",
        "yield.json",
        "yield.md",
    ),
    *("conversations*.json", "conversations*.jsonl", "chains.html"),
    *("chosen.jsonl", "pairs.json", "pairs.train.jsonl", "pairs.validation.jsonl"),
    *("checkpoint-*", "log.jsonl", "loss.png", "reference.*.safetensors", "runs"),
    *("rollouts", "versions", "judgements.jsonl"),
    *("model", "model.gguf", "adapter", "adapter.gguf", "merged", "merged.gguf"),
)
"""The names (patterns) of what runs, scoring, construction and training write into the folder of a run."""


def run_folder(runs_dir: str, run_name: str, *, setting: str = "run_name") -> Path:
    """`runs_dir/run_name`. Raises `UserError` for a name that is empty, leads elsewhere or cannot be the name
    of a folder; `setting` names the setting to change.
    """
    problem = _name_problem(run_name)
    if problem:
        raise UserError(
            f"{setting} {_shown(run_name)} {problem}; choose one of letters, digits, '-', '_' and '.'"
        )
    folder = Path(runs_dir) / run_name
    try:
        folder.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        raise UserError(f"runs_dir {_shown(runs_dir)} cannot be used: {error}; choose another one") from error
    return folder


def mark(folder: Path) -> None:
    """Write the marker, which allows `on_existing=clean` to empty the folder."""
    marker = folder / MARKER
    if not marker.exists():
        marker.write_text(
            "A run of this project; on_existing=clean may empty this folder.\n", encoding="utf-8"
        )


def require_run(folder: Path) -> None:
    """Raises `UserError` for a folder with settings that are not a run's."""
    if (folder / MARKER).is_file():
        return
    keys = _settings(folder)
    if {"methods", "datasets"} <= keys:
        raise UserError(f"{seen(folder)} is the folder of an evaluation, not of a run; take another RUN_NAME")
    if not {"run_name", "runs_dir"} <= keys:  # older runs have no marker: their settings name the run
        raise UserError(
            f"{seen(folder)} holds a {CONFIG} that no run of this project wrote; take another RUN_NAME"
        )


def require_cleanable(folder: Path) -> None:
    """Raises `UserError` for the folder of a run that may not be emptied, because it holds other files."""
    foreign = sorted(entry.name for entry in folder.iterdir() if not _is_ours(entry.name))
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise UserError(
            f"{seen(folder)} holds files that no run wrote ({', '.join(map(_shown, foreign[:3]))}{more}), so "
            "on_existing=clean does not empty it; move them away, or take another RUN_NAME"
        )


def empty(folder: Path) -> None:
    """Empty a folder except for lock, marker and the logs (of servers that may be running). The settings are
    deleted last: after an interrupted clean-up no rows are left without their settings. Raises as
    `require_run` and `require_cleanable`.
    """
    require_run(folder)
    require_cleanable(folder)
    mark(folder)
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == CONFIG):
        if entry.name in _KEPT:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _is_ours(name: str) -> bool:
    return name in _KEPT or any(fnmatchcase(name, pattern) for pattern in MADE)


def _settings(folder: Path) -> set[str]:
    """The keys of the folder's configuration."""
    try:
        return set(read_yaml(folder / CONFIG))
    except UserError:
        return set()


def _name_problem(name: str) -> str:
    if not name.strip():
        return "is empty"
    if name in (".", "..") or "/" in name or "\\" in name:
        return "leads to another folder"
    if name.startswith("-"):
        return "begins with '-', which programs read as an option"
    if not name.isprintable():
        return "holds characters that cannot be printed"
    if len(name.encode("utf-8", "replace")) > _LONGEST:
        return f"is longer than {_LONGEST} bytes"
    return ""


def _shown(name: str) -> str:
    text = repr(name)
    return text if len(text) <= 60 else f"{text[:56]}…{text[-1]}"
