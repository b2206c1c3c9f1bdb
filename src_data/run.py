"""Build training data: `python -m src_data.run src_data/data_config.yaml [key=value …]` (called by `bash
data_construct.sh`).

With `--check` it only reports errors in the settings, the question files or the run directory. Stages: mix
the questions, construct the missing trajectories, filter, export, report. All files are in
`runs/<run_name>/`.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import orjson
from rich.console import Console
from rich.text import Text

from src_core.caller import named_run
from src_core.config import dump
from src_core.console import Terminal
from src_core.errors import BoundaryError, ServerGoneError, UserError, run_main
from src_core.jsonl import read_jsonl, write_atomic
from src_core.progress import Begun, StepProgress
from src_core.rundir import QUESTION_IDS, QUESTIONS, RunDir, failure_counts, was_used
from src_core.runfolder import run_folder
from src_core.served import Servers
from src_core.server_news import resumable
from src_core.terminal import answer
from src_core.types import Trajectory
from src_data.config import BuildConfig, DataConfig, load_data_config
from src_data.construction.build import open_construction
from src_data.construction.construct import chain_key, construct
from src_data.construction.step_counter import StepCounter
from src_data.filters.filter_report import FilterReport
from src_data.postprocess import finish_run, print_finished
from src_data.sampling.mixture import Mixture, mix_for_run
from src_data.teachers import Teacher
from src_infer.own_servers import check_own_servers
from src_infer.prompts import pinned_digest
from src_infer.runtime import Runtime, make_protocol
from src_infer.shards import merge_shards
from src_infer.show import failure_lines, report_console

CHECK = "--check"
NO_LLM = "servers: retriever"
"""The line that `--check` prints where no LLM is needed; data_construct.sh then starts none."""


class Prepared(NamedTuple):
    """A run whose inputs are checked."""

    config: DataConfig
    mixture: Mixture
    folder: Path


class Construction(NamedTuple):
    """The result of construction: trajectories with a boundary error, and values for the manifest."""

    failed: int
    how: dict[str, Any]


class Maker(Protocol):
    """Constructs the trajectories that the run directory does not hold yet."""

    async def __call__(
        self,
        config: DataConfig,
        mixture: Mixture,
        rundir: RunDir,
        *,
        teacher: Teacher,
        runtime: Runtime,
        err: Console,
    ) -> Construction:
        """Append them to the rows of `rundir`."""


def main() -> int:
    """Construct trajectories in this process."""
    return run_from(sys.argv[1:], maker=make_chains)


def run_from(arguments: list[str], *, maker: Maker) -> int:
    """Read the command line, build, report. Exit status 1 when a trajectory has a boundary error."""
    given = [argument for argument in arguments if argument != CHECK]
    if not given or "=" in given[0]:
        raise UserError(f"usage: .venv/bin/python -m src_data.run CONFIG.yaml [{CHECK}] [key=value ...]")
    config, notes = load_data_config(Path(given[0]), given[1:])
    err = Terminal(stderr=True)
    if CHECK in arguments:
        prepare(config)
        if config.build_conv.needs_llm():
            asyncio.run(check_own_servers(config.build_conv.runtime))
        answer("servers: retriever and LLM" if config.build_conv.needs_llm() else NO_LLM)
        return 0
    build = config.build_conv
    if build.teacher == "decomposition":
        reader = build.runtime.reader.model or f"the model at {build.runtime.reader.url}"
        who = f"{reader} still reads the passages" if build.needs_reader() else "no LLM is needed"
        notes.append(f"the annotations of the questions write the thoughts; {who}")
    for note in notes:
        err.print(Text(f"note: {note}"), soft_wrap=True)
    prepared = prepare(config, err)
    try:
        return asyncio.run(run(prepared, err, report_console(), maker=maker))
    except KeyboardInterrupt as stopped:
        raise KeyboardInterrupt(named_run(config.run_name)) from stopped


def prepare(config: DataConfig, err: Console | None = None) -> Prepared:
    """All checks that need no server and write no file. Raises `UserError`."""
    config = replace(config, prompts_digest=pinned_digest(config.prompts_digest))
    make_protocol(config.build_conv.runtime)
    folder = run_folder(config.runs_dir, config.run_name)
    was_used(folder, config=dump(config), on_existing=config.on_existing)
    return Prepared(config, mixed_questions(config.build_conv, err), folder)


async def make_chains(
    config: DataConfig,
    mixture: Mixture,
    rundir: RunDir,
    *,
    teacher: Teacher,
    runtime: Runtime,
    err: Console,
) -> Construction:
    """Construct the missing trajectories, all in this process (a `Maker`)."""
    build = config.build_conv
    progress = StepProgress(err, unit="chains", total=len(mixture) * build.n_chains)
    runtime.news.attach(
        on_note=lambda note: err.print(Text(f"note: {note}"), soft_wrap=True), on_wait=progress.note
    )
    failed = 0

    def on_row(row: Trajectory | None) -> None:
        nonlocal failed
        if row is None:
            progress.skip()
            return
        failed += row.status.retryable
        progress.advance()

    try:
        await construct(
            mixture,
            teacher=teacher,
            runtime=StepCounter(progress).watch(runtime),
            rundir=rundir,
            n_chains=build.n_chains,
            in_flight=build.runtime.in_flight,
            on_row=on_row,
            until_right=build.until_right,
        )
    except ServerGoneError as error:
        raise resumable(error, config.run_name) from error
    finally:
        progress.stop()
    return Construction(failed, {})


async def run(prepared: Prepared, err: Console, out: Console, *, maker: Maker = make_chains) -> int:
    """One run from question sets to conversations."""
    config, mixture, folder = prepared
    async with AsyncExitStack() as stack:
        servers = Servers(strict=config.on_existing != "resume_anyway")
        teacher, runtime = await _opened(config.build_conv, stack, servers)
        rundir = RunDir(folder, config=dump(config), on_existing=config.on_existing, servers=servers)
        try:
            begun = Begun.now()
            write_atomic(rundir.path / "mixture.json", mixture.report.json())
            ids = [question.id for question in mixture]
            write_atomic(rundir.path / QUESTIONS, orjson.dumps(ids))
            merge_shards(rundir, key=chain_key)  # from an interrupted Ray job (`ray_job`)
            construction = await maker(config, mixture, rundir, teacher=teacher, runtime=runtime, err=err)
            done = finish_run(
                rundir.path,
                clean=config.clean_conv,
                export=config.export,
                protocol=runtime.policy.protocol,
            )
            summary = _manifest(config, done.filter_report, teacher=teacher, runtime=runtime, servers=servers)
            rundir.write_manifest({**summary, **begun.facts(), **construction.how, QUESTION_IDS: ids})
            failures = failure_counts(read_jsonl(rundir.rows)) if construction.failed else {}
        finally:
            rundir.close()
    print_finished(done, out)
    for line in failure_lines(failures):
        out.print(line, soft_wrap=True)
    return int(construction.failed > 0)


def mixed_questions(config: BuildConfig, err: Console | None = None) -> Mixture:
    """The questions of the run: all sources mixed, the first `n_sample` of them. The counts go to `err`."""
    return mix_for_run(config.mix_config(), n_sample=config.n_sample, err=err)


async def _opened(config: BuildConfig, stack: AsyncExitStack, servers: Servers) -> tuple[Teacher, Runtime]:
    """Teacher and runtime. A server that does not answer is a `UserError` that names the start command."""
    try:
        return await stack.enter_async_context(open_construction(config, servers=servers))
    except BoundaryError as error:
        raise UserError(
            f"a server does not answer: {error}; run 'bash deploy/status.sh' to see which servers run; start "
            "them with deploy/deploy_rag_engine.sh and deploy/deploy_async.sh, or take PROFILE=cpu"
        ) from error


def _manifest(
    config: DataConfig, filter_report: FilterReport, *, teacher: Teacher, runtime: Runtime, servers: Servers
) -> dict[str, Any]:
    return {
        "config": dump(config),
        "index": runtime.identity,
        "teacher": teacher.name,
        "models": servers.model_names(),
        "servers": servers.records,
        "yield": filter_report.as_dict(),
    }


if __name__ == "__main__":
    run_main(main)
