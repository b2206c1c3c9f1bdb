"""What servers say that a person should see while a run goes on: notes, and the waits that they ask for.

The clients of a run share one `ServerNews`; whoever shows progress attaches to it. A server that refuses all
connections ends the run (`gone`).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from src_core.caller import named_run, seen
from src_core.errors import BoundaryError, ServerGoneError, UserError
from src_core.server_url import addresses
from src_core.terminal import one_line, say

SAID = "REARAG_NOTES_SAID"
"""The variable that names a file of notes: those in it were shown by another run of the same command, and are
not shown again (`src_eval.run`).
"""

Show = Callable[[str], None]
RETRIES_EVERY = 10.0
"""Seconds between two lines about failed tries at one server: with many calls in flight each would say so."""
FAILED_CALLS, FAILED_SECONDS = 5, 60.0
"""A server ends the run after so many failed calls in a row, each with all its tries, over at least so many
seconds. A call with its tries waits 7.5 s by the defaults (`http_json.RetryPolicy`). Chosen, not measured:
calls in flight that failed together in one short outage do not end the run, and a server that stays broken
does not turn a night of questions into failed rows.
"""


class ServerNews:
    """Notes are kept until `attach`. The text for the progress line is "" while no server is waited for."""

    def __init__(self) -> None:
        self._notes: list[str] = []
        self._said: set[str] = set()
        self._until: dict[str, float] = {}
        self._retries_shown: dict[str, float] = {}
        self._on_note: Show | None = None
        self._on_wait: Show | None = None

    def attach(self, *, on_note: Show, on_wait: Show) -> None:
        """Show the notes so far and all further ones with `on_note`, waits with `on_wait`."""
        self._on_note, self._on_wait = on_note, on_wait
        for note in self._notes:
            on_note(note)
        self._notes.clear()

    def note(self, text: str) -> None:
        """One line that a person should read, unless another run of the same command showed it."""
        if _shown_before(text):
            return
        if self._on_note:
            self._on_note(text)
        else:
            self._notes.append(text)

    def note_once(self, text: str) -> None:
        """As `note`, for what many questions find out."""
        if text not in self._said:
            self._said.add(text)
            self.note(text)

    def retrying(self, url: str, *, reason: str, attempt: int, of: int) -> None:
        """A try at the server at `url` failed, and `attempt` follows: said at once, also before `attach`, but
        not for each of many calls.
        """
        now, server = time.monotonic(), _address(url)
        if now - self._retries_shown.get(server, -RETRIES_EVERY) < RETRIES_EVERY:
            return
        self._retries_shown[server] = now
        text = f"{reason}; trying again ({attempt} of {of})"
        if self._on_note:
            self._on_note(text)
        else:
            say(f"note: {one_line(text)}")

    def left_out(self, url: str, *, reason: str, others: int) -> None:
        """A server failed whose work `others` take over, until it answers again."""
        which = "the other server" if others == 1 else f"the {others} other servers"
        self.note_once(f"{reason}; its requests go to {which}, and {_address(url)} is tried again later")

    def is_back(self, url: str) -> None:
        """A server that was left out answers again; of many times the first one is said."""
        self.note_once(f"{_address(url)} answers again")

    async def wait(self, seconds: float, url: str) -> None:
        """Wait as long as the server at `url` asked to."""
        server = _address(url)
        until = time.monotonic() + seconds
        self._until[server] = max(until, self._until.get(server, 0.0))
        try:
            while (left := until - time.monotonic()) > 0:
                self._show()
                await asyncio.sleep(min(left, 1.0))
        finally:
            if self._until.get(server, 0.0) <= until:
                self._until.pop(server, None)
            self._show()

    def _show(self) -> None:
        if self._on_wait:
            now = time.monotonic()
            waits = [f"{max(until - now, 0):.0f} s for {url}" for url, until in self._until.items()]
            self._on_wait(f"waiting {', '.join(waits)}" if waits else "")


def _shown_before(text: str) -> bool:
    """Whether the file of `SAID` has this note; it is added where it has not."""
    if not os.environ.get(SAID):
        return False
    file, line = Path(os.environ[SAID]), one_line(text)
    if file.is_file() and line in file.read_text(encoding="utf-8", errors="replace").split("\n"):
        return True
    with file.open("a", encoding="utf-8") as notes:
        notes.write(f"{line}\n")
    return False


def gone(url: str, *, refused: int, reason: str) -> ServerGoneError:
    """The error for a server at `url`, or several (`JsonHttp.url`), that answered before and refused the last
    connections.
    """
    record = _record_of(url)
    logs = os.environ.get("LOG_DIR", "logs")
    if record:
        where = f"its log is {seen(f'{logs}/{record.stem}.log')}; "
    else:
        where = f"if a script here started it, its log is in {seen(logs)}/; "
    advice = f"{_again(record)}run the same command again to resume"
    return ServerGoneError(
        f"the server at {url} died: it answered before, and the last {refused} tries ended with 'Cannot "
        f"connect' ({reason}); {where}{advice}"
    )


def resumable(error: ServerGoneError, run_name: str) -> UserError:
    """The error of a run whose server died, with the name under which it goes on."""
    advice = f"with {named_run(run_name)}"
    return UserError(f"{error}, {advice}")


class Failures:
    """The calls of one server that failed in a row, each with all its tries."""

    def __init__(self) -> None:
        self._calls = 0
        self._since = 0.0

    def succeeded(self) -> None:
        """A call succeeded."""
        self._calls = 0

    def failed(self, url: str, error: BoundaryError) -> None:
        """A call failed. Raises `ServerGoneError` where the server is not worth asking more."""
        now = time.monotonic()
        if not self._calls:
            self._since = now
        self._calls += 1
        if self._calls >= FAILED_CALLS and now - self._since >= FAILED_SECONDS:
            raise ServerGoneError(
                f"the server at {url} failed all of the last {self._calls} calls in "
                f"{now - self._since:.0f} s, each with all its tries (the last: {error}); see its log, "
                f"{_again(_record_of(url))}run the same command again to resume"
            ) from error


def _record_of(url: str) -> Path | None:
    """The record of the server that a script in `deploy/` started on this port, None where none did."""
    ports = {str(urlsplit(each).port or "") for each in addresses(url)}
    for record in sorted(Path(os.environ.get("STATE_DIR", "deploy/state")).glob("*.pid")):
        lines = record.read_text(encoding="utf-8", errors="replace").splitlines()
        if len(lines) > 3 and lines[3] in ports:  # PID, birth, host, port, settings (deploy/lib.sh)
            return record
    return None


def _again(record: Path | None) -> str:
    """What a person does before the same command: nothing where that command is a script that starts the
    server itself, which is then among the server's users by its PID (deploy/users.sh).
    """
    users = record.with_suffix(".users").glob("[0-9]*") if record else ()
    return "" if any(users) else "start it again, then "


def _address(url: str) -> str:
    """Host and port of a URL, without a login in it."""
    return urlsplit(url).netloc.rpartition("@")[2]
