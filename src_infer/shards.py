"""Trajectories of one run from several processes: each writes to a separate file below `shards/` of the run
directory, and the files are merged into `trajectories.jsonl`.

All processes see the run directory; on several nodes it is on a shared file system. A file has one writer and
only grows, so that no locks across nodes are needed. The same trajectory may be in several files (a node was
considered dead and its shard was run again): the first one is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from src_core.jsonl import JsonlWriter, read_jsonl
from src_core.rundir import RowKey, RunDir, question_of
from src_core.types import RETRIED

SHARDS = "shards"
_ROWS_PER_SYNC = 64


def shard_file(run_dir: Path, shard: int, maker: str) -> Path:
    """The file in which `maker` (a unique name) writes the trajectories of shard number `shard`."""
    return run_dir / SHARDS / f"{shard:06d}-{maker}.jsonl"


def finished_in_shard(run_dir: Path, shard: int, *, key: RowKey = question_of) -> set[str]:
    """The keys of the finished trajectories of this shard, from all makers: a retried shard skips them."""
    files = (run_dir / SHARDS).glob(f"{shard:06d}-*.jsonl")
    return {key(row) for row in _rows(files) if row["status"] not in RETRIED}


def merge_shards(rundir: RunDir, *, key: RowKey = question_of) -> int:
    """Move the rows of all shard files to the rows of the run, each `key` (as in `RunDir.finished_ids`) once.
    Returns their number.

    A trajectory that failed in one file and succeeded in another counts as finished. After an interruption
    the next call finds the same rows: a file is deleted only when its rows are on disk.
    """
    files = sorted((rundir.path / SHARDS).glob("*.jsonl"))
    if not files:
        return 0
    sizes = [path.stat().st_size for path in files]
    held = rundir.finished_ids(retry_statuses=RETRIED, key=key)
    added = 0
    lines = _first_of_each(files, held, key)
    with JsonlWriter(rundir.rows) as writer:
        while batch := list(islice(lines, _ROWS_PER_SYNC)):
            writer.write_many(batch)
            added += len(batch)
    for path, size in zip(files, sizes, strict=True):
        if path.stat().st_size == size:  # else a maker that was considered dead still writes
            path.unlink()
    with suppress(OSError):  # not empty
        (rundir.path / SHARDS).rmdir()
    return added


def _first_of_each(files: list[Path], held: set[str], key: RowKey) -> Iterator[bytes]:
    """The lines of trajectories that are not `held`. A failed row is used only when no file has a successful
    one.
    """
    good = {key(row) for row in _rows(files) if row["status"] not in RETRIED}
    taken = set(held)
    for row in _rows(files):
        name = key(row)
        if name not in taken and (name not in good or row["status"] not in RETRIED):
            taken.add(name)
            yield orjson.dumps(row)


def _rows(files: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """The complete rows; the last line of a killed writer may be incomplete."""
    for path in files:
        yield from read_jsonl(path, torn_tail_ok=True)
