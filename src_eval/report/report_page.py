"""Builds the page from its files and the data of one or two runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from src_core.html_page import fill_page
from src_core.jsonl import write_atomic
from src_eval.report.page_data import page_data
from src_eval.report.run_files import ScoredRun

REPORT = "report.html"
_PARTS = Path(__file__).resolve().parent / "page"
# Joined in this order they are one script, after the parts that all pages share.
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
    """Write the page of one run, or of two side by side. Returns its size in bytes."""
    page = fill_page(
        page_part("report.html"),
        title=" against ".join(run.totals.run for run in runs),
        style=page_part("report.css"),
        script="".join(map(page_part, SCRIPTS)),
        data=page_data(runs),
    )
    write_atomic(path, page)
    return len(page)


def page_part(name: str) -> str:
    """A file of `page/`."""
    return (_PARTS / name).read_text(encoding="utf-8")
