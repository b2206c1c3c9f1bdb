"""Multiple choice by category and subject: `python -m src_eval.mmlu READERS.yaml`.

The configuration is that of an evaluation (`src_eval.config`) whose runs are finished: RADIO's stage `mmlu`
writes one. The accuracy of every line in MMLU's four categories, with bootstrap intervals over questions and
paired tests against the baseline, is printed and written beside the configuration (`table.*`); where RADIO
counts a subject elsewhere, its category follows. `subjects-table.*` is the table of single subjects.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.text import Text

from src_core.console import Terminal
from src_core.errors import UserError, run_main
from src_core.rundir import MANIFEST
from src_eval.compare import Entry, Table, build_table
from src_eval.config import EvalConfig
from src_eval.expected import Expected
from src_eval.found_files import load_evaluation
from src_eval.records import QuestionScore
from src_eval.report.run_files import PAGE
from src_eval.rerankers import require_same_rankings, write_table
from src_eval.scoring import Scored, estimates_of, score_run
from src_eval.tables import cells_of
from src_eval.text_tables import print_cells
from src_tasks.mmlu import SUBJECTS, Category, Grouping, category_of, subject_name
from src_tasks.readers.sources import read_questions

ACCURACY, UNREAD = "choice_accuracy", "choice_unread"
ALL = "all subjects"
SUBJECT_TABLE = "subjects-"
Member = Callable[[QuestionScore], bool]


def main() -> None:
    """Read the command line, score, print, write."""
    if len(sys.argv) != 2 or "=" in sys.argv[1]:
        raise UserError("usage: .venv/bin/python -m src_eval.mmlu READERS.yaml")
    path = Path(sys.argv[1])
    config = load_evaluation(path)
    runs = scored_lines(config)
    out = Terminal(narrowest=150)
    subjects = table_of(runs, dict(_subjects(runs)), baseline=config.baseline_name())
    write_table(subjects, path.parent, name=f"{config.name}: subjects", prefix=SUBJECT_TABLE)
    categories = table_of(runs, dict(_categories(runs)), baseline=config.baseline_name())
    write_table(categories, path.parent, name=f"{config.name}: categories")
    print_cells(cells_of(categories), out)
    for name in sorted(_others(runs)):
        out.print(Text(f"{name} is no subject of MMLU: only in the line {ALL}"), soft_wrap=True)
    out.print(Text(f"written: {path.parent}/table.md, {SUBJECT_TABLE}table.md, {PAGE}"), soft_wrap=True)


def scored_lines(config: EvalConfig) -> list[tuple[str, Scored]]:
    """The name and scores of each finished line. Raises `UserError` where the baseline is not among them, and
    where a run read other rankings than there are now."""
    found = []
    for dataset in config.datasets:
        asked = [each.id for each in read_questions(dataset.path, limit=config.questions_of(dataset))]
        for line in config.lines:
            folder = Path(config.runs_dir) / f"eval-{config.name}-{dataset.name}-{line.name}"
            if (folder / MANIFEST).is_file():
                scored = score_run(folder)
                answered = [row.id for row in scored.rows]
                require_same_rankings(folder, line, asked=asked, answered=answered)
                found.append((line.name, scored))
    if config.baseline_name() not in [name for name, _ in found]:
        raise UserError(
            f"there is no finished run of {config.baseline_name()}; run .venv/bin/python -m src_eval.run "
            "with the same configuration first"
        )
    return found


def table_of(runs: Sequence[tuple[str, Scored]], parts: dict[str, Member], *, baseline: str) -> Table:
    """The accuracy of every line over the questions of each part; a part without questions is left out."""
    entries = []
    for part, member in parts.items():
        for name, scored in runs:
            rows = [row for row in scored.rows if member(row)]
            if rows:
                run = replace(scored.run, questions=len(rows), metrics=estimates_of(rows), left_out=0)
                entries.append(Entry(part, name, scored.run.method, Scored(run, rows)))
    metrics = (ACCURACY, UNREAD)
    return build_table(entries, baseline=baseline, metrics_of=lambda _: metrics, expected=Expected())


def _categories(runs: Sequence[tuple[str, Scored]]) -> Iterator[tuple[str, Member]]:
    """All questions, the usual categories, and those of RADIO that hold other subjects here."""
    yield ALL, lambda _: True
    names = {subject_name(row.group) for _, scored in runs for row in scored.rows}
    for grouping in Grouping:
        for category in Category:
            subjects = _of(category, grouping) & names
            if grouping is Grouping.USUAL or subjects != _of(category, Grouping.USUAL) & names:
                label = category.value if grouping is Grouping.USUAL else f"{category.value} (RADIO)"
                yield label, _in(subjects)


def _subjects(runs: Sequence[tuple[str, Scored]]) -> Iterator[tuple[str, Member]]:
    names = {subject_name(row.group) for _, scored in runs for row in scored.rows}
    for subject in [*sorted(SUBJECTS), *sorted(names - SUBJECTS.keys())]:
        yield subject or "no subject", _in({subject})


def _of(category: Category, grouping: Grouping) -> set[str]:
    return {subject for subject in SUBJECTS if category_of(subject, grouping) is category}


def _in(subjects: set[str]) -> Member:
    return lambda row: subject_name(row.group) in subjects


def _others(runs: Sequence[tuple[str, Scored]]) -> set[str]:
    """The groups that are no subjects of MMLU."""
    names = {subject_name(row.group) for _, scored in runs for row in scored.rows}
    return {name or "a question without a subject" for name in names - SUBJECTS.keys()}


if __name__ == "__main__":
    run_main(main)
