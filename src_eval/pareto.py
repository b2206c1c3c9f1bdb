"""Right answers against searches: `python -m src_eval.pareto runs/A runs/B …`.

A method that searches more may answer more. A run is on the Pareto front of its data set where no other run
answers at least as well with at most as many searches, and better in one of the two. DeepRAG compares itself
with its two extremes (reference deeprag.md section 13.5): always and never searching belong into the figure,
and one model's decision rule at several thresholds is a curve in it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.text import Text

from src_core.console import Terminal
from src_core.errors import UserError, run_main
from src_eval.compare import Entry
from src_eval.records import Estimate
from src_eval.score import estimate_text
from src_eval.scoring import models_of, score_run
from src_eval.tables import shown_name
from src_eval.text_tables import Cells, Row, as_terminal

COST = "searches"
VALUE = "em"


class Point(NamedTuple):
    """A run in the figure. `curve` is what the points of one curve share, its method and its models ("": it
    is on none). `beaten_by` names the run that is better in both, "" on the front.
    """

    dataset: str
    name: str
    curve: str
    cost: Estimate
    value: Estimate
    beaten_by: str = ""


def main() -> None:
    """Read the command line, score, print."""
    names = sys.argv[1:]
    if not names or any(name.startswith("-") for name in names):
        raise UserError("usage: .venv/bin/python -m src_eval.pareto RUN [RUN …]")
    runs = [score_run(Path(name)) for name in names]
    points = points_of([Entry(run.run.dataset, run.run.run, run.run.method, run) for run in runs])
    if not points:
        raise UserError("none of these runs has a question with a gold answer; name runs that can be scored")
    cells, out = pareto_cells(points), Terminal(narrowest=150)
    out.print(as_terminal(cells))
    for note in cells.notes:
        out.print(Text(note), soft_wrap=True)


def points_of(entries: Sequence[Entry]) -> list[Point]:
    """The points of an evaluation's lines that have gold answers, with the front."""
    points = []
    for entry in entries:
        metrics = entry.scored.run.metrics
        if VALUE in metrics:
            curve = f"{entry.method} {models_of(entry.scored.run)}"
            points.append(Point(entry.dataset, entry.line, curve, metrics[COST], metrics[VALUE]))
    return with_front(points)


def with_front(points: Sequence[Point]) -> list[Point]:
    """The points with what beats each of them, by data set (in their order) and cost. Two equal points do not
    beat each other. Of several that beat a point, the best one is named, of these the cheapest.
    """
    datasets = list(dict.fromkeys(point.dataset for point in points))
    ordered = sorted(points, key=lambda p: (datasets.index(p.dataset), p.cost.mean, -p.value.mean))
    found = []
    for point in ordered:
        better = [other for other in ordered if other.dataset == point.dataset and _beats(other, point)]
        best = min(better, key=lambda p: (-p.value.mean, p.cost.mean), default=None)
        found.append(point._replace(beaten_by=best.name if best else ""))
    return found


def pareto_cells(points: Sequence[Point]) -> Cells:
    """The points of `with_front` as a table."""
    shown = shown_name(VALUE)
    head = ["data set", "method", "n", "searches [95 %]", f"{shown} [95 %]", f"{shown} per search", "front"]
    rows = [
        Row(
            [
                point.dataset,
                point.name,
                str(point.value.n),
                _interval(point.cost),
                estimate_text(VALUE, point.value),
                f"{100 * point.value.mean / point.cost.mean:.1f}" if point.cost.mean else "-",
                f"beaten by {point.beaten_by}" if point.beaten_by else "yes",
            ],
            True,
        )
        for point in points
    ]
    note = (
        f"On the front: no other line of the data set has at least as much {shown} with at most as many "
        "searches, and better in one of the two. It compares means; see the intervals."
    )
    return Cells(head, rows, [note])


def _beats(one: Point, other: Point) -> bool:
    pairs = (one.cost.mean, one.value.mean), (other.cost.mean, other.value.mean)
    return pairs[0] != pairs[1] and pairs[0][0] <= pairs[1][0] and pairs[0][1] >= pairs[1][1]


def _interval(estimate: Estimate) -> str:
    if estimate.too_few:
        return f"{estimate.mean:.2f} (too few)"
    return f"{estimate.mean:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


if __name__ == "__main__":
    run_main(main)
