"""The run directory `runs/<name>/`: settings, rows, logs, and a manifest that explains the run.

A run can be killed (`kill -9`) and started again: rows are appended whole and synced, finished questions are
skipped, failed ones are retried, and the rewritten file holds every question once. `on_existing` says what
happens to a directory that was used before:

- `resume` (the default): resume the run; a run with other settings is refused, and the message names three
  alternatives; only the number of questions of a construction and the steps of reinforcement learning may
  grow
- `resume_anyway`: resume although settings differ; existing rows are kept
- `clean`: delete everything but `logs/` and start over (`src_core.runfolder`)
- `fail`: refuse

What the servers report of themselves belongs to the settings (`src_core.served`), and decides where only
their addresses differ (`src_core.server_addresses`).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import orjson
import yaml

from src_core.caller import in_system, seen
from src_core.config import read_yaml
from src_core.errors import UserError
from src_core.jsonl import JsonlWriter, drop_torn_tail, read_jsonl, rewrite_jsonl, write_atomic
from src_core.made_with import code_state, machine, package_versions
from src_core.runfolder import CONFIG, empty, mark, require_cleanable, require_run
from src_core.same_settings import other_settings
from src_core.served import Servers, read_servers
from src_core.types import RETRIED

MANIFEST = "manifest.json"
ROWS = "trajectories.jsonl"
FAILED = "failed.jsonl"
QUESTIONS = "question_ids.json"
"""The ids of the questions of a construction run, written when it starts or goes on."""
QUESTION_IDS = "question_ids"
"""The key of the manifest under which the ids of the run's questions are listed, in their order."""
OnExisting = Literal["resume", "resume_anyway", "clean", "fail"]
_ROWS_PER_SYNC = 64
_LOCK_SECONDS = 3.0

Row = dict[str, Any]
RowKey = Callable[[Row], str]


def question_of(row: Row) -> str:
    """The id of a row's question."""
    return str(row["question"]["id"])


class RunDir:
    """An opened run directory; holds an exclusive lock until `close`."""

    def __init__(
        self,
        path: Path,
        *,
        config: dict[str, Any],
        on_existing: OnExisting = "resume",
        servers: Servers | None = None,
    ) -> None:
        """Open or create (see above); `servers` are connected. Raises `UserError` when refused, in use by
        another process, or when the folder cannot be created.
        """
        self.path = path
        used = was_used(path, config=config, on_existing=on_existing)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot create {seen(path)}: {error.strerror}; choose another runs_dir"
            ) from error
        self._lock = _lock(path)
        try:
            if used and on_existing == "clean":
                empty(path)
            mark(path)
            if servers is not None:
                servers.bind(path, ways_out=_ways_out("resume_anyway"), has_rows=self._has_rows())
        except BaseException:
            self.close()
            raise
        (path / "logs").mkdir(exist_ok=True)
        write_atomic(path / CONFIG, yaml.safe_dump(config, sort_keys=False, allow_unicode=True).encode())

    @property
    def rows(self) -> Path:
        """The file of finished rows."""
        return self.path / ROWS

    def finished_ids(self, *, retry_statuses: frozenset[str], key: RowKey = question_of) -> set[str]:
        """The keys of the rows on disk, after dropping a torn tail, rows with a repeated key and rows whose
        status is to be retried (those go to `failed.jsonl`).

        `key` identifies a piece of work: by default its question id; where a question has several
        trajectories, for example the id and the number in one text. Only keys are held in memory.
        """
        drop_torn_tail(self.rows)
        if not self.rows.is_file():
            return set()
        kept: set[str] = set()
        total = failed = 0
        for row in read_jsonl(self.rows):
            total += 1
            if row["status"] in retry_statuses:
                failed += 1
            else:
                kept.add(key(row))
        # Written before they leave the rows: an interruption in between may duplicate them, not lose them.
        if failed:
            rows = (row for row in read_jsonl(self.rows) if row["status"] in retry_statuses)
            with JsonlWriter(self.path / FAILED) as writer:
                while batch := [orjson.dumps(row) for row in islice(rows, _ROWS_PER_SYNC)]:
                    writer.write_many(batch)
        if len(kept) != total:
            rewrite_jsonl(self.rows, _first_of_each(self.rows, retry_statuses=retry_statuses, key=key))
        return kept

    def take_questions(self, present: Mapping[str, Row]) -> list[str]:
        """Make the rows those of the run's present questions (by id): a row whose question has another group,
        meta or gold passages by now gets the present one. Returns the texts of questions that have rows but
        are no longer among them; their rows stay, and `present_only` leaves them out of every score.
        """
        gone: list[str] = []
        changed = False
        for row in read_jsonl(self.rows) if self.rows.is_file() else ():
            now = present.get(question_of(row))
            changed = changed or (now is not None and row["question"] != now)
            if now is None:
                gone.append(str(row["question"].get("question", "")))
        if changed:
            rows = read_jsonl(self.rows)
            rewrite_jsonl(self.rows, (orjson.dumps(_with_question(row, present)) for row in rows))
        manifest = read_json_object(self.path / MANIFEST)
        if manifest and manifest.get(QUESTION_IDS) != list(present):
            write_atomic(
                self.path / MANIFEST,
                orjson.dumps({**manifest, QUESTION_IDS: list(present)}, option=orjson.OPT_INDENT_2),
            )
        return gone

    def write_manifest(self, values: dict[str, Any]) -> None:
        """Write `manifest.json` atomically: `values` plus the machine, the code and the package versions of
        the run.
        """
        manifest = {**values, "code": code_state(), "packages": package_versions(), "machine": machine()}
        write_atomic(self.path / MANIFEST, orjson.dumps(manifest, option=orjson.OPT_INDENT_2))

    def _has_rows(self) -> bool:
        shards = self.path / "shards"
        return (self.rows.is_file() and self.rows.stat().st_size > 0) or shards.is_dir()

    def close(self) -> None:
        """Release the lock."""
        os.close(self._lock)


def present_only(rows: Iterable[Row], manifest: Mapping[str, Any]) -> Iterator[Row]:
    """The rows whose questions the run has now (its manifest lists their ids; older manifests do not, and all
    rows count).
    """
    listed = manifest.get(QUESTION_IDS)
    ids = frozenset(listed) if isinstance(listed, list) else None
    return (row for row in rows if ids is None or question_of(row) in ids)


def failure_counts(rows: Iterable[Row]) -> Counter[str]:
    """The distinct errors of rows that a resumed run retries, with the number of rows of each."""
    return Counter(str(row.get("error") or row["status"]) for row in rows if row["status"] in RETRIED)


def read_json_object(path: Path) -> Row:
    """The JSON object in a file; `{}` where there is none."""
    try:
        value = orjson.loads(path.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}
    return value if isinstance(value, dict) else {}


def was_used(path: Path, *, config: dict[str, Any], on_existing: OnExisting) -> bool:
    """Whether `path` holds a run already. Raises `UserError` when `on_existing` forbids to use it again."""
    used = (path / CONFIG).is_file()
    if used:
        require_run(path)
    if used and on_existing == "clean":
        require_cleanable(path)
    if used and on_existing == "fail":
        raise UserError(f"{seen(path)} is already used; {_ways_out('resume')}")
    if used and on_existing == "resume":
        _refuse_other_settings(path, config)
    return used


def _first_of_each(path: Path, *, retry_statuses: frozenset[str], key: RowKey) -> Iterator[bytes]:
    """The lines of `path` to keep: the first row of each key among those that are not to be retried."""
    met: set[str] = set()
    for row in read_jsonl(path):
        if row["status"] not in retry_statuses and (name := key(row)) not in met:
            met.add(name)
            yield orjson.dumps(row)


def _with_question(row: Row, present: Mapping[str, Row]) -> Row:
    return {**row, "question": present.get(question_of(row), row["question"])}


def _refuse_other_settings(path: Path, config: dict[str, Any]) -> None:
    try:
        before = read_yaml(path / CONFIG)
    except UserError as error:
        raise UserError(f"{error}; {_ways_out('resume_anyway')}") from error
    named = other_settings(before, config, read_servers(path))
    if named:
        raise UserError(
            f"{seen(path)} was written with other settings ({named}); {_ways_out('resume_anyway')}"
        )


def _ways_out(resume: OnExisting) -> str:
    if in_system():
        return "take another NAME, or delete that folder to start over"
    return (
        "take another RUN_NAME, or start over with on_existing=clean, "
        f"or keep the rows that are there with on_existing={resume}"
    )


def _lock(path: Path) -> int:
    """Waits a moment: a run whose starter was killed takes one to end."""
    handle = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except OSError as error:
            if time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            os.close(handle)
            raise UserError(
                f"{seen(path)} is in use by another process; wait for it or take another RUN_NAME"
            ) from error
