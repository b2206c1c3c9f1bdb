"""The files of a RADIO run, in `runs/<run_name>/`, and the record of each stage.

passages.jsonl                 each candidate passage once
rationales.jsonl               one row per question, prompt and model
candidates.jsonl               the retriever's ranking of each training question
scores.jsonl                   the same with raw and scaled scores of retriever and rationale
vectors-*.f32, *.keys.jsonl    the encoder's vectors of the passages
groups/LABEL.train.jsonl, LABEL.validation.jsonl
comparison/                    the same of the evaluation questions, a ranking per reranker, the tables
mmlu/                          the same of multiple-choice questions
STAGE.json                     settings, counts, code and packages of the stage
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from src_core.errors import UserError
from src_core.jsonl import write_atomic
from src_core.made_with import code_state, package_versions
from src_core.rundir import read_json_object

RATIONALES = "rationales.jsonl"
CANDIDATES = "candidates.jsonl"
SCORES = "scores.jsonl"
GROUPS = "groups"
COMPARISON = "comparison"
MMLU = "mmlu"
QUESTIONS = "questions.jsonl"
"""Questions that are shown or asked beside their rankings."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Create the folder of a run and hold its lock. Raises `UserError` where another process holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"cannot write in {folder}: {error.strerror}; choose another runs_dir") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"{folder} is in use by another process; wait, or take another run_name"
            ) from error
        yield
    finally:
        os.close(handle)


def write_record(folder: Path, stage: str, values: dict[str, Any]) -> None:
    """Write the record of a stage."""
    record = {**values, "code": code_state(), "packages": package_versions()}
    write_atomic(folder / f"{stage}.json", orjson.dumps(record, option=orjson.OPT_INDENT_2))


def read_record(folder: Path, stage: str) -> dict[str, Any]:
    """The record of a stage; `{}` where it was not run."""
    return read_json_object(folder / f"{stage}.json")


def require(path: Path, stage: str) -> Path:
    """`path`, which `stage` writes. Raises `UserError` where it is not there."""
    if not path.is_file():
        raise UserError(f"there is no {path}; run the stage '{stage}' first")
    return path
