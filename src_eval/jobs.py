"""The planned runs of an evaluation, and what went wrong in one."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from src_core.caller import seen
from src_core.rundir import MANIFEST
from src_eval.config import DatasetSpec, MethodSpec


class Job(NamedTuple):
    """One planned run: its line and data set, its folder, and its command."""

    line: MethodSpec
    dataset: DatasetSpec
    folder: Path
    command: list[str]


class Trouble(NamedTuple):
    """What went wrong in a run. `ended`: it came to its end, and only questions of it failed."""

    job: Job
    sentence: str
    log: Path
    ended: bool

    @property
    def note(self) -> str:
        """The sentence below the table."""
        kept = "its row is that of an earlier run" if (self.job.folder / MANIFEST).is_file() else "no row"
        reason = self.sentence.rstrip(".")
        return f"{self.job.dataset.name}, {self.job.line.name}: {kept}, the run failed: {reason}."

    def __str__(self) -> str:
        more = (
            "run the same command again to try them once more"
            if self.ended
            else f"its output is in {seen(self.log)}"
        )
        return f"{self.job.folder.name}: {self.sentence}; {more}"
