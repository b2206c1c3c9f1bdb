"""Answers the questions of a run: those that its directory does not hold yet, each by the run's method."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

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
from src_infer.show import gone_line
from src_tasks.choices import asked_text


async def answer_all(
    questions: Sequence[Question],
    rundir: RunDir,
    config: InferConfig,
    *,
    method: Method,
    runtime: Runtime,
    err: Console,
) -> list[Trajectory]:
    """Answer the questions that the run directory does not hold yet. Returns all trajectories, in the order
    of the questions. Raises `UserError` where a server is gone for good.
    """
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
        await run_all(
            todo,
            answer=partial(_answer, method=method, runtime=runtime),
            in_flight=config.in_flight,
            rows=rundir.rows,
            on_row=lambda _: progress.advance(),
        )
    except ServerGoneError as error:
        raise resumable(error, config.run_name) from error
    finally:
        progress.stop()
    with rundir.rows.open("rb") as rows:
        by_id = {row.question.id: row for row in map(trajectory_from_json, rows)}
    return [by_id[question.id] for question in questions if question.id in by_id]


async def _answer(question: Question, *, method: Method, runtime: Runtime) -> Trajectory:
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
