"""Size of a report and the time until a browser shows its list: `python scripts/bench/report.py [N …]`.

For each N (1,000 by default) a synthetic run of N trajectories, each with 3 searches that return 3 distinct
passages of 700 characters, in an empty folder; then three fresh headless Chromiums. "open" is the time from
navigation to the first list on screen, by the page's own clock. Needs playwright and chromium
(`requirements-dev.txt`; `apt install chromium`).
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from helpers_report import open_browser, synthetic, write_run

from src_core.errors import UserError, run_main
from src_eval.report.report_page import write_report
from src_eval.report.run_files import read_scored_run

TRIES = 3
# Two frames after the list is in the page, it has been painted.
FRAME = "new Promise(done => requestAnimationFrame(() => done(performance.now())))"


def main() -> None:
    """One line of JSON per size."""
    sizes = [int(size) for size in sys.argv[1:] if size.isdigit()]
    if len(sizes) != len(sys.argv) - 1:
        raise UserError("usage: python scripts/bench/report.py [N ...]")
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes or [1000]:
            print(json.dumps(measure(Path(folder) / f"run-{size}", size)))


def measure(folder: Path, size: int) -> dict[str, Any]:
    """Write one report and open it a few times."""
    write_run(folder, synthetic(size))
    begun = time.perf_counter()
    written = write_report(folder / "report.html", [read_scored_run(folder)])
    seconds = time.perf_counter() - begun
    opened = [open_once((folder / "report.html").as_uri()) for _ in range(TRIES)]
    return {
        "trajectories": size,
        "megabytes": round(written / 1e6, 2),
        "write_seconds": round(seconds, 2),
        "open_seconds": [round(one, 2) for one in opened],
        "open_median": round(statistics.median(opened), 2),
    }


def open_once(address: str) -> float:
    """Seconds from navigation to the painted list."""
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": 1300, "height": 900})
        page.goto(address)
        page.wait_for_selector("#list li")
        page.evaluate(FRAME)
        return float(page.evaluate(FRAME)) / 1000


if __name__ == "__main__":
    run_main(main)
