"""Explore the trees of DeepRAG's two data stages and write their training data:

    python -m src_data.deeprag.explore configs/systems/deeprag/stage1-cpu.yaml [key=value …]

Each question is a row of `runs/<run_name>/trajectories.jsonl`: its best path as the steps, the whole tree in
`provenance.tree` (`src_infer.search_record`). The same command resumes an interrupted run; a question whose
server failed has no tree and is explored again. With `--check` it only reports errors in the settings, the
question files or the run directory. The last step, imitation or calibration, can be repeated alone.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from rich.console import Console
from rich.text import Text

from src_core.caller import named_run
from src_core.config import dump, load_config
from src_core.console import Terminal
from src_core.errors import BoundaryError, ServerGoneError, UserError, run_main
from src_core.jsonl import read_jsonl, write_atomic
from src_core.progress import Begun, StepProgress
from src_core.rundir import QUESTION_IDS, QUESTIONS, RunDir, failure_counts, was_used
from src_core.runfolder import run_folder
from src_core.served import Servers
from src_core.server_news import resumable
from src_core.types import RETRIED, Trajectory
from src_data.deeprag.calibration import make_pairs, print_pairs
from src_data.deeprag.config import ExploreConfig
from src_data.deeprag.imitation import imitate
from src_data.deeprag.question_tree import explore
from src_data.deeprag.rounds import begun_round, next_round, rows_note
from src_data.postprocess import print_finished
from src_data.sampling.mixture import Mixture, mix_for_run
from src_infer.own_servers import check_own_servers
from src_infer.prompts import pinned_digest
from src_infer.runner import run_all
from src_infer.runtime import Runtime, make_protocol, open_runtime
from src_infer.show import failure_lines, report_console
from src_tasks.answers import NO_ANSWER, squad_normalize
from src_tasks.guessable import is_guessable

CHECK = "--check"


def main() -> int:
    """Read the command line, explore, write the data. Exit status 1 when a question failed at a server."""
    arguments = [argument for argument in sys.argv[1:] if argument != CHECK]
    if not arguments or "=" in arguments[0]:
        raise UserError(
            f"usage: .venv/bin/python -m src_data.deeprag.explore CONFIG.yaml [{CHECK}] [key=value ...]"
        )
    config = load_config(ExploreConfig, Path(arguments[0]), arguments[1:])
    config = replace(config, prompts_digest=pinned_digest(config.prompts_digest))
    make_protocol(config.runtime)
    folder = run_folder(config.runs_dir, config.run_name)
    was_used(folder, config=dump(config), on_existing=config.on_existing)
    err = Terminal(stderr=True)
    mixture = questions_of(config, err)
    if CHECK in sys.argv:
        asyncio.run(check_own_servers(config.runtime))
        return 0
    try:
        return asyncio.run(run(config, mixture, folder, err=err, out=report_console()))
    except KeyboardInterrupt as stopped:
        raise KeyboardInterrupt(named_run(config.run_name)) from stopped


async def run(config: ExploreConfig, mixture: Mixture, folder: Path, *, err: Console, out: Console) -> int:
    """One run from questions to training data."""
    async with AsyncExitStack() as stack:
        servers = Servers(strict=config.on_existing != "resume_anyway")
        runtime = await _opened(config, stack, servers)
        rundir = RunDir(folder, config=dump(config), on_existing=config.on_existing, servers=servers)
        try:
            begun = Begun.now()
            write_atomic(rundir.path / "mixture.json", mixture.report.json())
            ids, failed, made = await _explore_rounds(config, mixture, rundir, runtime=runtime, err=err)
            made.show(out)
            rundir.write_manifest(
                {
                    "config": dump(config),
                    "index": runtime.identity,
                    "models": servers.model_names(),
                    "servers": servers.records,
                    **made.facts,
                    **begun.facts(),
                    QUESTION_IDS: ids,
                }
            )
            failures = failure_counts(read_jsonl(rundir.rows)) if failed else Counter()
        finally:
            rundir.close()
    for line in failure_lines(failures):
        out.print(line, soft_wrap=True)
    return int(failed > 0)


async def _explore_rounds(
    config: ExploreConfig, mixture: Mixture, rundir: RunDir, *, runtime: Runtime, err: Console
) -> _Explored:
    """All rounds of questions (`rounds`), with the training data after the last one. A round in which a
    server failed is the last one: the same command explores its questions again.
    """
    done = rundir.finished_ids(retry_statuses=RETRIED)
    now = begun_round(config, mixture, done)
    while True:
        part = mixture.first(mixture.count(config.n_sample, rounds=now))
        ids = [question.id for question in part]
        write_atomic(rundir.path / QUESTIONS, orjson.dumps(ids))
        failed = await _explore_all(config, part, rundir, runtime=runtime, err=err)
        made = _written(config, rundir.path)
        after = None if failed else next_round(config, mixture, now=now, rows=made.rows)
        note = rows_note(config, mixture, now=now, rows=made.rows, goes_on=after is not None)
        if note and not failed:
            err.print(Text(f"note: {note}"), soft_wrap=True)
        if after is None:
            return _Explored(ids, failed, made)
        now = after


async def _explore_all(
    config: ExploreConfig, mixture: Mixture, rundir: RunDir, *, runtime: Runtime, err: Console
) -> int:
    """Explore the questions that the run directory does not hold yet. Returns the number of failures."""
    done = rundir.finished_ids(retry_statuses=RETRIED)
    todo = [question for question in mixture if question.id not in done]
    progress = StepProgress(err, unit="trees", total=len(mixture), done=len(mixture) - len(todo))
    runtime.news.attach(
        on_note=lambda note: err.print(Text(f"note: {note}"), soft_wrap=True), on_wait=progress.note
    )
    failed = 0

    def on_row(row: Trajectory) -> None:
        nonlocal failed
        failed += row.status.retryable
        progress.advance()

    try:
        await run_all(
            todo,
            answer=lambda question: explore(question, config, runtime),
            in_flight=config.runtime.in_flight,
            rows=rundir.rows,
            on_row=on_row,
        )
    except ServerGoneError as error:
        raise resumable(error, config.run_name) from error
    finally:
        progress.stop()
    return failed


class _Made(NamedTuple):
    """The training data of a stage: its number of rows, its counts for the manifest, their table."""

    rows: int
    facts: dict[str, Any]
    show: Callable[[Console], None]


class _Explored(NamedTuple):
    """The ids of the questions of a run, how many failed at a server, and the training data."""

    ids: list[str]
    failed: int
    made: _Made


def _written(config: ExploreConfig, run_dir: Path) -> _Made:
    """Write the training data of the stage."""
    if config.stage == "imitation":
        done = imitate(run_dir, config.imitation)
        report = done.filter_report
        return _Made(report.total.kept, {"yield": report.as_dict()}, partial(print_finished, done))
    counts = make_pairs(run_dir, config.calibration)
    return _Made(counts.found.total(), {"pairs": counts.as_dict()}, partial(print_pairs, counts))


async def _opened(config: ExploreConfig, stack: AsyncExitStack, servers: Servers) -> Runtime:
    """The runtime. A server that does not answer is a `UserError` that names the start command."""
    opened = open_runtime(
        config.runtime,
        needs_reader=config.stage == "imitation",
        section="runtime.",
        servers=servers,
    )
    try:
        return await stack.enter_async_context(opened)
    except BoundaryError as error:
        raise UserError(
            f"a server does not answer: {error}; run 'bash deploy/status.sh' to see which servers run, and "
            "start them with the scripts in deploy/"
        ) from error


def questions_of(config: ExploreConfig, err: Console) -> Mixture:
    """The questions of all rounds in their order. Counts and notes go to `err`."""
    return mix_for_run(
        config.mix_config(),
        n_sample=config.n_sample,
        err=err,
        select=partial(_worth_exploring, config=config, err=err),
        rounds=config.max_rounds if config.min_rows else 1,
    )


def _worth_exploring(mixture: Mixture, *, config: ExploreConfig, err: Console) -> Mixture:
    """The questions that have an answer, and that a guess does not answer where Stage II leaves those out.
    Raises `UserError` where none is left.
    """
    drops = config.stage == "calibration" and config.calibration.guessable == "drop"
    kept: list[bytes] = []
    left_out: Counter[str] = Counter()
    for line, question in zip(mixture.lines, mixture, strict=True):
        if all(squad_normalize(gold) == NO_ANSWER for gold in question.answers):
            left_out["no path gives their answer, which is that there is none"] += 1
        elif drops and is_guessable(question.question, question.answers):
            left_out["a guess may answer them (calibration.guessable=drop)"] += 1
        else:
            kept.append(line)
    for reason, count in left_out.items():
        note = f"{count:,} of {len(mixture):,} questions are left out, as {reason}"
        err.print(Text(note), soft_wrap=True)
    if not kept:
        raise UserError(
            f"no question is left to explore ({'; '.join(left_out)}); add question sets"
            + (", or set calibration.guessable=keep" if drops else "")
        )
    return replace(mixture, lines=tuple(kept))


if __name__ == "__main__":
    run_main(main)
