"""A run as a page: `python -m src_eval.report RUN_DIR [OTHER_RUN_DIR] [--out FILE.html]` (called by `bash
scripts/report.sh`).

A run that has no scores yet, or rows that are newer, is scored first. With a second run, the page shows both
side by side for each question. Without `--out` the page is `RUN_DIR/report.html`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.text import Text

from src_core.console import Terminal
from src_core.errors import UserError, run_main
from src_eval.report.report_page import REPORT, write_report
from src_eval.report.run_files import is_scored, read_scored_run
from src_eval.scoring import score_run

_USAGE = "usage: .venv/bin/python -m src_eval.report RUN_DIR [OTHER_RUN_DIR] [--out FILE.html]"
_OUT = "--out"


class Request(NamedTuple):
    """The arguments of the command line."""

    runs: list[Path]
    out: Path


def main() -> None:
    """Read the command line, write the page, print its path."""
    request = parse(sys.argv[1:])
    for path in request.runs:
        if not is_scored(path):
            score_run(path)
    size = write_report(request.out, [read_scored_run(path) for path in request.runs])
    Terminal().print(Text(f"written: {request.out} ({size / 1e6:.1f} MB)"), soft_wrap=True)


def parse(arguments: Sequence[str]) -> Request:
    """One or two directories and at most one file. Raises `UserError` with the usage for anything else."""
    runs: list[Path] = []
    out: Path | None = None
    rest = iter(arguments)
    for argument in rest:
        name, given, value = argument.partition("=")
        if name == _OUT:
            out = Path(value if given else next(rest, ""))
        elif argument.startswith("-"):
            raise UserError(f"{argument} is no option; {_USAGE}")
        else:
            runs.append(Path(argument))
    if not 1 <= len(runs) <= 2 or out == Path():
        raise UserError(_USAGE)
    return Request(runs, out or runs[0] / REPORT)


if __name__ == "__main__":
    run_main(main)
