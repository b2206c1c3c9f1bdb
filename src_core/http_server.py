"""What our HTTP servers share: the error of a bad request, and a listening socket."""

from __future__ import annotations

import errno
import socket

from src_core.errors import UserError


class RequestError(Exception):
    """A request that cannot be answered: HTTP status, a short name, and what to change."""

    def __init__(self, status: int, error: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.error = error
        self.detail = detail


def bind(host: str, port: int) -> socket.socket:
    """The socket, bound but not yet listening, so that a port in use is known before minutes of loading."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it every reply waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise _in_use(port) from error
        raise UserError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; correct host or port"
        ) from error
    listener.set_inheritable(True)
    return listener


def start_listening(listener: socket.socket, port: int) -> None:
    """Listen. Two servers loading at the same time can both bind the port; only one gets to listen."""
    try:
        listener.listen(1024)
    except OSError as error:
        raise _in_use(port) from error


def _in_use(port: int) -> UserError:
    return UserError(
        f"port {port} is in use; stop the program that uses it (bash deploy/stop.sh stops ours), or choose "
        "another with port=N"
    )
