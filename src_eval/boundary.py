"""The knowledge boundary of runs: `python -m src_eval.boundary RUN [RUN …] NEVER_RUN [--trees FOLDER]`.

Does a method search where the model does not know the answer, and only there? Two levels. `question`: the
decision is whether a method searched at least once, the label whether `NEVER_RUN`, a run of the same model
that never searches (`cot` in the paper, `closed_book`, DeepRAG with `decision: never`), answers the question
rightly (reference deeprag.md section 11.2). `sub-question`, where there is an exploration of the questions
by the same model: each decision of a method, with the label that the tree has for it
(`src_eval.tree_labels`). Figures and classes: `src_tasks.boundary`. Intervals come from resampled questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from src_core.console import Terminal
from src_core.errors import UserError, run_main
from src_core.terminal import CommandLine
from src_core.types import RETRIED
from src_eval.compare import Entry
from src_eval.expected import Expected, Published, published, published_notes
from src_eval.records import Estimate, QuestionScore
from src_eval.scoring import Scored, answers_rightly, models_of, score_run
from src_eval.stats import bootstrap_counts
from src_eval.text_tables import INTERVAL_NOTE, Cells, Row, print_cells
from src_eval.tree_labels import Decided, decisions_of
from src_tasks.boundary import Cells as Counts
from src_tasks.boundary import boundary_figures, count, degenerate

NAMES = ("boundary_f1", "boundary_accuracy", "boundary_balanced_accuracy", "boundary_mcc")
"""The figures by the names that `configs/expected.yaml` uses."""
QUESTION, PART = "question", "sub-question"
NOTHING: Mapping[tuple[str, str], Decided | None] = MappingProxyType({})
_LEFT_OUT = {
    QUESTION: "questions are left out (not answered in both runs, or without a gold answer)",
    PART: "decisions are left out (not in a tree, after another sub-question, or not followed to the end)",
}
_NO_DECISIONS = Decided([], 0)
_SAME = "what one model knows says nothing of another"


class BoundaryLine(NamedTuple):
    """The figures of one run at one level. `left_out` questions are in no figure: they failed in one of the
    runs, have no gold answer, or are not in both; of sub-questions it counts those without a label. `note`
    says why the figures are degenerate ("": they are not).
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
    parser = CommandLine(description="does a method search where the model does not know the answer?")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="runs over the same questions")
    parser.add_argument("never", type=Path, help="a run of the same model that never searches")
    parser.add_argument("--trees", type=Path, help="an exploration of the same questions by the same model")
    chosen = parser.parse_args()
    never = score_run(chosen.never)
    lines = []
    for folder in chosen.runs:
        run = score_run(folder)
        lines.append(boundary_line(run, never, dataset=run.run.dataset, name=run.run.run))
        if chosen.trees:
            made = decisions_of(folder, [chosen.trees])
            if made is None:
                raise UserError(
                    f"{chosen.trees} was not explored by the model of {folder}; "
                    f"name runs of one model: {_SAME}"
                )
            lines += decision_lines(made, dataset=run.run.dataset, name=run.run.run)
    table, out = boundary_cells(Boundary(lines, []), never=[never.run.run]), Terminal(narrowest=170)
    print_cells(table, out)


def boundary_line(
    run: Scored,
    never: Scored,
    *,
    dataset: str,
    name: str,
    method: str = "",
    expected: Expected | None = None,
) -> BoundaryLine:
    """The line of the questions of a run. Raises `UserError` when `never` searched, is of another model, or
    shares no question with the run.
    """
    if models_of(run.run) != models_of(never.run):
        raise UserError(
            f"{run.run.run} ({run.run.model}) and {never.run.run} ({never.run.model}) were answered by "
            f"different models or adapters; name runs of one model: {_SAME}"
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
    shown = tuple(each for each in known if each.values.keys() & set(NAMES))
    counts = [count([(row.metrics["searches"] > 0, labels[row.id])]) for row in rows]
    return _line(dataset, name, QUESTION, counts, left_out)._replace(published=shown)


def decision_lines(made: Decided, *, dataset: str, name: str) -> list[BoundaryLine]:
    """The line of the decisions of a run; none for a run without a labelled decision."""
    return [_line(dataset, name, PART, made.counts, made.unlabelled)] if made.counts else []


def boundary_of(
    entries: Sequence[Entry],
    *,
    never: Sequence[str],
    expected: Expected,
    decided: Mapping[tuple[str, str], Decided | None] = NOTHING,
) -> Boundary:
    """The lines of an evaluation. The labels of a line are those of the first line of `never` with its models
    on its data set; where there is none, the line is without figures. `decided` are the decisions by data set
    and line, None where the explorations are of other models.
    """
    labels: dict[tuple[str, str], Entry] = {}
    for name in never:
        for entry in entries:
            if entry.line == name:
                labels.setdefault((entry.dataset, models_of(entry.scored.run)), entry)
    lines, unlabelled = [], []
    for dataset, name, method, scored in (entry for entry in entries if entry.line not in never):
        label = labels.get((dataset, models_of(scored.run)))
        if label is not None:
            lines.append(
                boundary_line(
                    scored, label.scored, dataset=dataset, name=name, method=method, expected=expected
                )
            )
        elif never:
            unlabelled.append(f"{dataset}, {name}")
        made = decided.get((dataset, name), _NO_DECISIONS)
        if made is None:
            unlabelled.append(f"{dataset}, {name}: sub-questions")
        else:
            lines += decision_lines(made, dataset=dataset, name=name)
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
    keys = ["data set", "method", "level", "n", *NAMES, "boundary_counts"]
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
    return Cells(keys, rows, _notes(found, never))


def _notes(found: Boundary, never: Sequence[str]) -> list[str]:
    lines, names = found.lines, " or ".join(never)
    notes = [
        f"Knowledge boundary: a question is known where {names}, with the same model, answers it rightly; "
        f"not to search is the positive decision (TP: not searched and known). {INTERVAL_NOTE}"
    ]
    if any(line.level == PART for line in lines):
        notes.append(
            "Sub-questions: one is known where, in an explored tree of the same model, the model's own "
            "answer to it leads to a right answer."
        )
    if found.unlabelled:
        notes.append(
            "Without labels, since no line that never searches and no exploration has their model: "
            f"{'; '.join(found.unlabelled)}."
        )
    notes += [
        f"{line.dataset}, {line.name}, {line.level}: (d) degenerate, {line.note}; MCC is 0 by definition."
        for line in lines
        if line.note
    ]
    notes += [
        f"{line.dataset}, {line.name}: {line.left_out} {_LEFT_OUT[line.level]}."
        for line in lines
        if line.left_out
    ]
    return notes + published_notes(each for line in lines for each in line.published)


def _text(estimate: Estimate, *, marked: bool) -> str:
    mark = " (d)" if marked else ""
    return estimate.text(lambda value: f"{value:.3f}") + mark


def _counts(row: QuestionScore) -> bool:
    """Whether a question has a verdict and did not fail for reasons that have nothing to do with it."""
    return row.status not in RETRIED and answers_rightly(row.metrics) is not None


def _line(dataset: str, name: str, level: str, counts: Sequence[Counts], left_out: int) -> BoundaryLine:
    total = Counts(*map(sum, zip(*counts, strict=True)))
    estimates = bootstrap_counts(counts, _figures)
    return BoundaryLine(dataset, name, level, total, estimates, left_out, degenerate(total))


def _figures(sums: Sequence[int]) -> dict[str, float]:
    return dict(zip(NAMES, boundary_figures(Counts(*sums)), strict=True))


if __name__ == "__main__":
    run_main(main)
