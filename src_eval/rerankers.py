"""Compare rerankers: `python -m src_eval.rerankers READERS.yaml [READERS-OTHER.yaml …]`.

A configuration is that of a reader's evaluation (`src_eval.config`) whose lines search rankings on disk
(`retriever=ranked:FILE`): RADIO's stage `rank` writes one per reader. For every line and data set it computes
recall@2, recall@5, nDCG@10 and MRR of the rankings, joins the reader's scores where its run is finished, and
writes one table with bootstrap intervals and paired tests against the baseline, as Markdown, CSV and LaTeX
and as a page, beside the first configuration. Several data sets are followed by all their questions together
(each question counts once, so that a large set weighs more). The data sets of a further reader are named
after it.
`candidates.html` there shows the candidates of single questions.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.text import Text

from src_core.console import Terminal
from src_core.errors import UserError, run_main
from src_core.jsonl import write_atomic
from src_core.rankings import Ranking, read_rankings
from src_core.rundir import MANIFEST
from src_core.served import line_digests
from src_core.types import Question
from src_eval.compare import Entry, Table, build_table
from src_eval.config import DatasetSpec, EvalConfig, MethodSpec
from src_eval.expected import Expected
from src_eval.found_files import load_evaluation
from src_eval.records import QuestionScore, RunScore
from src_eval.report.candidates_page import CANDIDATES_PAGE, write_candidates_page
from src_eval.report.evaluation_page import write_evaluation_page
from src_eval.report.run_files import PAGE
from src_eval.scoring import Scored, estimates_of, read_manifest, score_run
from src_eval.tables import FORMATS, cells_of
from src_eval.text_tables import print_cells
from src_tasks.readers.sources import read_questions
from src_tasks.retrieval import ranking_scores

RANKING_METRICS = tuple(ranking_scores([], ["any"]))
READER_METRICS = ("em", "f1")
POOLED = "all questions"
_RANKED = "retriever=ranked:"


def main() -> None:
    """Read the command line, score, print, write."""
    paths = [Path(argument) for argument in sys.argv[1:]]
    if not paths or any("=" in path.name or path.name.startswith("-") for path in paths):
        raise UserError("usage: .venv/bin/python -m src_eval.rerankers READERS.yaml [READERS-OTHER.yaml ...]")
    configs = [load_evaluation(path) for path in paths]
    out = Terminal(narrowest=190)
    folder, config = paths[0].parent, configs[0]
    table = comparison(configs)
    print_cells(cells_of(table), out)
    write_table(table, folder, name=f"{config.name}: rerankers")
    pages = [PAGE]
    labels = [line.name for line in config.lines]
    if write_candidates_page(folder / CANDIDATES_PAGE, folder / "page", labels):
        pages.append(CANDIDATES_PAGE)
    out.print(Text(f"written: {folder}/{{{', '.join([*FORMATS, *pages])}}}"), soft_wrap=True)


def write_table(table: Table, folder: Path, *, name: str, prefix: str = "") -> None:
    """Write a table to `folder` in all formats and as a page; the names of the files begin with `prefix`."""
    for file, written in FORMATS.items():
        write_atomic(folder / f"{prefix}{file}", written(table).encode("utf-8", "replace"))
    write_evaluation_page(folder / f"{prefix}{PAGE}", table, name=name, links=[])


def comparison(configs: Sequence[EvalConfig]) -> Table:
    """The table of all readers, lines and data sets. Raises `UserError` where a line has no rankings, or not
    those of every question, and for readers with different baselines.
    """
    baselines = {config.baseline_name() for config in configs}
    if len(baselines) > 1:
        raise UserError(
            f"the readers have different baselines ({', '.join(sorted(baselines))}); name one set"
        )
    names = [config.name for config in configs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"two of the evaluations are called {twice!r}; name each once, or change one's name")
    entries = []
    for config in configs:
        reader = config.name.removeprefix(configs[0].name).strip("-")
        entries += list(_entries(config, reader))
    read = any("em" in entry.scored.run.metrics for entry in entries)
    metrics = (*RANKING_METRICS, *(READER_METRICS if read else ()))
    return build_table(entries, baseline=baselines.pop(), metrics_of=lambda _: metrics, expected=Expected())


def _entries(config: EvalConfig, reader: str) -> Iterator[Entry]:
    rankings = {line.name: read_rankings(ranking_file(line)) for line in config.lines}
    suffix = f", {reader}" if reader else ""
    of_line: dict[str, list[Scored]] = {line.name: [] for line in config.lines}
    for dataset in config.datasets:
        ranked = config.questions_of(dataset) if dataset.ranked is None else dataset.ranked
        questions = read_questions(dataset.path, limit=ranked)
        for line in config.lines:
            scored = _scored(config, dataset, line, questions, rankings[line.name])
            of_line[line.name].append(scored)
            yield Entry(f"{dataset.name}{suffix}", line.name, line.method, scored)
    if len(config.datasets) > 1:
        for line in config.lines:
            yield Entry(f"{POOLED}{suffix}", line.name, line.method, _pooled(of_line[line.name]))


def _pooled(sets: Sequence[Scored]) -> Scored:
    """All questions of several data sets. The set's name stands before an id, which two sets may both use."""
    rows = [replace(row, id=f"{row.source}/{row.id}") for scored in sets for row in scored.rows]
    run = replace(
        sets[0].run,
        run="",
        dataset=POOLED,
        questions=len(rows),
        metrics=estimates_of(rows),
        outcomes={},
        manifest={},  # what may change an answer is said of each set
    )
    return Scored(run, rows)


def ranking_file(line: MethodSpec) -> Path:
    """The rankings that a line searches. Raises `UserError` where it searches something else."""
    found = _ranked(line)
    if found is None:
        raise UserError(f"the line {line.name} has no setting {_RANKED}FILE; add the rankings that it reads")
    return found


def _ranked(line: MethodSpec) -> Path | None:
    found = next((each for each in line.settings if each.startswith(_RANKED)), None)
    return Path(found.removeprefix(_RANKED)) if found else None


def require_same_rankings(
    folder: Path, line: MethodSpec, *, asked: Collection[str], answered: Collection[str]
) -> None:
    """Raises `UserError` where the finished run in `folder` read other rankings than the line has now (its
    reranker was trained anew since): its answers would stand beside the wrong ranking. Rankings that have
    only grown are the same where the run has `answered` all questions that are `asked` (ids).
    """
    read = (read_manifest(folder).get("index") or {}).get("sha256")
    path = _ranked(line)
    if path is None or read is None:
        return
    *earlier, present = line_digests(path)
    if read == present:
        return
    if read not in earlier[1:]:
        raise UserError(
            f"{path} was written anew after {folder} had read it; remove that folder and read again"
        )
    missing = len(set(asked) - set(answered))
    if missing:
        raise UserError(
            f"{path} has grown since {folder} read it, which has no answer to {missing} of {len(asked)} "
            "questions; run the reader's evaluation again (bash scripts/evaluate.sh), which adds them"
        )


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
    reader = None
    if (folder / MANIFEST).is_file():
        reader = score_run(folder)
    answers = {row.id: row for row in reader.rows} if reader else {}
    if reader is not None:
        asked = [question.id for question in questions]
        if dataset.ranked is not None:
            asked = asked[: dataset.n] if dataset.n >= 0 else asked
        require_same_rankings(folder, line, asked=asked, answered=answers)
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
        metrics=estimates_of(rows),
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


if __name__ == "__main__":
    run_main(main)
