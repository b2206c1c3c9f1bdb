"""Runs side by side: `python scripts/bench/runs.py runs/A runs/B …` reads their manifests and rows.

EM carries a 95 % bootstrap interval over questions (2,000 resamples, fixed seed). "s/question" is wall time
over questions (what a user waits per question with the run's concurrency), "latency" the mean time of one
question.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rich.console import Console
from rich.table import Table

from src_core.errors import UserError, run_main
from src_core.rundir import MANIFEST, ROWS
from src_core.types import trajectory_from_json
from src_infer.scores import score
from src_infer.show import number, percent

COLUMNS = (
    "run",
    "questions",
    "EM [95 %]",
    "F1",
    "2-hop EM",
    "gold recall",
    "searches",
    "malformed",
    "s/question",
    "latency",
)


def main() -> None:
    """Print the table, then one JSON object."""
    if len(sys.argv) < 2:
        raise UserError("usage: python scripts/bench/runs.py runs/A runs/B …")
    found = {name: read_run(Path(name)) for name in sys.argv[1:]}
    table = Table(header_style="bold")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "run" else "right", no_wrap=True)
    for name, row in found.items():
        low, high = row["em_interval"]
        table.add_row(
            Path(name).name,
            str(row["questions"]),
            f"{percent(row['em'])} [{percent(low)}, {percent(high)}]",
            percent(row["f1"]),
            percent(row["two_hop_em"]),
            percent(row["gold_recall"]),
            number(row["searches"], 2),
            percent(row["malformed"]),
            number(row["seconds_per_question"], 1),
            number(row["latency"], 1),
        )
    Console(width=150).print(table)
    print(json.dumps({Path(name).name: row for name, row in found.items()}))


def read_run(path: Path) -> dict[str, Any]:
    """The figures of one finished run."""
    if not (path / MANIFEST).is_file():
        raise UserError(f"{path} has no {MANIFEST}: the run is not finished or the path is wrong")
    manifest = json.loads((path / MANIFEST).read_bytes())
    rows = [trajectory_from_json(line) for line in (path / ROWS).read_bytes().splitlines()]
    ems = [em for em in (score(row).em for row in rows) if em is not None]
    means = manifest["totals"]["all"]
    return {
        "model": manifest["models"][0],
        "method": manifest["config"]["method"],
        "constrain": manifest["config"]["constrain"],
        "questions": len(rows),
        "em": means["em"],
        "em_interval": bootstrap(ems),
        "f1": means["f1"],
        "two_hop_em": manifest["totals"]["by_kind"].get("bridge 2-hop", {}).get("em"),
        "gold_recall": means["gold_recall"],
        "searches": means["searches"],
        "malformed": manifest["totals"]["rejected_share"],
        "seconds_per_question": manifest["wall_seconds"] / max(len(rows), 1),
        "latency": means["seconds"],
    }


def bootstrap(values: list[float], *, resamples: int = 2000) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of the mean over resampled questions."""
    draw = random.Random(0)
    means = sorted(sum(draw.choices(values, k=len(values))) / len(values) for _ in range(resamples))
    return means[int(0.025 * resamples)], means[int(0.975 * resamples) - 1]


if __name__ == "__main__":
    run_main(main)
