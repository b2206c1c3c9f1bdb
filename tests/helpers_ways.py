"""The ways of docs/architecture.md, and what is entered while one of them runs for real."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from helpers_llm import FakeLLM, Handler

PAGE = Path(__file__).resolve().parent.parent / "docs/architecture.md"
_CALL = re.compile(r"^\d+\. `(src_[\w.]+:[\w.]+)`", re.MULTILINE)


def ways() -> dict[str, list[str]]:
    """The numbered calls of the page, `module:function` or `module:Class.method`, by their heading."""
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {section.splitlines()[0]: _CALL.findall(section) for section in sections if section}
    return {heading: calls for heading, calls in found.items() if calls}


def way(beginning: str) -> list[str]:
    """The calls of the one section whose heading begins so."""
    (calls,) = [calls for heading, calls in ways().items() if heading.startswith(beginning)]
    return calls


def returns(calls: Sequence[str]) -> int:
    """How often a way comes back to a module that it has left."""
    modules = [call.partition(":")[0] for call in calls]
    left: set[str] = set()
    count = 0
    for now, then in pairwise(modules):
        if then != now:
            left.add(now)
            count += then in left
    return count


class Entered:
    """Notes when each of `calls` is first entered, in any thread that starts while it watches.

    A method counts for every subclass; a function counts when it or a function inside it runs.
    """

    def __init__(self, calls: Sequence[str]) -> None:
        self._functions: dict[CodeType, str] = {}
        self._inside: dict[tuple[str, str], str] = {}
        self._methods: dict[str, list[tuple[type[Any], str]]] = {}
        self._first: dict[str, None] = {}
        for call in calls:
            self._add(call)

    def _add(self, call: str) -> None:
        module, _, name = call.partition(":")
        owner, _, method = name.partition(".")
        found = getattr(importlib.import_module(module), owner)
        if method:
            assert callable(getattr(found, method)), call
            self._methods.setdefault(method, []).append((found, call))
        else:
            code = inspect.unwrap(found).__code__
            self._functions[code] = call
            self._inside[code.co_filename, owner] = call

    @property
    def order(self) -> list[str]:
        """The calls, by their first entry."""
        return list(self._first)

    def forget(self) -> None:
        """Begin anew."""
        self._first.clear()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """The profile function."""
        if event != "call":
            return
        code = frame.f_code
        call = self._functions.get(code)
        if call is None and ".<locals>." in code.co_qualname:
            call = self._inside.get((code.co_filename, code.co_qualname.partition(".")[0]))
        if call is None and code.co_name in self._methods:
            self_of_frame = frame.f_locals.get("self")
            call = next(
                (one for kind, one in self._methods[code.co_name] if isinstance(self_of_frame, kind)), None
            )
        if call is not None:
            self._first.setdefault(call)


@contextmanager
def watched(calls: Sequence[str]) -> Iterator[Entered]:
    """Watch this thread and those that start inside the block."""
    entered = Entered(calls)
    threading.setprofile(entered)
    sys.setprofile(entered)
    try:
        yield entered
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # as documented


@contextmanager
def llm_in_a_thread(handler: Handler) -> Iterator[str]:
    """The URL of a fake LLM server that answers while this thread does something else."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = FakeLLM(handler)
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
        yield server.url
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
