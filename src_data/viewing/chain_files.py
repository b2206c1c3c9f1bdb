"""Reads trajectories from any file that holds some: a run directory, filtered trajectories, trajectories,
conversations.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from src_core.conversations import as_conversation, plain_protocol
from src_core.errors import UserError
from src_core.protocols.records import ParseError
from src_core.rowfiles import RawRow, file_rows
from src_core.rundir import ROWS
from src_core.text import counted, did_you_mean
from src_core.types import Question, Status, Step, Trajectory, question_id, trajectory_from_json
from src_data.filters.filter_run import KEPT, REJECTED
from src_data.filters.filter_trajectory import FilterResult


class Entry(NamedTuple):
    """One conversation to show. `chain` is None where it cannot be read, and `raw` is then its text; `result`
    is None where no filter has run; `place` is its place in the file.
    """

    chain: Trajectory | None
    result: FilterResult | None
    raw: str
    place: str


def read_entries(path: Path) -> Iterator[Entry]:
    """The trajectories of a file, or of a run directory (kept ones first; all of them before filtering).
    Raises `UserError` when there is no file to read; a row that is not a trajectory is an entry without one.
    """
    return itertools.chain.from_iterable(map(_file_entries, _files(path)))


def _files(path: Path) -> list[Path]:
    if not path.exists() and path.parent.is_dir():
        beside = sorted(each.name for each in path.parent.iterdir())
        hint = did_you_mean(path.name, beside, before=f"{path.parent}/")
        raise UserError(f"no such file: {path}; {hint}check the path")
    if not path.is_dir():
        return [path]
    names = (KEPT, REJECTED) if (path / KEPT).is_file() else (ROWS,)
    found = [path / name for name in names if (path / name).is_file()]
    if not found and (runs := sorted(file.parent.name for file in path.glob(f"*/{ROWS}"))):
        raise UserError(
            f"{path} holds {counted(len(runs), 'run')}; name one of them, such as {path / runs[0]}"
        )
    if not found:
        raise UserError(
            f"{path} holds neither {KEPT} nor {ROWS}; construct or convert some trajectories first"
        )
    return found


def _file_entries(path: Path) -> Iterator[Entry]:
    for row in file_rows(path):
        place = f"{path.name}, {row.place}"
        if row.problem or not isinstance(row.value, dict):
            yield Entry(None, None, row.problem or _plain(row.value), place)
        elif "messages" in row.value:
            yield _from_messages(row, place)
        elif "reason" in row.value and "kept" in row.value:
            yield _from_filtered(row.value, place)
        else:
            yield _from_trajectory(row.value, None, place)


def _from_filtered(row: dict[str, Any], place: str) -> Entry:
    result = FilterResult(
        bool(row["kept"]), str(row["reason"]), str(row.get("detail", "")), float(row.get("f1", 0))
    )
    if "trajectory" not in row:
        return Entry(None, result, str(row.get("raw", "")), place)
    return _from_trajectory(row["trajectory"], result, place)


def _from_trajectory(value: Any, result: FilterResult | None, place: str) -> Entry:
    try:
        return Entry(trajectory_from_json(orjson.dumps(value)), result, "", place)
    except ValidationError:
        return Entry(None, result, _plain(value), place)


def _from_messages(row: RawRow, place: str) -> Entry:
    """A published conversation; one of another structure as its text."""
    _, name, turns, problem = as_conversation(row)
    if problem:
        return Entry(
            None, FilterResult(False, "structure", problem, 0.0), _plain(row.value["messages"]), place
        )
    protocol = plain_protocol(name)
    if not protocol.functions:  # a plain conversation has no steps to show
        return Entry(None, None, _plain(row.value["messages"]), place)
    steps: list[Step] = []
    for turn in turns[1:]:
        if turn["role"] == "observation":
            steps[-1] = replace(steps[-1], observation=turn["content"])
            continue
        parsed = protocol.parse(turn["reasoning"])
        if isinstance(parsed, ParseError):
            steps[-1] = replace(steps[-1], conclusion=protocol.parse_conclusion(turn["reasoning"]))
        else:
            steps.append(Step(len(steps) + 1, parsed.thought, parsed.action))
    asked = protocol.read_question(turns[0]["content"])
    question = Question(question_id(asked, ()), asked)
    return Entry(Trajectory(question, tuple(steps), "", Status.FINISHED), None, "", place)


def _plain(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
