"""Evaluate methods on data sets: `python -m src_eval.run configs/eval/smoke.yaml [key=value …]` (called by
`bash scripts/evaluate.sh`).

Each (data set, method) is a run of `src_infer.run` in a separate process, one after another, under
`runs/eval-NAME-DATASET-METHOD/`; finished runs are not repeated, interrupted ones are resumed. Every run is
scored (and judged, with `judge`), and `runs/eval-NAME/` gets the table as Markdown, CSV and LaTeX, and as a
page (`index.html`) with plots and a link to the report of each run. With `--check` nothing is started: it
reports the errors of any run, or prints what has to be served (corpus and index folder, one per line).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import quote

import orjson
import yaml
from rich.console import Console
from rich.text import Text

from src_core.caller import seen
from src_core.config import dump
from src_core.console import Terminal
from src_core.errors import ERROR_FILE, UserError, run_main
from src_core.jsonl import read_jsonl, write_atomic
from src_core.lifetime import INTERRUPTED, owned_environment, run_child
from src_core.rundir import MANIFEST, QUESTION_IDS, ROWS, failure_counts, question_of
from src_core.runfolder import run_folder
from src_core.server_news import SAID
from src_core.terminal import answer
from src_core.text import shorten
from src_core.types import RETRIED, Question, to_json
from src_eval.abstention import abstention_cells
from src_eval.boundary import NOTHING, boundary_cells, boundary_of
from src_eval.compare import Entry, build_table
from src_eval.config import DatasetSpec, EvalConfig
from src_eval.expected import Expected, load_expected
from src_eval.found_files import load_evaluation
from src_eval.jobs import Job, Trouble
from src_eval.judge_run import judge_folders
from src_eval.pareto import pareto_cells, points_of
from src_eval.report.evaluation_page import Extras, Link, write_evaluation_page
from src_eval.report.report_page import REPORT, write_report
from src_eval.report.run_files import PAGE, read_scored_run
from src_eval.scoring import read_manifest, score_run
from src_eval.tables import FORMATS, cells_of
from src_eval.text_tables import as_csv, as_markdown, print_cells
from src_eval.tree_labels import Decided, decisions_of
from src_tasks.readers.sources import read_questions

CHECK = "--check"
SERVERS = "--servers"
"""The flag of `src_infer.run` that only compares the servers with those that made the run."""
EXTRA_FILES = frozenset(
    f"{name}.{ending}" for name in ("abstention", "pareto", "boundary") for ending in ("md", "csv")
)
"""The files of the tables beside the main one (`extras_of`)."""
NOTES = "server-notes.txt"
"""The file, beside the logs, of the notes on servers that the runs of this evaluation have shown."""


def main() -> int:
    """Read the command line, run, report. Exit status 1 when a run failed or a question of one did."""
    arguments = [argument for argument in sys.argv[1:] if argument != CHECK]
    if not arguments or "=" in arguments[0]:
        raise UserError(f"usage: .venv/bin/python -m src_eval.run CONFIG.yaml [{CHECK}] [key=value ...]")
    config = load_evaluation(Path(arguments[0]), arguments[1:])
    load_expected(config.expected)
    jobs = plan(config)
    _check_all([job for job in jobs if is_wanted(config, job)], CHECK)  # also the names of the methods
    config.baseline_name()
    if CHECK in sys.argv:
        answer(f"{config.corpus}\n{config.index_dir}")
        return 0
    return evaluate(config, jobs, out=Terminal(narrowest=230), err=Terminal(stderr=True))


def plan(config: EvalConfig) -> list[Job]:
    """All runs, data set by data set, in the order of the table."""
    run_folder(config.runs_dir, config.name, setting="name")
    jobs = []
    for dataset in config.datasets:
        for line in config.lines:
            folder = run_folder(
                config.runs_dir,
                f"eval-{config.name}-{dataset.name}-{line.name}",
                setting="the run of name, data set and label",
            )
            settings = [
                f"questions={dataset.path}",
                f"n_questions={config.questions_of(dataset)}",
                *config.settings,
                *config.servers,
                *line.settings,
                f"method={line.method}",
                f"runs_dir={config.runs_dir}",
                f"run_name={folder.name}",
            ]
            ray = [f"ray.{key}={value}" for key, value in config.ray.items()]
            module = "src_infer.ray_job" if ray else "src_infer.run"
            command = [sys.executable, "-m", module, config.infer, *settings, *ray]
            jobs.append(Job(line, dataset, folder, command))
    return jobs


def evaluate(config: EvalConfig, jobs: list[Job], *, out: Console, err: Console) -> int:
    """Run the missing runs, score and judge them, and print and write the table. Returns 1 when a run or a
    question failed.
    """
    home = run_folder(config.runs_dir, f"eval-{config.name}", setting="the folder of name")
    (home / "logs").mkdir(parents=True, exist_ok=True)
    (home / "logs" / NOTES).unlink(missing_ok=True)
    write_atomic(
        home / "config.yaml", yaml.safe_dump(dump(config), sort_keys=False, allow_unicode=True).encode()
    )
    troubles: list[Trouble] = []
    if absent := config.absent_never():
        err.print(
            Text(f"note: the setting `never` names {', '.join(absent)}, which is no method of this run")
        )
    wanted = [job for job in jobs if is_wanted(config, job)]
    for name in dict.fromkeys(job.line.name for job in jobs if not is_wanted(config, job)):
        err.print(Text(f"not run with PROFILE={config.profile}: {name}"))
    questions = {job.dataset: _wanted(config, job.dataset) for job in wanted}
    finished = [job for job in wanted if is_finished(job, wanted=questions[job.dataset])]
    if len(finished) < len(wanted):  # what is added was made by the same servers
        _check_all(finished, SERVERS)
    for number, job in enumerate(wanted, start=1):
        title = f"[{number}/{len(wanted)}] {job.dataset.name}, {job.line.name}"
        if job in finished:
            err.print(Text(f"{title}: done before"))
            continue
        err.print(Text(title))
        trouble = _run(job, home / "logs" / f"{job.folder.name}.log")
        troubles += [trouble] if trouble else []
    scored = [job for job in jobs if (job.folder / MANIFEST).is_file()]
    if not scored and not wanted:
        served = ", ".join(dict.fromkeys(line.profile for line in config.lines))
        raise UserError(f"no method is for PROFILE={config.profile}; choose one of these profiles: {served}")
    if not scored:
        raise UserError(f"no run succeeded ({troubles[0]}); see {home / 'logs'}")
    unjudged = 0
    if config.judge is not None:
        unjudged = judge_folders(config.judge, [job.folder for job in scored], out=err, err=err)
    _report(config, scored, home, out, failed=[each.note for each in troubles if not each.ended])
    for trouble in troubles:
        err.print(Text(f"error: {trouble}", style="red"))
    return int(bool(troubles) or bool(unjudged))


def is_wanted(config: EvalConfig, job: Job) -> bool:
    """Whether a run uses the served profile: its line has this profile, or its line has none and no other
    line has this one.
    """
    own = any(line.profile == config.profile for line in config.lines)
    return job.line.profile == (config.profile if own else "")


def is_finished(job: Job, *, wanted: Sequence[Question]) -> bool:
    """Whether a run has ended with a row for each of these questions as they are now, none of which is to be
    retried.
    """
    if not (job.folder / MANIFEST).is_file() or not (job.folder / ROWS).is_file():
        return False
    ids = [question.id for question in wanted]
    if read_manifest(job.folder).get(QUESTION_IDS, ids) != ids:
        return False
    open_ones = {question.id: orjson.loads(to_json(question)) for question in wanted}
    for row in read_jsonl(job.folder / ROWS, torn_tail_ok=True):
        if row["status"] not in RETRIED and open_ones.get(question_of(row)) == row["question"]:
            del open_ones[question_of(row)]
    return not open_ones


def _wanted(config: EvalConfig, dataset: DatasetSpec) -> list[Question]:
    """The distinct questions that a run of this data set answers."""
    return read_questions(dataset.path, limit=config.questions_of(dataset))


def _check(job: Job, flag: str = CHECK) -> None:
    """Run a check of one run. Raises `UserError` with its message."""
    done = subprocess.run(
        [*job.command, flag], capture_output=True, text=True, errors="replace", env=owned_environment()
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it printed no message"]
        # Of an evaluation the runs are named by its own name.
        refusal = lines[-1].removeprefix("error: ").replace("take another RUN_NAME", "set another name=")
        raise UserError(f"{job.dataset.name}, {job.line.name}: {refusal}")


def _check_all(jobs: Sequence[Job], flag: str) -> None:
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as checks:  # each check is a process of its own
        list(checks.map(partial(_check, flag=flag), jobs))


def _run(job: Job, log: Path) -> Trouble | None:
    """Run one run. Returns its trouble, None without one. Its table goes to `log`, its progress to stderr, a
    note on the servers only where no run before had the same.
    """
    said = log.with_suffix(".error")
    said.unlink(missing_ok=True)
    variables = {SAID: str(log.parent / NOTES), ERROR_FILE: str(said)}
    with log.open("ab") as output:
        status = run_child(job.command, stdout=output, variables=variables)
    if status in INTERRUPTED:
        raise KeyboardInterrupt
    if status == 0:
        return None
    if status == 1 and (job.folder / MANIFEST).is_file():
        return Trouble(job, _failures(job), log, ended=True)
    sentence = said.read_text(encoding="utf-8") if said.is_file() else f"it ended with status {status}"
    return Trouble(job, sentence, log, ended=False)


def _failures(job: Job) -> str:
    """How many questions of a run failed, and the first errors."""
    failures = failure_counts(read_jsonl(job.folder / ROWS, torn_tail_ok=True))
    first = "; ".join(f"{count} x {shorten(error, 200)}" for error, count in list(failures.items())[:3])
    return f"{failures.total()} questions failed ({first})"


def _report(config: EvalConfig, jobs: list[Job], home: Path, out: Console, *, failed: Sequence[str]) -> None:
    entries = [Entry(job.dataset.name, job.line.name, job.line.method, score_run(job.folder)) for job in jobs]
    expected = load_expected(config.expected)
    table = build_table(
        entries, baseline=config.baseline_name(), metrics_of=config.metrics_of, expected=expected
    )._replace(failed=failed)
    files = {name: written(table) for name, written in FORMATS.items()}
    print_cells(cells_of(table), out)
    decided = {
        (job.dataset.name, job.line.name): decisions_of(
            job.folder, [Path(name) for name in job.dataset.trees]
        )
        for job in jobs
        if job.dataset.trees
    }
    extras = extras_of(entries, never=config.never, expected=expected, decided=decided)
    for name, cells in extras.tables.items():
        print_cells(cells, out)
        files |= {f"{name}.md": as_markdown(cells), f"{name}.csv": as_csv(cells)}
    for name in EXTRA_FILES - files.keys():  # of an earlier evaluation, which had other lines
        (home / name).unlink(missing_ok=True)
    for name, text in files.items():
        write_atomic(home / name, text.encode("utf-8", "replace"))
    links = [_write_run_page(job, home) for job in jobs]
    write_evaluation_page(home / PAGE, table, name=config.name, links=links, extras=extras)
    out.print(
        Text(f"written: {seen(home)}/{{{', '.join(files)}}} and the page {seen(home / PAGE)}"), soft_wrap=True
    )


def extras_of(
    entries: Sequence[Entry],
    *,
    never: Sequence[str],
    expected: Expected,
    decided: Mapping[tuple[str, str], Decided | None] = NOTHING,
) -> Extras:
    """What stands beside the main table: `abstention` where a question is unanswerable or an answer abstains,
    `pareto` where a run searches, `boundary` where a line of `never` has the model of another.
    """
    abstained = abstention_cells(entries)
    tables = {} if abstained is None else {"abstention": abstained}
    points = points_of(entries)
    if any(point.cost.mean for point in points):
        tables["pareto"] = pareto_cells(points)
    boundary = boundary_of(entries, never=never, expected=expected, decided=decided)
    if boundary.lines:
        tables["boundary"] = boundary_cells(boundary, never=never)
    return Extras(points, tables)


def _write_run_page(job: Job, home: Path) -> Link:
    """Write the report of a run, and return its link from the folder of the evaluation."""
    page = job.folder / REPORT
    write_report(page, [read_scored_run(job.folder)])
    return Link(job.dataset.name, job.line.name, quote(os.path.relpath(page, home)))


if __name__ == "__main__":
    run_main(main)
