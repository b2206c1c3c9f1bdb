"""Runs an app under uvicorn, with bounds on connections that uvicorn does not have.

uvicorn 0.54 under asyncio waits for ever for the first bytes of a connection and for the rest of a request's
head, and asyncio (Python 3.11) logs in a busy loop when no file is left for another connection. So this
server accepts connections itself. When `max_connections` are open, or as many as the limit of open files
leaves room for, those that have sent no whole request for the longest time make room for new ones; a few more
are accepted for `/health`; then new ones wait.
"""

from __future__ import annotations

import asyncio
import codecs
import heapq
import logging
import socket
import time
from enum import StrEnum
from typing import Any, NamedTuple

import uvicorn

from src_core.http_app import GuardedApp
from src_core.http_server import HttpOptions
from src_core.open_files import count_open_files, raise_open_files

LOG = logging.getLogger("src_core.http")
RESERVE = 32
SPARE_FILES = 16
ACCEPT_AT_ONCE = 64
OLD_SECONDS = 1.0
WAIT_SECONDS = 0.1
QUIET_SECONDS = 60.0
TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class State(StrEnum):
    """What a connection does."""

    WAITING = "waiting for a request"
    READING = "reading a body"
    BUSY = "answering"
    CLOSING = "closing"


class Watched(NamedTuple):
    """The state of a connection, the request that it is about, and since when it is in this state."""

    state: State
    request: object
    since: float


class NowAndThen(logging.Filter):
    """Lets each message of a kind pass once a minute: else whoever can cause a line could fill a disk."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[object, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this record is written."""
        if record.exc_info:
            return True
        now = time.monotonic()
        if now - self._last.get(record.msg, -QUIET_SECONDS) < QUIET_SECONDS:
            return False
        self._last[record.msg] = now
        return True


def serve_app(
    app: GuardedApp, listener: socket.socket, options: HttpOptions, *, grace_seconds: int
) -> uvicorn.Server:
    """The server of `app`; `run()` serves until SIGTERM or SIGINT, `serve()` is the same in a loop. Requests
    that are not answered `grace_seconds` after the signal are answered 503.
    """
    config = uvicorn.Config(
        app,
        http="h11",  # httptools, which uvicorn takes where it is installed, reads a head of any size
        access_log=False,
        lifespan="off",
        ws="none",
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=grace_seconds,
    )
    return BoundedServer(config, app, listener, options)


class BoundedServer(uvicorn.Server):
    """uvicorn with an `accept` of its own, and a look at all connections once a second."""

    def __init__(
        self, config: uvicorn.Config, app: GuardedApp, listener: socket.socket, options: HttpOptions
    ) -> None:
        super().__init__(config)
        self._guarded = app
        self._listener = listener
        self._options = options
        self._limit = options.max_connections
        self._arriving: set[asyncio.Task[None]] = set()
        self._watched: dict[Any, Watched] = {}
        self._ended = False
        self._once = NowAndThen()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept."""
        codecs.lookup("idna")  # imported at the first use otherwise, which fails for ever without a free file
        for logger in (LOG, logging.getLogger("uvicorn.error"), logging.getLogger("asyncio")):
            logger.addFilter(self._once)
        room = raise_open_files() - count_open_files() - RESERVE - SPARE_FILES
        self._limit = max(1, min(self._options.max_connections, room))
        if self._limit < self._options.max_connections:
            LOG.warning("the limit of open files leaves room for %d connections (ulimit -n)", self._limit)
        self._guarded.max_in_flight = self._limit
        await super().startup(sockets=sockets or [])
        self._listener.setblocking(False)
        self._resume()

    async def on_tick(self, counter: int) -> bool:
        """Every 0.1 s; each tenth time the connections are looked at."""
        if counter % 10 == 0:
            self._look()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, answer what is in flight."""
        self._ended = True
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self._guarded.close()
        await super().shutdown(sockets=sockets)
        for logger in (LOG, logging.getLogger("uvicorn.error"), logging.getLogger("asyncio")):
            logger.removeFilter(self._once)

    def _resume(self) -> None:
        if not self._ended:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _pause(self) -> None:
        """New connections wait in the queue of the system for a moment."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        loop.call_later(WAIT_SECONDS, self._resume)

    def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(ACCEPT_AT_ONCE):
            count = len(self.server_state.connections) + len(self._arriving)
            if count >= self._limit and not self._make_room() and count >= self._limit + RESERVE:
                LOG.warning("%d connections are open; new ones wait", count)
                self._pause()
                return
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                LOG.warning("cannot accept a connection (%s); new ones wait", error.strerror)
                self._make_room()
                self._pause()
                return
            connection.setblocking(False)
            arriving = loop.create_task(self._arrive(connection))
            self._arriving.add(arriving)
            arriving.add_done_callback(self._arriving.discard)

    async def _arrive(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, protocol = await loop.connect_accepted_socket(self._protocol, connection)
        except OSError:  # it was closed meanwhile
            connection.close()
            return
        if self._ended:  # `shutdown` did not see it
            protocol.shutdown()

    def _protocol(self) -> Any:
        make: Any = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def _make_room(self) -> bool:
        """Close the oldest connections without a request; if there are none, those whose request does not
        come to its end.
        """
        now = time.monotonic()
        for state in (State.CLOSING, State.WAITING, State.READING):
            old = [
                (watched.since, number, connection)
                for number, (connection, watched) in enumerate(self._watched.items())
                if watched.state is state
                and now - watched.since >= OLD_SECONDS
                and _state(connection) == (state, watched.request)
            ]
            oldest = heapq.nsmallest(RESERVE, old)
            for _, _, connection in oldest:
                del self._watched[connection]
                connection.transport.abort()
            if oldest:
                return True
        return False

    def _look(self) -> None:
        """Close connections that have been silent, or closing, for too long."""
        now = time.monotonic()
        watched = {}
        for connection in self.server_state.connections:
            state, request = _state(connection)
            before = self._watched.get(connection)
            same = before is not None and (before.state, before.request) == (state, request)
            since = before.since if before is not None and same else now
            watched[connection] = Watched(state, request, since)
            if state is State.WAITING and now - since >= self._options.header_seconds:
                connection.transport.write(TOO_LATE)
                connection.transport.close()
            elif state is State.CLOSING and now - since >= self._options.send_seconds:
                connection.transport.abort()
        self._watched = watched


def _state(connection: Any) -> tuple[State, object]:
    """Of uvicorn's protocol objects only these fields are used."""
    request = connection.cycle
    if connection.transport.is_closing():
        return State.CLOSING, request
    if request is None or request.response_complete:
        return State.WAITING, request
    return (State.READING if request.more_body else State.BUSY), request
