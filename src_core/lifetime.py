"""Processes that end together: a child ends with the process that started it, whatever ends that one, and
SIGTERM ends a command as Ctrl-C does.

A starter passes `REARAG_OWNER`, its PID and its birth, to its children (`owned_environment`; deploy/users.sh
does the same for scripts). The child watches that process from its first moment on, so that a starter that
died before is noticed too.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

from src_core.terminal import say

OWNER = "REARAG_OWNER"
INTERRUPTED = (130, 143)
"""The exit status after Ctrl-C, and after SIGTERM."""
_EVERY = 0.5
_GRACE = 30.0
_terminated = threading.Event()


def watch_owner() -> None:
    """End this process as by SIGTERM once its owner, if it has one, has ended."""
    pid, _, born = os.environ.get(OWNER, "").partition(" ")
    if pid.isdigit():
        threading.Thread(target=_watch, args=(int(pid), born), name="watch of the owner", daemon=True).start()


def end_on_sigterm() -> None:
    """Let SIGTERM interrupt the command as Ctrl-C does: finished rows are written, nothing else is. A command
    that a script started with `&` ignores SIGINT, which would swallow SIGTERM too.
    """
    if threading.current_thread() is threading.main_thread():
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, _on_sigterm)


def was_terminated() -> bool:
    """Whether SIGTERM has come."""
    return _terminated.is_set()


def owned_environment() -> dict[str, str]:
    """The environment of a child that ends with this process."""
    return {**os.environ, OWNER: f"{os.getpid()} {birth(os.getpid())}"}


def run_child(
    command: Sequence[str],
    *,
    stdout: IO[bytes] | int | None = None,
    variables: Mapping[str, str] | None = None,
) -> int:
    """Run a command of this project to its end, with `variables` added to its environment. Returns its exit
    status. When this process is interrupted or terminated, the child is too, and has the time to write its
    finished rows.
    """
    with subprocess.Popen(command, stdout=stdout, env=owned_environment() | dict(variables or {})) as child:
        try:
            return child.wait()
        except KeyboardInterrupt:
            _end(child)
            raise


def birth(pid: int) -> str:
    """When a process started, "" for one that has ended: a PID that is used again has another birth. Empty
    where the system has no /proc.
    """
    try:
        fields = (
            Path(f"/proc/{pid}/stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(") ")[2]
            .split()
        )
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _watch(pid: int, born: str) -> None:
    while _is_alive(pid, born):
        _wait(pid)
    os.kill(os.getpid(), signal.SIGTERM)


def _is_alive(pid: int, born: str) -> bool:
    if born:
        return birth(pid) == born
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _wait(pid: int) -> None:
    """Until the process ends, where the system can tell, at most for a short time."""
    try:
        handle = os.pidfd_open(pid)
    except (AttributeError, OSError):
        time.sleep(_EVERY)
        return
    try:
        ends = select.poll()
        ends.register(handle, select.POLLIN)
        ends.poll(60_000)
    finally:
        os.close(handle)


def _on_sigterm(_: int, __: FrameType | None) -> None:
    """Raise SIGINT once: inside asyncio a second one would cut off what the first one lets end."""
    if not _terminated.is_set():
        _terminated.set()
        signal.raise_signal(signal.SIGINT)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ctrl-C reaches the child of a terminal as well: it gets a moment, then SIGTERM, at last SIGKILL."""
    for number, seconds in ((None, 0.0 if was_terminated() else 2.0), (signal.SIGTERM, _GRACE)):
        if number is not None:
            child.send_signal(number)
        try:
            child.wait(seconds)
            return
        except subprocess.TimeoutExpired:
            continue
    say(f"note: PID {child.pid} did not end within {_GRACE:.0f} s and is killed")
    child.kill()
