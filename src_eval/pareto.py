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

from src_core.console import Terminal
from src_core.errors import UserError, run_main
from src_eval.compare import Entry
from src_eval.records import Estimate
from src_eval.score import estimate_text
from src_eval.scoring import models_of, score_run
from src_eval.text_tables import INTERVAL_NOTE, Cells, Row, print_cells
from src_tasks.metric_names import TOO_FEW, metric

COST = "searches"
VALUE = "em"


class Point(NamedTuple):
    """A run in the figure. `curve` is what the points of one curve share, its method and its models ("": it
    is on none). `beaten_by` names the run that is better in both, "" on the front and of too few questions.
    """

    dataset: str
    name: str
    curve: str
    cost: Estimate
    value: Estimate
    beaten_by: str = ""

    @property
    def on_front(self) -> bool:
        """Whether no run beats it; a run of too few questions is neither on the front nor beaten."""
        return not (self.beaten_by or self.value.too_few)

    @property
    def front(self) -> str:
        """`yes`, `beaten by NAME` or `too few`."""
        if self.value.too_few:
            return TOO_FEW
        return f"beaten by {self.beaten_by}" if self.beaten_by else "yes"


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
    print_cells(cells, out)


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
    beat each other, and those of too few questions are left out. Of several that beat a point, the best one
    is named, of these the cheapest.
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
    keys = ["data set", "method", "n", COST, VALUE, "em_per_search", "front"]
    rows = [
        Row(
            [
                point.dataset,
                point.name,
                str(point.value.n),
                point.cost.text(lambda searches: f"{searches:.2f}"),
                estimate_text(VALUE, point.value),
                _per_search(point),
                point.front,
            ],
            True,
        )
        for point in points
    ]
    note = (
        f"On the front: no other line of the data set has at least as much {metric(VALUE).column} with at "
        "most as many searches, and better in one of the two. It compares means; see the intervals."
    )
    return Cells(keys, rows, [note, INTERVAL_NOTE])


def _per_search(point: Point) -> str:
    if not point.cost.mean:
        return "-"
    ratio = f"{100 * point.value.mean / point.cost.mean:.1f}"
    return f"{ratio} ({TOO_FEW})" if point.value.too_few else ratio


def _beats(one: Point, other: Point) -> bool:
    if one.value.too_few or other.value.too_few:
        return False
    pairs = (one.cost.mean, one.value.mean), (other.cost.mean, other.value.mean)
    return pairs[0] != pairs[1] and pairs[0][0] <= pairs[1][0] and pairs[0][1] >= pairs[1][1]


if __name__ == "__main__":
    run_main(main)
