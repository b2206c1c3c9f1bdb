"""The runs in flight: bounded in number and time, each a task that reports what happens as events.

The loop is that of `src_infer`: a run builds its tools, hands the runtime two hooks, and calls the method. A
stop, a visitor who left and the deadline all cancel its task, and with it the requests that it has open; its
last event says how it ended.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from src_core.errors import BoundaryError, UserError
from src_core.http_server import RequestError
from src_core.replicas import one_piece_of_work
from src_core.types import Question, Step, Trajectory, question_id
from src_demo.config import DemoConfig
from src_demo.servers import ServerWatch, without_secrets
from src_demo.wire import Event, RunRequest, answer_event, draft_event, error_event, step_event
from src_infer.episode import failure_status
from src_infer.methods import Method, load_method
from src_infer.runtime import open_runtime

LOG = logging.getLogger("src_demo")

QUIET = Event("quiet", {})

Emit = Callable[[Event], None]


def settings_of(config: DemoConfig, method: str) -> dict[str, Any] | None:
    """The configured method's settings; None for another method, which runs with its defaults."""
    return config.method_settings if method == config.method else None


def settings_problem(method: Method) -> str:
    """Why no question can be answered with the settings of a method, "" when one can."""
    try:
        method.require_settings()
    except UserError as error:
        return str(error)
    return ""


class Run:
    """One run and its events."""

    def __init__(
        self, wanted: RunRequest, work: Callable[[Emit], Awaitable[None]], *, seconds: float
    ) -> None:
        self.id = secrets.token_urlsafe(12)
        self._wanted, self._begun = wanted, time.monotonic()
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._stopping = False
        self._task = asyncio.create_task(self._bounded(work, seconds))
        self._task.add_done_callback(self._ended)

    @property
    def done(self) -> bool:
        """Whether it has ended, so that another may begin."""
        return self._task.done()

    def facts(self) -> dict[str, Any]:
        """Its id, what was asked for, and the seconds since it began."""
        seconds = time.monotonic() - self._begun
        return {"id": self.id, **self._wanted._asdict(), "seconds": round(seconds, 1)}

    def stop(self) -> None:
        """End it now; the second time does nothing, so that its connections are closed undisturbed."""
        if not self._stopping:
            self._stopping = True
            self._task.cancel()

    async def next_event(self, patience: float) -> Event | None:
        """The next event, None after the end, `QUIET` when none came for `patience` seconds."""
        try:
            async with asyncio.timeout(patience):
                return await self._events.get()
        except TimeoutError:
            return QUIET

    async def _bounded(self, work: Callable[[Emit], Awaitable[None]], seconds: float) -> None:
        emit = self._events.put_nowait
        try:
            async with asyncio.timeout(seconds) as limit:
                await work(emit)
        except TimeoutError:
            if not limit.expired():
                raise
            emit(
                error_event(
                    f"The run was ended after {seconds:.0f} s; ask for fewer steps, or raise run_seconds."
                )
            )

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self._events.put_nowait(Event("stopped", {}))
        elif error := task.exception():
            LOG.error("a run failed", exc_info=error)
            self._events.put_nowait(
                error_event("The run failed by an error in this server; see logs/demo.log.")
            )
        self._events.put_nowait(None)


class Runs:
    """All runs of the server."""

    def __init__(self, config: DemoConfig, *, watch: ServerWatch, token: str | None) -> None:
        self._config = config
        self._watch = watch
        self._token = token
        self._runs: dict[str, Run] = {}

    @property
    def in_flight(self) -> int:
        """How many have not ended."""
        return sum(not run.done for run in self._runs.values())

    def listed(self) -> list[dict[str, Any]]:
        """The runs that have not ended, the oldest first."""
        return [run.facts() for run in self._runs.values() if not run.done]

    def start(self, wanted: RunRequest) -> Run:
        """Begin one. Raises `RequestError` 429 when too many are in flight."""
        self._runs = {key: run for key, run in self._runs.items() if not run.done}
        serving = self._config.serving
        if len(self._runs) >= serving.max_runs:
            detail = (
                f"{serving.max_runs} questions are being answered already; wait for one to end, or stop one"
            )
            raise RequestError(429, "too many runs", detail)
        run = Run(wanted, lambda emit: self._work(wanted, emit), seconds=serving.run_seconds)
        self._runs[run.id] = run
        return run

    def stop(self, run_id: str) -> None:
        """End one; one that has ended or was never there is a `RequestError` 404."""
        run = self._runs.get(run_id)
        if run is None or run.done:
            raise RequestError(404, "not found", "that run has ended already; start another")
        run.stop()

    async def _work(self, wanted: RunRequest, emit: Emit) -> None:
        method = load_method(wanted.method, settings_of(self._config, wanted.method))
        problems = await self._watch.problems(needs_search=method.needs_search)
        if sentence := settings_problem(method) or problems:
            emit(error_event(f"{sentence.rstrip('.')}."))
            return
        question = Question(question_id(wanted.question, ()), wanted.question)
        try:
            trajectory = await self._answer(question, wanted, method=method, emit=emit)
        except UserError as error:
            emit(error_event(f"{error}."))
            return
        if not trajectory.status.retryable:
            emit(answer_event(trajectory))
            return
        reason = without_secrets(trajectory.error or "no reason was given", self._token)
        problems = await self._watch.problems(needs_search=method.needs_search)
        emit(error_event(problems or f"A server failed: {reason}", replace(trajectory, error=reason)))

    async def _answer(
        self, question: Question, wanted: RunRequest, *, method: Method, emit: Emit
    ) -> Trajectory:
        """One question by one method; a boundary error is a trajectory with what was gathered until then."""
        steps: list[Step] = []

        def on_step(_: Question, step: Step) -> None:
            steps.append(step)
            emit(step_event(step))

        limits = replace(self._config.limits, t_max=wanted.t_max)
        settings = replace(self._config, method=wanted.method, top_k=wanted.top_k, limits=limits)
        try:
            async with open_runtime(
                settings,
                settings=method.settings,
                abstain=settings.abstain,
                on_step=on_step,
                on_draft=lambda _, step: emit(draft_event(step)),
                needs_search=method.needs_search,
            ) as runtime:
                emit(Event("models", {"models": runtime.model_names()}))
                with one_piece_of_work():
                    return await method.answer(question, runtime)
        except BoundaryError as error:
            return Trajectory(question, tuple(steps), "", failure_status(error), error=str(error))
