"""The four files of a scored run: manifest, trajectories, scores of questions, scores of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from src_core.caller import in_command
from src_core.errors import UserError
from src_core.rundir import MANIFEST, QUESTION_IDS, ROWS
from src_core.types import Trajectory
from src_eval.records import SCORE_ROWS, SCORE_TOTALS, QuestionScore, RunScore

PAGE = "index.html"
"""The page of an evaluation in its folder, with a link to the report of each run."""
Record = TypeVar("Record")
_TOTALS = TypeAdapter(RunScore)
_SCORE = TypeAdapter(QuestionScore)
_TRAJECTORY = TypeAdapter(Trajectory)


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """A run with its scores; `scores[i]` is about `trajectories[i]`. `manifest` is empty for a run that was
    not finished.
    """

    totals: RunScore
    scores: Sequence[QuestionScore]
    trajectories: Sequence[Trajectory]
    manifest: dict[str, Any]


def is_scored(path: Path) -> bool:
    """Whether a run directory has scores that are not older than its rows. True for one without rows, which
    cannot be scored.
    """
    rows, scores = path / ROWS, [path / name for name in (SCORE_TOTALS, SCORE_ROWS)]
    if not rows.is_file():
        return True
    return all(file.is_file() and file.stat().st_mtime >= rows.stat().st_mtime for file in scores)


def read_scored_run(path: Path) -> ScoredRun:
    """Read a run directory. Raises `UserError` when `path` is not a run directory, was not scored, or was
    scored before its trajectories changed.
    """
    if not (path / ROWS).is_file() and (path / PAGE).is_file():
        raise UserError(
            f"{path} is the folder of an evaluation, not of a run; open {path / PAGE}, which links to the "
            "report of each of its runs"
        )
    if not (path / ROWS).is_file():
        raise UserError(f"{path} has no {ROWS}; give the directory of a run (runs/<name>)")
    for name in (SCORE_TOTALS, SCORE_ROWS):
        if not (path / name).is_file():
            raise UserError(
                f"{path} has no {name}; run .venv/bin/python -m src_eval.score "
                f"{in_command(path, at_home=True)} to write it"
            )
    totals = _record(path / SCORE_TOTALS, (path / SCORE_TOTALS).read_bytes(), _TOTALS)
    scores = _records(path / SCORE_ROWS, _SCORE)
    manifest = _manifest(path)
    ids = manifest.get(QUESTION_IDS)
    trajectories = _records(path / ROWS, _TRAJECTORY)
    if isinstance(ids, list):  # as in the scores: only questions that the run has now
        present = frozenset(ids)
        trajectories = [row for row in trajectories if row.question.id in present]
    if [row.id for row in scores] != [row.question.id for row in trajectories]:
        raise UserError(
            f"{path / SCORE_ROWS} is not about the rows of {ROWS}; "
            f"run .venv/bin/python -m src_eval.score {in_command(path, at_home=True)} to write it again"
        )
    return ScoredRun(totals, scores, trajectories, manifest or totals.manifest)


def _manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    if not file.is_file():
        return {}
    try:
        value = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise UserError(f"{file}: not valid JSON ({error}); correct or remove it") from error
    return value if isinstance(value, dict) else {}


def _records(path: Path, kind: TypeAdapter[Record]) -> list[Record]:
    """One record per line; an incomplete last line is left out."""
    rows = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.endswith(b"\n") and line.strip():
                rows.append(_record(f"{path}, line {number}", line, kind))
    return rows


def _record(where: Path | str, text: bytes, kind: TypeAdapter[Record]) -> Record:
    try:
        return kind.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{where}: {first['msg']}{f' at {place}' if place else ''}; correct it, or write the file again"
        ) from error
