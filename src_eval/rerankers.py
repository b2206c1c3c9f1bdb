"""Compare rerankers: `python -m src_eval.rerankers READERS.yaml [key=value …]`.

The configuration is that of a reader's evaluation (`src_eval.config`) whose lines search rankings on disk
(`retriever=ranked:FILE`): RADIO's stage `rank` writes one. For every line and data set it computes recall@2,
recall@5, nDCG@10 and MRR of the rankings, joins the reader's scores where its run is finished, and writes
one table with bootstrap intervals and paired tests against the baseline, as Markdown, CSV and LaTeX and as a
page, beside the configuration. `candidates.html` there shows the candidates of single questions.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.text import Text

from src_core.config import load_config
from src_core.console import Terminal
from src_core.errors import UserError, run_main
from src_core.jsonl import write_atomic
from src_core.rankings import Ranking, read_rankings
from src_core.rundir import MANIFEST
from src_core.types import Question
from src_eval.compare import Entry, Table, build_table
from src_eval.config import DatasetSpec, EvalConfig, MethodSpec
from src_eval.expected import Expected
from src_eval.records import Estimate, QuestionScore, RunScore
from src_eval.report.candidates_page import CANDIDATES_PAGE, write_candidates_page
from src_eval.report.evaluation_page import PAGE, write_evaluation_page
from src_eval.scoring import Scored, score_run
from src_eval.stats import bootstrap
from src_eval.tables import FORMATS, notes_of, terminal
from src_tasks.readers.sources import read_questions
from src_tasks.retrieval import ranking_scores

RANKING_METRICS = tuple(ranking_scores([], ["any"]))
READER_METRICS = ("em", "f1")
_RANKED = "retriever=ranked:"


def main() -> None:
    """Read the command line, score, print, write."""
    if len(sys.argv) < 2 or "=" in sys.argv[1]:
        raise UserError("usage: .venv/bin/python -m src_eval.rerankers READERS.yaml [key=value ...]")
    path = Path(sys.argv[1])
    config = load_config(EvalConfig, path, sys.argv[2:])
    config.baseline_name()
    table = comparison(config)
    for name, written in FORMATS.items():
        write_atomic(path.with_name(name), written(table).encode("utf-8", "replace"))
    out = Terminal(narrowest=190)
    out.print(terminal(table))
    for note in notes_of(table):
        out.print(Text(note), soft_wrap=True)
    write_evaluation_page(path.with_name(PAGE), table, name=f"{config.name}: rerankers", links=[])
    pages = PAGE
    labels = [line.name for line in config.lines]
    if write_candidates_page(path.with_name(CANDIDATES_PAGE), path.parent / "page", labels):
        pages += f" and {CANDIDATES_PAGE}"
    out.print(Text(f"written: {path.parent}/{{{', '.join(FORMATS)}}}, {pages}"), soft_wrap=True)


def comparison(config: EvalConfig) -> Table:
    """The table of all lines and data sets. Raises `UserError` where a line has no rankings, or not those of
    every question.
    """
    rankings = {line.name: read_rankings(ranking_file(line)) for line in config.lines}
    entries = []
    for dataset in config.datasets:
        questions = read_questions(dataset.path, limit=config.questions_of(dataset))
        for line in config.lines:
            scored = _scored(config, dataset, line, questions, rankings[line.name])
            entries.append(Entry(dataset.name, line.name, line.method, scored))
    read = any("em" in entry.scored.run.metrics for entry in entries)
    metrics = (*RANKING_METRICS, *(READER_METRICS if read else ()))
    return build_table(
        entries, baseline=config.baseline_name(), metrics_of=lambda _: metrics, expected=Expected()
    )


def ranking_file(line: MethodSpec) -> Path:
    """The rankings that a line searches. Raises `UserError` where it searches something else."""
    found = next((each for each in line.settings if each.startswith(_RANKED)), None)
    if found is None:
        raise UserError(f"the line {line.name} has no setting {_RANKED}FILE; add the rankings that it reads")
    return Path(found.removeprefix(_RANKED))


def _scored(
    config: EvalConfig,
    dataset: DatasetSpec,
    line: MethodSpec,
    questions: Sequence[Question],
    rankings: Mapping[str, Ranking],
) -> Scored:
    """The scores of a line on a data set: those of its rankings, and the reader's where there are some."""
    missing = sum(question.id not in rankings for question in questions)
    if missing:
        raise UserError(
            f"{missing} of {len(questions)} questions of {dataset.name} have no ranking of {line.name}; run "
            "the stages candidates and rank again"
        )
    folder = Path(config.runs_dir) / f"eval-{config.name}-{dataset.name}-{line.name}"
    reader = score_run(folder) if (folder / MANIFEST).is_file() else None
    answers = {row.id: row for row in reader.rows} if reader else {}
    rows = [
        _row(question, rankings[question.id], answers.get(question.id), dataset.name)
        for question in questions
    ]
    run = RunScore(
        run=folder.name,
        method=line.method,
        model="",
        dataset=dataset.name,
        questions=len(rows),
        metrics=_estimates(rows),
        by={},
        outcomes={},
        invalid_rate=0.0,
    )
    if reader is not None:
        run = replace(run, model=reader.run.model, manifest=reader.run.manifest, outcomes=reader.run.outcomes)
    return Scored(run, rows)


def _row(question: Question, ranking: Ranking, answered: QuestionScore | None, dataset: str) -> QuestionScore:
    metrics = ranking_scores(ranking.ids, question.supporting)
    if answered is not None:
        metrics |= {name: answered.metrics[name] for name in READER_METRICS if name in answered.metrics}
    return QuestionScore(
        id=question.id,
        question=question.question,
        golds=question.answers,
        prediction=answered.prediction if answered else "",
        status=answered.status if answered else "",
        source=dataset,
        metrics=metrics,
    )


def _estimates(rows: Sequence[QuestionScore]) -> dict[str, Estimate]:
    columns: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.metrics.items():
            columns.setdefault(name, []).append(value)
    return bootstrap(columns)


if __name__ == "__main__":
    run_main(main)
