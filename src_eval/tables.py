"""The table of an evaluation as Markdown, CSV, LaTeX and for the terminal.

The lines of each data set are followed by the published numbers of its methods, in the same columns.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from src_eval.compare import ALPHA, BETTER, WORSE, Cell, Line, Table
from src_eval.expected import Published, published_notes
from src_eval.score import estimate_text
from src_eval.text_tables import INTERVAL_NOTE, Cells, Row, as_latex, as_markdown
from src_tasks.metric_names import FEWEST, TOO_FEW, is_share, metric

_CSV: tuple[str, ...] = ("dataset", "method", "metric", "mean", "low", "high", "n")
_CSV += ("baseline", "difference", "p", "p_holm", "detectable", "published")


def cells_of(table: Table) -> Cells:
    """The table as text."""
    keys = ["data set", "method", "n", *table.metrics, "invalid"]
    rows = []
    for dataset in dict.fromkeys(line.dataset for line in table.lines):
        lines = [line for line in table.lines if line.dataset == dataset]
        rows += [_measured(line, table.metrics) for line in lines]
        known = {(each.source, each.system): each for line in lines for each in line.published}
        found = (_published(dataset, each, table.metrics) for each in known.values())
        rows += [row for row in found if row is not None]
    return Cells(keys, rows, notes_of(table), failures_of(table))


def notes_of(table: Table) -> list[str]:
    """The meaning of the marks, the smallest detectable difference of each data set, and what else a reader
    of the figures has to know.
    """
    notes = [
        f"{INTERVAL_NOTE} {BETTER} better and {WORSE} worse than {table.baseline}: paired randomisation test "
        f"with Holm's correction over all comparisons of that metric, p < {ALPHA}.",
    ]
    asked = {line.dataset: line.questions for line in table.lines}
    for (dataset, name), value in table.detectable.items():
        if not is_share(name):
            continue
        notes.append(
            f"{dataset}, {metric(name).column}: smallest difference to {table.baseline} that these questions "
            f"would show (80 % power, alpha {ALPHA}): {_detectable_text(value, asked.get(dataset, 0))}."
        )
    notes += [
        f"{line.dataset}, {line.name}: {line.without_gold} of {line.questions} questions have no gold answer "
        "and are in no answer metric."
        for line in table.lines
        if line.without_gold
    ]
    notes += _partly_answered(table)
    notes += [
        f"{line.dataset}, {line.name}: {line.left_out} rows are left out (the run has no such questions now)."
        for line in table.lines
        if line.left_out
    ]
    shown = [
        each for line in table.lines for each in line.published if each.values.keys() & set(table.metrics)
    ]
    notes += published_notes(shown)
    reasons: dict[str, list[str]] = {}
    for line in table.lines:
        if line.not_reproducible:
            reasons.setdefault(line.not_reproducible, []).append(f"{line.dataset}, {line.name}")
    notes += [f"A second run may differ, {reason}: {'; '.join(runs)}." for reason, runs in reasons.items()]
    return notes


def _partly_answered(table: Table) -> list[str]:
    """A sentence per data set whose lines have answers to fewer questions than the other columns count."""
    found: dict[tuple[str, int, int], list[str]] = {}
    for line in table.lines:
        cell, asked = line.cells.get("em"), line.questions - line.without_gold
        answered = cell.estimate.n if cell is not None and cell.estimate is not None else 0
        if 0 < answered < asked:
            found.setdefault((line.dataset, answered, asked), []).append(line.name)
    return [
        f"{dataset}: EM and F1 are over {answered} of {asked} questions, to which there are answers "
        f"({', '.join(names)})."
        for (dataset, answered, asked), names in found.items()
    ]


def failures_of(table: Table) -> list[str]:
    """A sentence per run that failed, and per line with questions that failed."""
    lines = [f"{line.dataset}, {line.name}: {line.failures}." for line in table.lines if line.failures]
    return [*table.failed, *lines]


def _detectable_text(value: float | None, questions: int) -> str:
    """A share in points. A difference above 100 points is impossible."""
    if value is None:
        return "not known, the methods never differ"
    few = value >= 1 or questions < FEWEST
    return f"none, {TOO_FEW} questions" if few else f"{100 * value:.1f} points"


def markdown(table: Table) -> str:
    """A pipe table with its notes."""
    return as_markdown(cells_of(table))


def latex(table: Table) -> str:
    """A `tabular` for the package booktabs."""
    return as_latex(cells_of(table))


def comma_separated(table: Table) -> str:
    """One row per data set, method and metric, with all its numbers; shares stay in [0, 1]."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_CSV)
    for line in table.lines:
        for name, cell in line.cells.items():
            detectable = _number(table.detectable.get((line.dataset, name)))
            known = [each for each in line.published if name in each.values]
            texts = [f"{each.values[name]:g} ({each.system}; {each.source})" for each in known]
            figures = _csv_figures(cell, table.baseline)
            writer.writerow([line.dataset, line.name, name, *figures, detectable, "; ".join(texts)])
    return out.getvalue()


def _measured(line: Line, metrics: list[str]) -> Row:
    figures = [_figure(name, line.cells.get(name)) for name in metrics]
    invalid = f"{100 * line.invalid_rate:.1f}"
    return Row([line.dataset, line.name, str(line.questions), *figures, invalid], True)


def _published(dataset: str, each: Published, metrics: list[str]) -> Row | None:
    """None when nothing was published for the columns of the table."""
    figures = [f"{each.values[name]:g}" if name in each.values else "-" for name in [*metrics, "invalid"]]
    if set(figures) == {"-"}:
        return None
    return Row([dataset, f"{each.system} ({each.source})", "-", *figures], False)


def _figure(name: str, cell: Cell | None) -> str:
    """The estimate with the mark of significance, `66.7 [56.0, 76.2]*`; `-` for None. Costs have no mark:
    more of them is not better.
    """
    if cell is None:
        return "-"
    return estimate_text(name, cell.estimate) + (cell.mark if is_share(name) else "")


def _csv_figures(cell: Cell, baseline: str) -> list[str]:
    """From `mean` to `p_holm`; empty where there is no value."""
    estimate, test = cell.estimate, cell.comparison
    figures = ["", "", "", ""]
    if estimate is not None:
        figures = [_number(estimate.mean), _number(estimate.low), _number(estimate.high), str(estimate.n)]
    if test is None:
        return [*figures, "", "", "", ""]
    return [*figures, baseline, _number(test.difference), _number(test.p), _number(cell.p_holm)]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


FORMATS: dict[str, Callable[[Table], str]] = {
    "table.md": markdown,
    "table.csv": comma_separated,
    "table.tex": latex,
}
