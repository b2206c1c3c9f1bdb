"""The page: its files put together around the data of one run or two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from src_core.html_page import fill_page
from src_core.jsonl import write_atomic
from src_eval.report.page_data import page_data
from src_eval.report.run_files import ScoredRun

_PARTS = Path(__file__).resolve().parent / "page"
# In this order they are one script, after the parts that all pages share.
SCRIPTS = (
    "data.js",
    "filters.js",
    "svg.js",
    "plots.js",
    "compare.js",
    "overview.js",
    "trajectory.js",
    "app.js",
)


def write_report(path: Path, runs: Sequence[ScoredRun]) -> int:
    """Write the page of one run, or of two side by side; returns its size in bytes."""
    page = fill_page(
        _part("report.html"),
        title=" against ".join(run.totals.run for run in runs),
        style=_part("report.css"),
        script="".join(map(_part, SCRIPTS)),
        data=page_data(runs),
    )
    write_atomic(path, page)
    return len(page)


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")
