"""The filter stage over a whole run: `trajectories.jsonl` -> `kept.jsonl`, `rejected.jsonl`, validity file.

Rows are streamed twice; memory grows only by about 400 bytes per question with an acceptable trajectory.
Every row of the input is written to exactly one of the two files, with its result and the whole trajectory (a
row that cannot be read is written as raw text). Files are replaced atomically, so that an interrupted stage
leaves the old files.

Best of n: among the trajectories of a question that pass every rule, the highest token F1 wins; ties go to
fewer steps, then to fewer repaired or retried replies, then to shorter thoughts, then to the earlier row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson
from pydantic import ValidationError

from src_core.errors import UserError
from src_core.jsonl import read_jsonl, rewrite_jsonl, write_json_array
from src_core.protocols.base import Protocol
from src_core.rundir import QUESTIONS, ROWS
from src_core.types import Trajectory, trajectory_from_json
from src_data.filters.filter_trajectory import FilterConfig, FilterResult, filter_trajectory

KEPT = "kept.jsonl"
REJECTED = "rejected.jsonl"
_RAW_CHARS = 100_000


class FilterPaths(NamedTuple):
    """The files of the stage and of the export that follows it."""

    rows: Path
    kept: Path
    rejected: Path
    validity: Path
    conversations: Path


class FilteredRow(NamedTuple):
    """One row of `kept.jsonl` or `rejected.jsonl`. `trajectory` is None for a row that could not be read,
    whose text is then `raw`; `line` is its line in the input.
    """

    result: FilterResult
    trajectory: Trajectory | None
    raw: str
    line: int


class _Candidate(NamedTuple):
    """An acceptable trajectory: better ones sort first."""

    rank: tuple[float, int, int, int, int]
    offset: int
    result: FilterResult

    @property
    def line(self) -> int:
        return self.rank[-1]


def filter_paths(run_dir: Path, config: FilterConfig) -> FilterPaths:
    """The files that the stage reads and writes: in the run directory, unless the original's keys name
    others.
    """
    source = Path(config.input_dir) if config.input_dir else run_dir
    target = Path(config.output_dir) if config.output_dir else run_dir
    return FilterPaths(
        rows=source / (config.input_file or ROWS),
        kept=target / KEPT,
        rejected=target / REJECTED,
        validity=target / (config.output_file_validity or FilterConfig().output_file_validity),
        conversations=target / (config.output_file or FilterConfig().output_file),
    )


def filter_run(run_dir: Path, config: FilterConfig, protocol: Protocol) -> FilterPaths:
    """Filter every row of a run and write the three files. `protocol` renders the conversations of the
    validity file. Raises `UserError` when there is no file to read or no space to write.
    """
    paths = filter_paths(run_dir, config)
    if not paths.rows.is_file():
        raise UserError(f"there are no trajectories to filter: {paths.rows} does not exist; build some first")
    with paths.rows.open("rb") as handle:
        best: dict[str, list[_Candidate]] = {}
        present = _present(paths.rows)
        rewrite_jsonl(paths.rejected, _rejected(handle, config, protocol, best, present=present))
        chosen = sorted((c for group in best.values() for c in group), key=lambda c: c.offset)
        rewrite_jsonl(paths.kept, (_line(c.result, c.line, _at(handle, c.offset)) for c in chosen))
    write_json_array(paths.validity, _validity(paths, protocol))
    return paths


def read_filtered(path: Path) -> Iterator[FilteredRow]:
    """The rows of `kept.jsonl` or `rejected.jsonl`, one at a time."""
    for row in read_jsonl(path):
        result = FilterResult(row["kept"], row["reason"], row["detail"], row["f1"])
        if "raw" in row:
            yield FilteredRow(result, None, row["raw"], row["line"])
        else:
            yield FilteredRow(result, trajectory_from_json(orjson.dumps(row["trajectory"])), "", row["line"])


def _present(rows: Path) -> frozenset[str] | None:
    """The ids of the questions of a construction run, which lie beside its rows; None for other rows."""
    file = rows.with_name(QUESTIONS)
    return frozenset(orjson.loads(file.read_bytes())) if file.is_file() else None


def _rejected(
    handle: BinaryIO,
    config: FilterConfig,
    protocol: Protocol,
    best: dict[str, list[_Candidate]],
    *,
    present: frozenset[str] | None,
) -> Iterator[bytes]:
    """The lines of `rejected.jsonl`: first the rows that a rule rejects, or whose question is not `present`
    (None: all are), then the trajectories that are not among the best of their question. Fills `best` as a
    side effect.
    """
    surplus: list[_Candidate] = []
    offset = 0
    for number, raw in enumerate(handle, start=1):
        begun, offset = offset, offset + len(raw)
        if not raw.strip():
            continue
        read = _read(raw)
        if isinstance(read, str):
            yield _line(FilterResult(False, "unreadable", read, 0.0), number, None, raw=raw)
            continue
        result = filter_trajectory(read, config, protocol)
        if present is not None and read.question.id not in present:  # corrected since, or taken out
            result = FilterResult(False, "not_in_mixture", "the question files hold it no longer", 0.0)
        if not result.kept:
            yield _line(result, number, raw)
            continue
        candidates = best.setdefault(read.question.id, [])
        candidates.append(_Candidate(_rank(read, result, number), begun, result))
        candidates.sort()
        if config.chains_per_question:
            surplus.extend(candidates[config.chains_per_question :])
            del candidates[config.chains_per_question :]
    for candidate in surplus:
        detail = "another trajectory of this question was kept"
        result = FilterResult(False, "not_best", detail, candidate.result.f1)
        yield _line(result, candidate.line, _at(handle, candidate.offset))


def _read(raw: bytes) -> Trajectory | str:
    """The trajectory of a line, or the reason why it cannot be read."""
    if not raw.endswith(b"\n"):
        raw += b"\n"  # the last line break is missing; an incomplete row does not parse
    try:
        return trajectory_from_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"{place}: {first['msg']}" if place else str(first["msg"])


def _rank(trajectory: Trajectory, result: FilterResult, line: int) -> tuple[float, int, int, int, int]:
    steps = trajectory.steps
    faults = sum(len(step.parse_fixes) + step.parse_failures for step in steps)
    return (-result.f1, len(steps), faults, sum(len(step.thought) for step in steps), line)


def _at(handle: BinaryIO, offset: int) -> bytes:
    handle.seek(offset)
    return handle.readline()


def _line(result: FilterResult, number: int, row: bytes | None, *, raw: bytes = b"") -> bytes:
    """A filtered row as JSON; the trajectory is copied byte for byte."""
    values: dict[str, Any] = {**result._asdict(), "line": number}
    if row is None:
        return orjson.dumps({**values, "raw": raw.decode("utf-8", "replace").rstrip("\n")[:_RAW_CHARS]})
    return orjson.dumps(values)[:-1] + b',"trajectory":' + row.strip() + b"}"


def _validity(paths: FilterPaths, protocol: Protocol) -> Iterator[bytes]:
    """The original's validity file, kept trajectories first: `conversation`, `valid`, `valid_message`."""
    for path in (paths.kept, paths.rejected):
        for row in read_filtered(path):
            made = row.trajectory
            turns = protocol.turns(made.question.question, made.steps) if made else None
            message = ": ".join(filter(None, (row.result.reason, row.result.detail))) or "valid"
            values = {"conversation": turns, "valid": row.result.kept, "valid_message": message}
            yield orjson.dumps(values)
