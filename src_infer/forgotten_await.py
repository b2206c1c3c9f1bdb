"""A call of the runtime whose `await` was forgotten: Python itself warns late, at another line, and a text
made of such a call is sent to a model as `<coroutine object …>`.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Call(NamedTuple):
    """A call that returned a coroutine, with its name and the place of the caller."""

    coroutine: Coroutine[Any, Any, Any]
    name: str
    file: Path
    line: int


@dataclass(slots=True)
class Calls:
    """The calls of one question."""

    made: list[Call] = field(default_factory=list)

    def forgotten(self) -> Call | None:
        """The first call that was never awaited; those that a task is about to run are not among them. None
        of them is then complained about by Python.
        """
        waiting = {task.get_coro() for task in asyncio.all_tasks()}
        found = [
            call
            for call in self.made
            if inspect.getcoroutinestate(call.coroutine) == inspect.CORO_CREATED
            and call.coroutine not in waiting
        ]
        for call in found:
            call.coroutine.close()
        return found[0] if found else None


_CALLS: ContextVar[Calls | None] = ContextVar("calls", default=None)


@contextmanager
def noting_calls() -> Iterator[Calls]:
    """Notes all calls inside of what is `awaited`."""
    calls = Calls()
    token = _CALLS.set(calls)
    try:
        yield calls
    finally:
        _CALLS.reset(token)


def awaited(
    name: str,
) -> Callable[[Callable[Given, Coroutine[Any, Any, Result]]], Callable[Given, Coroutine[Any, Any, Result]]]:
    """For a coroutine function that methods call as `name`: each of its calls is noted where a method of a
    user runs.
    """

    def noted(
        function: Callable[Given, Coroutine[Any, Any, Result]],
    ) -> Callable[Given, Coroutine[Any, Any, Result]]:
        @wraps(function)
        def call(*arguments: Given.args, **more: Given.kwargs) -> Coroutine[Any, Any, Result]:
            coroutine = function(*arguments, **more)
            calls = _CALLS.get()
            if calls is not None:
                caller = sys._getframe(1)
                calls.made.append(Call(coroutine, name, Path(caller.f_code.co_filename), caller.f_lineno))
            return coroutine

        return call

    return noted
