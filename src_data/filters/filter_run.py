"""The cleaning stage over a whole run: `trajectories.jsonl` -> `kept.jsonl`, `rejected.jsonl`, validity file.

Rows are streamed twice and never held: memory grows only by about 400 bytes per question with an acceptable
chain. Every row of the input ends in exactly one of the two files, with its verdict and the whole chain (a
row that cannot be read as its raw text). Files are replaced in one step, so that an interrupted stage leaves
the old ones.

Best of n: among the chains of a question that pass every rule, the highest token F1 wins; ties go to fewer
steps, then to fewer mended or retried replies, then to shorter thoughts, then to the earlier row.
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
from src_core.rundir import ROWS
from src_core.types import Trajectory, trajectory_from_json
from src_data.filters.filter_trajectory import CleanConfig, FilterResult, judge

KEPT = "kept.jsonl"
REJECTED = "rejected.jsonl"
_RAW_CHARS = 100_000


class CleanPaths(NamedTuple):
    """The files of the stage and of the export that follows it."""

    rows: Path
    kept: Path
    rejected: Path
    validity: Path
    conversations: Path


class Judged(NamedTuple):
    """One row of `kept.jsonl` or `rejected.jsonl`. `trajectory` is None for a row that could not be read,
    whose text is then `raw`; `line` is its line in the input.
    """

    verdict: FilterResult
    trajectory: Trajectory | None
    raw: str
    line: int


class _Candidate(NamedTuple):
    """An acceptable chain: sorts before those it beats."""

    rank: tuple[float, int, int, int, int]
    offset: int
    verdict: FilterResult

    @property
    def line(self) -> int:
        return self.rank[-1]


def clean_paths(run_dir: Path, config: CleanConfig) -> CleanPaths:
    """Where the stage reads and writes: the run directory, unless the original's keys say otherwise."""
    source = Path(config.input_dir) if config.input_dir else run_dir
    target = Path(config.output_dir) if config.output_dir else run_dir
    return CleanPaths(
        rows=source / (config.input_file or ROWS),
        kept=target / KEPT,
        rejected=target / REJECTED,
        validity=target / (config.output_file_validity or CleanConfig().output_file_validity),
        conversations=target / (config.output_file or CleanConfig().output_file),
    )


def clean_run(run_dir: Path, config: CleanConfig, protocol: Protocol) -> CleanPaths:
    """Judge every row of a run and write the three files. `protocol` renders the conversations of the
    validity file. Raises `UserError` when there is nothing to read or no space to write.
    """
    paths = clean_paths(run_dir, config)
    if not paths.rows.is_file():
        raise UserError(f"there are no chains to clean: {paths.rows} does not exist; build some first")
    with paths.rows.open("rb") as handle:
        best: dict[str, list[_Candidate]] = {}
        rewrite_jsonl(paths.rejected, _rejected(handle, config, best))
        chosen = sorted((c for chains in best.values() for c in chains), key=lambda c: c.offset)
        rewrite_jsonl(paths.kept, (_line(c.verdict, c.line, _at(handle, c.offset)) for c in chosen))
    write_json_array(paths.validity, _validity(paths, protocol))
    return paths


def read_judged(path: Path) -> Iterator[Judged]:
    """The rows of `kept.jsonl` or `rejected.jsonl`, one at a time."""
    for row in read_jsonl(path):
        verdict = FilterResult(row["kept"], row["reason"], row["detail"], row["f1"])
        if "raw" in row:
            yield Judged(verdict, None, row["raw"], row["line"])
        else:
            yield Judged(verdict, trajectory_from_json(orjson.dumps(row["trajectory"])), "", row["line"])


def _rejected(handle: BinaryIO, config: CleanConfig, best: dict[str, list[_Candidate]]) -> Iterator[bytes]:
    """The lines of `rejected.jsonl`: what a rule refuses as it comes, then the chains that were beaten.
    Fills `best` on the way.
    """
    beaten: list[_Candidate] = []
    offset = 0
    for number, raw in enumerate(handle, start=1):
        begun, offset = offset, offset + len(raw)
        if not raw.strip():
            continue
        read = _read(raw)
        if isinstance(read, str):
            yield _line(FilterResult(False, "unreadable", read, 0.0), number, None, raw=raw)
            continue
        verdict = judge(read, config)
        if not verdict.kept:
            yield _line(verdict, number, raw)
            continue
        chains = best.setdefault(read.question.id, [])
        chains.append(_Candidate(_rank(read, verdict, number), begun, verdict))
        chains.sort()
        if config.chains_per_question:
            beaten.extend(chains[config.chains_per_question :])
            del chains[config.chains_per_question :]
    for candidate in beaten:
        verdict = FilterResult(
            False, "not_best", "another chain of this question was kept", candidate.verdict.f1
        )
        yield _line(verdict, candidate.line, _at(handle, candidate.offset))


def _read(raw: bytes) -> Trajectory | str:
    """The trajectory of a line, or why there is none."""
    if not raw.endswith(b"\n"):
        raw += b"\n"  # a file whose last line break was cut off; a torn row fails to parse
    try:
        return trajectory_from_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"{place}: {first['msg']}" if place else str(first["msg"])


def _rank(trajectory: Trajectory, verdict: FilterResult, line: int) -> tuple[float, int, int, int, int]:
    steps = trajectory.steps
    mended = sum(len(step.parse_fixes) + step.parse_failures for step in steps)
    return (-verdict.f1, len(steps), mended, sum(len(step.thought) for step in steps), line)


def _at(handle: BinaryIO, offset: int) -> bytes:
    handle.seek(offset)
    return handle.readline()


def _line(verdict: FilterResult, number: int, row: bytes | None, *, raw: bytes = b"") -> bytes:
    """A judged row as JSON; the chain goes in as it stood, byte for byte."""
    values: dict[str, Any] = {**verdict._asdict(), "line": number}
    if row is None:
        return orjson.dumps({**values, "raw": raw.decode("utf-8", "replace").rstrip("\n")[:_RAW_CHARS]})
    return orjson.dumps(values)[:-1] + b',"trajectory":' + row.strip() + b"}"


def _validity(paths: CleanPaths, protocol: Protocol) -> Iterator[bytes]:
    """The original's validity file, kept chains first: `conversation`, `valid`, `valid_message`."""
    for path in (paths.kept, paths.rejected):
        for judged in read_judged(path):
            chain = judged.trajectory
            turns = protocol.turns(chain.question.question, chain.steps) if chain else None
            message = ": ".join(filter(None, (judged.verdict.reason, judged.verdict.detail))) or "valid"
            row = {"conversation": turns, "valid": judged.verdict.kept, "valid_message": message}
            yield orjson.dumps(row)
