"""Entry points in processes of their own, forked from one that has imported them: a start costs milliseconds,
where `python -m` spends most of a second on imports. What runs is the module's own `main`, with its own file
descriptors, so that it can be killed, interrupted and starved of disk.
"""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from src_core.errors import run_main

ROOT = Path(__file__).resolve().parent.parent
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["src_infer.run", "src_data.run"])


class Run:
    """`python -m MODULE ARGUMENTS` in the repository. `environment` is added to this process's own; no file
    can grow beyond `file_bytes`.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        file_bytes: int | None = None,
    ) -> None:
        self._out, out = _FORKS.Pipe(duplex=False)
        self._err, err = _FORKS.Pipe(duplex=False)
        variables = {**os.environ, **(environment or {})}
        self._process = _FORKS.Process(
            target=_run, args=(module, list(arguments), variables, file_bytes, out, err), daemon=True
        )
        self._process.start()
        out.close()
        err.close()

    @property
    def returncode(self) -> int | None:
        """The exit status, minus the signal that ended it, None while it runs."""
        return self._process.exitcode

    def kill(self) -> None:
        """As `kill -9`."""
        self._process.kill()

    def send_signal(self, number: int) -> None:
        """As `kill`."""
        os.kill(self._process.pid or 0, number)

    async def communicate(self) -> tuple[bytes, bytes]:
        """Wait until it ends; what it wrote to stdout and stderr."""
        out, err = await asyncio.gather(*(asyncio.to_thread(_read, end) for end in (self._out, self._err)))
        await asyncio.to_thread(self._process.join)
        return out, err


def finished(
    module: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A run from its start to its end."""
    run = Run(module, arguments, environment=environment)
    out, err = asyncio.run(asyncio.wait_for(run.communicate(), 60))
    return subprocess.CompletedProcess([], run.returncode or 0, out.decode(), err.decode())


def _run(
    module: str,
    arguments: list[str],
    variables: dict[str, str],
    file_bytes: int | None,
    out: Connection,
    err: Connection,
) -> None:
    for number, end in enumerate((out, err), start=1):
        os.dup2(end.fileno(), number)
        end.close()
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(variables)
    if file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    sys.argv = [module, *arguments]
    run_main(importlib.import_module(module).main)


def _read(end: Connection) -> bytes:
    with os.fdopen(os.dup(end.fileno()), "rb") as stream:
        end.close()
        return stream.read()
