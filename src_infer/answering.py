"""Answers the questions of a run: those that its directory does not hold yet, each by the run's method, in
this process or by an `Answerer` of another module.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import orjson
from rich.console import Console
from rich.text import Text

from src_core.caller import seen
from src_core.errors import BoundaryError, ServerGoneError
from src_core.progress import StepProgress
from src_core.rundir import RunDir
from src_core.server_news import resumable
from src_core.types import RETRIED, Question, Trajectory, to_json, trajectory_from_json
from src_infer.config import InferConfig
from src_infer.episode import failure_status
from src_infer.metering import metered, with_all_searches, with_web_searches
from src_infer.methods import Method
from src_infer.runner import run_all
from src_infer.runtime import Runtime
from src_infer.shards import merge_shards
from src_infer.show import gone_line
from src_tasks.choices import asked_text


class Answers(NamedTuple):
    """All trajectories of a run in the order of its questions, and values for its manifest."""

    rows: list[Trajectory]
    how: dict[str, Any]


class Answerer(Protocol):
    """Answers questions that the run directory does not hold yet."""

    async def __call__(
        self,
        todo: Sequence[Question],
        rundir: RunDir,
        config: InferConfig,
        *,
        method: Method,
        runtime: Runtime,
        progress: StepProgress,
    ) -> dict[str, Any]:
        """Append their rows to those of `rundir`. Returns values for the manifest."""


async def answer_here(
    todo: Sequence[Question],
    rundir: RunDir,
    config: InferConfig,
    *,
    method: Method,
    runtime: Runtime,
    progress: StepProgress,
) -> dict[str, Any]:
    """All questions in this process (an `Answerer`)."""
    await run_all(
        todo,
        answer=partial(answer_one, method=method, runtime=runtime),
        in_flight=config.in_flight,
        rows=rundir.rows,
        on_row=lambda _: progress.advance(),
    )
    return {}


async def answer_all(
    questions: Sequence[Question],
    rundir: RunDir,
    config: InferConfig,
    *,
    method: Method,
    runtime: Runtime,
    err: Console,
    answerer: Answerer = answer_here,
) -> Answers:
    """Answer the questions that the run directory does not hold yet. Raises `UserError` where a server is
    gone for good.
    """
    merge_shards(rundir)  # from an interrupted Ray job (`ray_job`)
    before = rundir.finished_ids(retry_statuses=RETRIED)
    gone = rundir.take_questions({question.id: orjson.loads(to_json(question)) for question in questions})
    if gone:
        err.print(gone_line(gone), soft_wrap=True)
    todo = [question for question in questions if question.id not in before]
    if len(todo) < len(questions):
        done = f"{len(questions) - len(todo)} of {len(questions)} are done"
        err.print(Text(f"resuming {seen(rundir.path)}: {done}"), soft_wrap=True)
    progress = StepProgress(err, unit="questions", total=len(questions), done=len(questions) - len(todo))
    runtime.news.attach(
        on_note=lambda note: err.print(Text(f"note: {note}"), soft_wrap=True), on_wait=progress.note
    )
    try:
        how = await answerer(todo, rundir, config, method=method, runtime=runtime, progress=progress)
    except ServerGoneError as error:
        raise resumable(error, config.run_name) from error
    finally:
        progress.stop()
    with rundir.rows.open("rb") as rows:
        by_id = {row.question.id: row for row in map(trajectory_from_json, rows)}
    return Answers([by_id[question.id] for question in questions if question.id in by_id], how)


async def answer_one(question: Question, *, method: Method, runtime: Runtime) -> Trajectory:
    """One question, with its cost; a failed call to a server is a row with its error."""
    begun = time.monotonic()
    with metered() as meter:
        try:
            row = await method.answer(replace(question, question=asked_text(question)), runtime)
        except BoundaryError as error:
            row = Trajectory(question, (), "", failure_status(error), error=str(error))
    seconds = time.monotonic() - begun
    row = replace(row, question=question, usage=meter.usage, seconds=seconds)
    return with_web_searches(with_all_searches(row, meter.searches), meter)
