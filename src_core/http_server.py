"""Shared by the HTTP servers of the project: their common settings, the error of a bad request, a listening
socket, and the rule that a server which others can reach needs a token.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Annotated

from pydantic import Field

from src_core.access_token import TOKEN_VARIABLE
from src_core.config import config_class
from src_core.errors import UserError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@config_class
class HttpOptions:
    """What all our HTTP servers have.

    `hosts` are further names under which the server may be asked (of a proxy in front of it, for instance);
    its address, loopback and the machine's own name need none. Without a token a server listens on loopback
    only, unless `allow_without_token`. A request's headers must arrive within `header_seconds`, its body
    within `body_seconds`, and a client must go on reading a reply (64 KiB in `send_seconds`). At most
    `max_connections` are open, and bodies and replies in memory are bounded by `max_held_bytes`: further
    requests are answered 503.
    """

    hosts: tuple[str, ...] = ()
    allow_without_token: bool = False
    max_connections: Annotated[int, Field(ge=1)] = 1_024
    header_seconds: Annotated[float, Field(gt=0)] = 10.0
    body_seconds: Annotated[float, Field(gt=0)] = 10.0
    send_seconds: Annotated[float, Field(gt=0)] = 30.0
    max_held_bytes: Annotated[int, Field(ge=1)] = 1_073_741_824


class RequestError(Exception):
    """A request that cannot be answered: the HTTP status, a short name of the error, and what to change."""

    def __init__(self, status: int, error: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.error = error
        self.detail = detail


def require_token(host: str, token: str | None, *, allow: bool, setting: str) -> None:
    """Raises `UserError` for a server on an address that other machines can reach, without a token;
    `setting` is how a person allows it.
    """
    if token or allow or _is_loopback(host):
        return
    raise UserError(
        f"host={host} opens this server to the network, and there is no token: everybody who reaches the "
        f"machine could use it; set {TOKEN_VARIABLE}, use host=127.0.0.1, or allow it with {setting}"
    )


def _is_loopback(host: str) -> bool:
    """Whether every address of `host` is loopback. A name without an address is refused later, by `bind`."""
    if not host:
        return False
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return True
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    return all((getattr(address, "ipv4_mapped", None) or address).is_loopback for address in addresses)


def bind(host: str, port: int) -> socket.socket:
    """The socket, bound but not yet listening: a port in use is reported before the model loads for
    minutes.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio disables Nagle's algorithm only where the protocol is given; with Nagle every reply waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError, UnicodeError) as error:
        listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise _in_use(port) from error
        why = (error.strerror if isinstance(error, OSError) else None) or error
        raise UserError(f"cannot listen on {host}:{port}: {why}; correct host or port") from error
    listener.set_inheritable(True)
    return listener


def start_listening(listener: socket.socket, port: int) -> None:
    """Start listening. Two servers that load at the same time can both bind the port; only one can listen."""
    try:
        listener.listen(1024)
    except OSError as error:
        raise _in_use(port) from error


def _in_use(port: int) -> UserError:
    return UserError(
        f"port {port} is in use; stop the program that uses it (bash deploy/stop.sh stops ours), or choose "
        "another with port=N"
    )
