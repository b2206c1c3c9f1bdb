"""The knowledge boundary of runs: `python -m src_eval.boundary RUN [RUN …] NEVER_RUN`.

Does a method search where the model does not know the answer, and only there? The label of a question is
whether `NEVER_RUN`, a run of the same model that never searches (`cot` in the paper, `closed_book`, DeepRAG
with `decision: never`), answers it rightly (reference deeprag.md section 11.2). Two levels: `question`
(searched at least once or not), and, of a method that answers sub-questions without a search, `sub-question`
(each sub-question with the label of its question, since no set has golds for the sub-questions that a model
makes up). Figures and classes: `src_tasks.boundary`. Intervals come from resampled questions.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.text import Text

from src_core.console import Terminal
from src_core.errors import UserError, run_main
from src_core.types import RETRIED
from src_eval.compare import Entry
from src_eval.expected import Expected, Published, published, published_notes
from src_eval.records import FEWEST, Estimate, QuestionScore
from src_eval.scoring import DIRECT_ANSWERS, Scored, answers_rightly, models_of, score_run
from src_eval.stats import bootstrap_counts
from src_eval.text_tables import Cells, Row, as_terminal
from src_tasks.boundary import Cells as Counts
from src_tasks.boundary import boundary_figures, degenerate

NAMES = {
    "boundary_f1": "F1",
    "boundary_accuracy": "accuracy",
    "boundary_balanced_accuracy": "balanced accuracy",
    "boundary_mcc": "MCC",
}
"""The figures by the names that `configs/expected.yaml` uses, and how tables call them."""


class BoundaryLine(NamedTuple):
    """The figures of one run at one level. `left_out` questions are in no figure: they failed in one of the
    runs, have no gold answer, or are not in both. `note` says why the figures are degenerate ("": they are
    not).
    """

    dataset: str
    name: str
    level: str
    counts: Counts
    estimates: dict[str, Estimate]
    left_out: int
    note: str
    published: tuple[Published, ...] = ()


class Boundary(NamedTuple):
    """The lines of an evaluation, and those that have no line with their model which never searches."""

    lines: list[BoundaryLine]
    unlabelled: list[str]


def main() -> None:
    """Read the command line, score, print."""
    names = sys.argv[1:]
    if len(names) < 2 or any(name.startswith("-") for name in names):
        raise UserError("usage: .venv/bin/python -m src_eval.boundary RUN [RUN …] NEVER_RUN")
    *runs, never = [score_run(Path(name)) for name in names]
    lines = [
        line for run in runs for line in boundary_lines(run, never, dataset=run.run.dataset, name=run.run.run)
    ]
    table, out = boundary_cells(Boundary(lines, []), never=[never.run.run]), Terminal(narrowest=170)
    out.print(as_terminal(table))
    for note in table.notes:
        out.print(Text(note), soft_wrap=True)


def boundary_lines(
    run: Scored,
    never: Scored,
    *,
    dataset: str,
    name: str,
    method: str = "",
    expected: Expected | None = None,
) -> list[BoundaryLine]:
    """The lines of one run: its questions, and its sub-questions where it answers some without a search.
    Raises `UserError` when `never` searched, is of another model, or shares no question with the run.
    """
    if models_of(run.run) != models_of(never.run):
        raise UserError(
            f"{run.run.run} ({run.run.model}) and {never.run.run} ({never.run.model}) were answered by "
            "different models or adapters, so that one says nothing of what the other knows; name a run of "
            "the same model that never searches"
        )
    labels = known_questions(never)
    rows = [row for row in run.rows if row.id in labels and _counts(row)]
    if not rows:
        raise UserError(
            f"{run.run.run} and {never.run.run} share no answered question with a gold answer; "
            "name two runs over the same questions"
        )
    left_out = len({row.id for row in run.rows} | {row.id for row in never.rows}) - len(rows)
    known = published(expected, dataset=dataset, method=method) if expected and method else []
    shown = tuple(each for each in known if each.values.keys() & NAMES.keys())
    lines = []
    for level, cells in _levels(rows, labels):
        counts = Counts(*map(sum, zip(*cells, strict=True)))
        if not counts.total:
            continue
        estimates = bootstrap_counts(cells, _figures)
        note = degenerate(counts)
        lines.append(
            BoundaryLine(
                dataset, name, level, counts, estimates, left_out, note, shown if level == "question" else ()
            )
        )
    return lines


def boundary_of(entries: Sequence[Entry], *, never: Sequence[str], expected: Expected) -> Boundary:
    """The lines of an evaluation. The labels of a line are those of the first line of `never` with its models
    on its data set; where there is none, the line is without figures.
    """
    labels: dict[tuple[str, str], Entry] = {}
    for name in never:
        for entry in entries:
            if entry.line == name:
                labels.setdefault((entry.dataset, models_of(entry.scored.run)), entry)
    lines, unlabelled = [], []
    for entry in entries:
        label = labels.get((entry.dataset, models_of(entry.scored.run)))
        if entry.line in never:
            continue
        if label is None:
            unlabelled.append(f"{entry.dataset}, {entry.line}")
            continue
        lines += boundary_lines(
            entry.scored,
            label.scored,
            dataset=entry.dataset,
            name=entry.line,
            method=entry.method,
            expected=expected,
        )
    return Boundary(lines, unlabelled)


def known_questions(never: Scored) -> dict[str, bool]:
    """By the id of each answered question with golds: whether it was answered rightly. Raises `UserError`
    where the run searched.
    """
    searched = sum(row.metrics["searches"] > 0 for row in never.rows)
    if searched:
        raise UserError(
            f"{never.run.run} searched for {searched} of {len(never.rows)} questions; name a run that never "
            "searches, such as one with method=closed_book"
        )
    return {row.id: answers_rightly(row.metrics) is True for row in never.rows if _counts(row)}


def boundary_cells(found: Boundary, *, never: Sequence[str]) -> Cells:
    """The lines as a table, each with the published figures of its method."""
    lines = found.lines
    head = ["data set", "method", "level", "n", *NAMES.values(), "TP/FP/FN/TN"]
    rows = []
    for line in lines:
        figures = [_text(line.estimates[name], marked=bool(line.note)) for name in NAMES]
        counts = "/".join(map(str, line.counts))
        rows.append(
            Row([line.dataset, line.name, line.level, str(line.counts.total), *figures, counts], True)
        )
        for each in line.published:
            values = [f"{each.values[name] / 100:.3f}" if name in each.values else "-" for name in NAMES]
            system = f"{each.system} ({each.source})"
            rows.append(Row([line.dataset, system, line.level, "-", *values, "-"], False))
    return Cells(head, rows, _notes(found, never))


def _notes(found: Boundary, never: Sequence[str]) -> list[str]:
    lines, names = found.lines, " or ".join(never)
    notes = [
        f"Knowledge boundary: a question is known where {names}, with the same model, answers it rightly; "
        "not to search is the positive decision (TP: not searched and known). [low, high]: 95 % bootstrap "
        "interval over questions."
    ]
    if found.unlabelled:
        notes.append(
            f"Without labels, since no line of never={names} has their model: {'; '.join(found.unlabelled)}."
        )
    notes += [
        f"{line.dataset}, {line.name}, {line.level}: (d) degenerate, {line.note}; MCC is 0 by definition."
        for line in lines
        if line.note
    ]
    notes += [
        f"{line.dataset}, {line.name}: {line.left_out} questions are left out (not answered in both runs, or "
        "without a gold answer)."
        for line in lines
        if line.left_out and line.level == "question"
    ]
    return notes + published_notes(each for line in lines for each in line.published)


def _text(estimate: Estimate, *, marked: bool) -> str:
    mark = " (d)" if marked else ""
    if estimate.n < FEWEST:
        return f"{estimate.mean:.3f} (too few){mark}"
    return f"{estimate.mean:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]{mark}"


def _counts(row: QuestionScore) -> bool:
    """Whether a question has a verdict and did not fail for reasons that have nothing to do with it."""
    return row.status not in RETRIED and answers_rightly(row.metrics) is not None


def _levels(
    rows: Sequence[QuestionScore], labels: dict[str, bool]
) -> list[tuple[str, list[tuple[int, int, int, int]]]]:
    """The cells of each question, at each level."""
    whole = [_cells(labels[row.id], *_once(row.metrics["searches"])) for row in rows]
    levels = [("question", whole)]
    if any(DIRECT_ANSWERS in row.metrics for row in rows):
        parts = [
            _cells(labels[row.id], int(row.metrics[DIRECT_ANSWERS]), int(row.metrics["searches"]))
            for row in rows
        ]
        levels.append(("sub-question", parts))
    return levels


def _once(searches: float) -> tuple[int, int]:
    return (0, 1) if searches else (1, 0)


def _cells(known: bool, direct: int, searched: int) -> tuple[int, int, int, int]:
    return (direct, 0, searched, 0) if known else (0, direct, 0, searched)


def _figures(sums: Sequence[int]) -> dict[str, float]:
    return dict(zip(NAMES, boundary_figures(Counts(*sums)), strict=True))


if __name__ == "__main__":
    run_main(main)
