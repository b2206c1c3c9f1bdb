"""Compares every method with the baseline on the same questions, with correction for multiple comparisons.

For each metric, every method on every data set is compared with the baseline by a paired randomisation test;
Holm's correction runs over all comparisons of that metric in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import NamedTuple

from src_eval.expected import Expected, Published, published
from src_eval.records import Estimate, QuestionScore
from src_eval.scoring import Scored
from src_eval.stats import Comparison, compare, detectable_difference, holm
from src_tasks.metric_names import FEWEST

ALPHA = 0.05
BETTER, WORSE = "*", "†"
MetricsOf = Callable[[str], Sequence[str]]


class Entry(NamedTuple):
    """A scored run in the table: its data set, its line, and the method module behind the line."""

    dataset: str
    line: str
    method: str
    scored: Scored


@dataclass(frozen=True, slots=True)
class Cell:
    """A metric of a run: its estimate, and against the baseline the difference, the corrected p-value, and
    the mark of significance with its direction.
    """

    estimate: Estimate | None
    comparison: Comparison | None = None
    p_holm: float | None = None

    @property
    def mark(self) -> str:
        """`*` significantly better than the baseline, `†` significantly worse; none below 20 questions."""
        if self.comparison is None or self.p_holm is None or self.p_holm >= ALPHA:
            return ""
        if self.comparison.n < FEWEST:
            return ""
        return BETTER if self.comparison.difference > 0 else WORSE


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table. `failures` says which questions failed ("": none), `not_reproducible` why a
    second run may give other answers ("": no reason is known).
    """

    dataset: str
    name: str
    questions: int
    cells: dict[str, Cell]
    invalid_rate: float
    without_gold: int = 0
    left_out: int = 0
    failures: str = ""
    not_reproducible: str = ""
    published: list[Published] = field(default_factory=list)


class Table(NamedTuple):
    """All lines, the columns that any of them has, the baseline's name, and per (data set, metric) the
    smallest detectable difference (in the metric's unit; None where no question differs). `failed` are
    sentences on runs that were asked for and ended with an error.
    """

    lines: list[Line]
    metrics: list[str]
    baseline: str
    detectable: dict[tuple[str, str], float | None]
    failed: Sequence[str] = ()


def build_table(
    entries: Sequence[Entry], *, baseline: str, metrics_of: MetricsOf, expected: Expected
) -> Table:
    """Compare every line with the baseline. A data set without a baseline run has no comparisons."""
    metrics = list(dict.fromkeys(name for entry in entries for name in metrics_of(entry.dataset)))
    tests = {name: _compare_all(entries, name, baseline=baseline, metrics_of=metrics_of) for name in metrics}
    corrected = {name: _corrected(found) for name, found in tests.items()}
    lines = []
    for entry in entries:
        cells = {}
        for name in metrics_of(entry.dataset):
            at = (entry.dataset, entry.line)
            estimate = entry.scored.run.metrics.get(name)
            cells[name] = Cell(estimate, tests[name].get(at), corrected[name].get(at))
        lines.append(
            Line(
                dataset=entry.dataset,
                name=entry.line,
                questions=entry.scored.run.questions,
                cells=cells,
                invalid_rate=entry.scored.run.invalid_rate,
                without_gold=entry.scored.run.without_gold,
                not_reproducible=str(entry.scored.run.manifest.get("not_reproducible") or ""),
                left_out=entry.scored.run.left_out,
                failures=entry.scored.run.failures,
                published=published(expected, dataset=entry.dataset, method=entry.method),
            )
        )
    return Table(lines, metrics, baseline, _detectable(tests))


def _compare_all(
    entries: Sequence[Entry], metric: str, *, baseline: str, metrics_of: MetricsOf
) -> dict[tuple[str, str], Comparison]:
    """The comparisons of one metric, by data set and line."""
    shown = [entry for entry in entries if metric in metrics_of(entry.dataset)]
    bases = {entry.dataset: entry for entry in shown if entry.line == baseline}
    found = {}
    for entry in shown:
        base = bases.get(entry.dataset)
        if base is None or entry.line == baseline:
            continue
        ours, theirs = values_of(entry.scored.rows, metric), values_of(base.scored.rows, metric)
        if ours.keys() & theirs.keys():
            found[(entry.dataset, entry.line)] = compare(ours, theirs)
    return found


def values_of(rows: Sequence[QuestionScore], metric: str) -> dict[str, float]:
    """A metric by question id, where it has a value."""
    return {row.id: row.metrics[metric] for row in rows if metric in row.metrics}


def _corrected(found: Mapping[tuple[str, str], Comparison]) -> dict[tuple[str, str], float]:
    return dict(zip(found, holm([test.p for test in found.values()]), strict=True))


def _detectable(
    tests: Mapping[str, Mapping[tuple[str, str], Comparison]],
) -> dict[tuple[str, str], float | None]:
    """Per data set and metric, from the mean variance of its comparisons."""
    grouped: dict[tuple[str, str], list[Comparison]] = {}
    for metric, found in tests.items():
        for (dataset, _), test in found.items():
            grouped.setdefault((dataset, metric), []).append(test)
    return {
        at: detectable_difference(
            variance=fmean(test.variance for test in group), n=min(test.n for test in group)
        )
        for at, group in grouped.items()
    }
