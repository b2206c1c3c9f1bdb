"""Answer questions: `python -m src_infer.run configs/infer/cpu.yaml [key=value …]` (called by `bash
infer.sh`).

Writes `runs/<run_name>/`, prints a table and totals; with `question="…"` it prints each step of that question
instead. With `--check` it only reports errors in the settings, questions, run directory or a model server
that is not ours: `infer.sh` runs this before any download or server start. With `--servers` it only compares
the servers that answer with those that made the rows of the run directory.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from src_core.caller import named_run, seen
from src_core.config import dump
from src_core.console import Terminal
from src_core.errors import BoundaryError, UserError, run_main
from src_core.progress import Begun
from src_core.rundir import QUESTION_IDS, OnExisting, RunDir, was_used
from src_core.runfolder import run_folder
from src_core.served import Servers
from src_core.terminal import say
from src_core.trained_prompt import trained_format
from src_core.types import Question, Trajectory, question_id
from src_infer.answering import Answerer, answer_all, answer_here
from src_infer.as_trained import load_as_trained, method_of
from src_infer.config import ROLES, InferConfig
from src_infer.methods import Method
from src_infer.own_servers import check_own_servers
from src_infer.prompts import pinned_digest
from src_infer.runtime import Runtime, make_protocol, open_runtime
from src_infer.show import (
    StepPrinter,
    failure_lines,
    malformed_lines,
    outcome_lines,
    outcomes_text,
    recorded_note,
    report_console,
    results_table,
    tokens_text,
    totals_table,
)
from src_tasks.abstention import counts_text
from src_tasks.metric_names import EXPLAINED
from src_tasks.readers.sources import read_questions
from src_tasks.scores import totals

CHECK = "--check"
SERVERS = "--servers"


class Prepared(NamedTuple):
    """A run whose inputs are checked."""

    config: InferConfig
    method: Method
    questions: list[Question]
    folder: Path


def main() -> int:
    """Answer the questions in this process."""
    return run_from(sys.argv[1:], answerer=answer_here)


def run_from(given: list[str], *, answerer: Answerer) -> int:
    """Read the command line, run, report. Exit status 1 when any question failed at a boundary."""
    arguments = [argument for argument in given if argument not in (CHECK, SERVERS)]
    if not arguments or "=" in arguments[0]:
        raise UserError(f"usage: .venv/bin/python -m src_infer.run CONFIG.yaml [{CHECK}] [key=value ...]")
    _require_one_source(arguments[1:])
    checks = CHECK in given or SERVERS in given
    prepared = prepare(load_as_trained(InferConfig, Path(arguments[0]), arguments[1:]), quiet=checks)
    if CHECK in given:
        asyncio.run(check_own_servers(prepared.config))
        return 0
    if SERVERS in given:
        asyncio.run(check_servers(prepared))
        return 0
    try:
        return asyncio.run(run(prepared, Terminal(stderr=True), report_console(), answerer=answerer))
    except KeyboardInterrupt as stopped:
        raise KeyboardInterrupt(named_run(prepared.config.run_name)) from stopped


def _require_one_source(settings: Sequence[str]) -> None:
    """Raises `UserError` where the command line gives one question and a file of questions."""
    given = dict(setting.partition("=")[::2] for setting in settings)
    if given.get("question") and given.get("questions"):
        raise UserError(
            f"QUESTION and questions={given['questions']} are both given, and only one of them is asked; "
            "leave one of them out"
        )


def prepare(config: InferConfig, *, quiet: bool = False) -> Prepared:
    """All checks that need no server and write no file. `quiet`: notes about the questions are left to the
    run that follows the check. Raises `UserError`.
    """
    method = method_of(config)
    config = replace(config, prompts_digest=pinned_digest(config.prompts_digest))
    make_protocol(config)
    folder = run_folder(config.runs_dir, config.run_name)
    was_used(folder, config=dump(config), on_existing=config.on_existing)
    return Prepared(config, method, _questions(config, quiet=quiet), folder)


def mismatch(config: InferConfig, method: Method) -> str:
    """What to know where method and model do not belong together, "" for nothing."""
    trained = trained_format(Path(config.trained)) if config.trained else ""
    if trained and not method.formats and config.method != "rearag":
        return (
            f"the model in {config.trained} was trained for the format {trained}, and the method "
            f"{config.method} asks it in another way: expect worse answers or malformed replies; without a "
            "GPU, MODEL=qwen2.5-coder-1.5b takes the prompts of every method"
        )
    if method.formats and not trained:
        needs = "needs a model that was trained for it; scripts/ask_checkpoint.sh serves the published ones"
        return f"the method {config.method} {method.untrained or needs}"
    return ""


async def run(prepared: Prepared, err: Console, out: Console, *, answerer: Answerer = answer_here) -> int:
    """One run: connect, answer the questions that are not yet answered, write the manifest, print."""
    config, method, questions, folder = prepared
    if note := mismatch(config, method):
        err.print(Text(f"note: {note}"), soft_wrap=True)
    live = bool(config.question) or config.show_steps
    printer = StepPrinter(out) if live else None
    rundir, trajectories, summary = await _answered(
        config, method, questions, folder, printer=printer, err=err, answerer=answerer
    )
    _report(
        trajectories,
        summary["totals"],
        live=bool(config.question),
        not_reproducible=summary["not_reproducible"],
        out=out,
    )
    if note := "" if config.question else recorded_note(Path(config.questions), summary["models"]):
        out.print(Text(note), soft_wrap=True)
    folder_seen = seen(rundir.path)
    out.print(Text(f"written: {folder_seen}/"), soft_wrap=True)
    out.print(Text(f"as one page: bash {seen('scripts/report.sh')} {folder_seen}"), soft_wrap=True)
    return int(any(trajectory.status.retryable for trajectory in trajectories))


def _questions(config: InferConfig, *, quiet: bool) -> list[Question]:
    if config.question:
        if config.question.endswith((".jsonl", ".json", ".csv")) and Path(config.question).is_file():
            raise UserError(f"question={config.question} is a file; give it as questions={config.question}")
        return [Question(question_id(config.question, ()), config.question)]
    if config.n_questions == 0:
        raise UserError("n_questions=0 asks nothing; set it to -1 for all questions, or to at least 1")
    note = (lambda _: None) if quiet else say
    return read_questions(config.questions, limit=config.n_questions, note=note)


class Answered(NamedTuple):
    """A run on disk: its directory, all trajectories in the order of the questions, its manifest."""

    rundir: RunDir
    trajectories: list[Trajectory]
    summary: dict[str, Any]


async def _answered(
    config: InferConfig,
    method: Method,
    questions: Sequence[Question],
    folder: Path,
    *,
    printer: StepPrinter | None,
    err: Console,
    answerer: Answerer,
) -> Answered:
    """Connect, answer the questions that are not yet answered, write the manifest. A server that does not
    answer is a `UserError` that names the command to start it.
    """
    async with AsyncExitStack() as stack:
        servers, runtime = await _connected(config, method, stack, on_step=printer)
        rundir = RunDir(folder, config=dump(config), on_existing=config.on_existing, servers=servers)
        try:
            begun = Begun.now()
            rows, how = await answer_all(
                questions, rundir, config, method=method, runtime=runtime, err=err, answerer=answerer
            )
            summary = {**_manifest(config, rows, runtime=runtime, servers=servers, begun=begun), **how}
            rundir.write_manifest({**summary, QUESTION_IDS: [question.id for question in questions]})
        finally:
            rundir.close()
    return Answered(rundir, rows, summary)


async def check_servers(prepared: Prepared) -> None:
    """Raises `UserError` where other servers answer than those that made the rows of the run directory."""
    async with AsyncExitStack() as stack:
        servers, _ = await _connected(prepared.config, prepared.method, stack)
        # never `clean`: nothing is run here
        how: OnExisting = "resume" if prepared.config.on_existing != "resume_anyway" else "resume_anyway"
        RunDir(prepared.folder, config=dump(prepared.config), on_existing=how, servers=servers).close()


async def _connected(
    config: InferConfig, method: Method, stack: AsyncExitStack, *, on_step: StepPrinter | None = None
) -> tuple[Servers, Runtime]:
    """The servers of the run, and its runtime until `stack` is closed."""
    servers = Servers(strict=config.on_existing != "resume_anyway")
    opened = open_runtime(
        config,
        settings=method.settings,
        abstain=config.abstain,
        on_step=on_step,
        needs_search=method.needs_search,
        servers=servers,
    )
    try:
        return servers, await stack.enter_async_context(opened)
    except BoundaryError as error:
        raise UserError(
            f"a server does not answer: {error}; run 'bash deploy/status.sh' to see which servers run, "
            "start them with 'bash deploy/deploy_rag_engine.sh' and 'bash deploy/deploy.sh', or take "
            "PROFILE=small or cpu, with which infer.sh starts servers of its own"
        ) from error


def _manifest(
    config: InferConfig,
    trajectories: Sequence[Trajectory],
    *,
    runtime: Runtime,
    servers: Servers,
    begun: Begun,
) -> dict[str, Any]:
    return {
        "config": dump(config),
        "index": runtime.identity,
        "models": servers.model_names(),
        "servers": servers.records,
        "sampling": {role: dump(config.sampling(role)) for role in ROLES},
        "constrain": runtime.policy.constrain.value,
        "not_reproducible": config.not_reproducible(),
        "cut_queries": runtime.cut_queries(),
        "totals": totals(trajectories),
        **begun.facts(),
    }


def _report(
    trajectories: Sequence[Trajectory],
    summary: dict[str, Any],
    *,
    live: bool,
    not_reproducible: str,
    out: Console,
) -> None:
    """The table and totals, or the end of the one trajectory whose steps were printed live."""
    if live:
        for line in outcome_lines(trajectories[0]):
            out.print(line)
        return
    out.print(results_table(trajectories))
    out.print(totals_table(summary, width=out.width))
    out.print(Text(EXPLAINED))
    if "coverage" in summary["all"]:
        out.print(Text(f"answers: {counts_text(summary['all'])}"))
    outcomes = outcomes_text(summary["outcomes"])
    share = f"{100 * summary['parse_failure_share']:.1f} % of replies malformed"
    out.print(Text(f"outcomes: {outcomes}; {share}; {tokens_text(summary['tokens'])}"))
    if not_reproducible:
        out.print(Text(f"a second run may differ: {not_reproducible}"), soft_wrap=True)
    failed = (row for row in trajectories if row.status.retryable)
    failures = failure_lines(Counter(row.error or row.status.value for row in failed))
    for line in [*malformed_lines(trajectories), *failures]:
        out.print(line, soft_wrap=True)


if __name__ == "__main__":
    run_main(main)
