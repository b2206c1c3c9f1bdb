"""Who may ask one of our servers: a program or page that uses a name of ours, with the token where one is
set.

A server on loopback is still within reach of every page that the person's browser has open. Hence: `Host`
must be one of our names (else a foreign name that was pointed at 127.0.0.1 would make its page "the same
origin"), and a browser's request must come from a page of this server.
"""

from __future__ import annotations

import hmac
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from src_core.http_server import LOOPBACK, RequestError

UNKNOWN_NAME = (
    "this server does not know the name that it was asked by; use localhost or its address, or start it with "
    "the name among its hosts (HOST_NAMES of deploy/*.sh)"
)


class Asked(NamedTuple):
    """What a request says about itself, and the address of ours that it reached. A header that came twice has
    both values, as HTTP joins them.
    """

    method: str
    path: str
    headers: dict[str, str]
    address: str = ""


def asked(
    method: str, path: str, headers: Iterable[tuple[bytes, bytes]], server: Sequence[object] | None = None
) -> Asked:
    """From the parts of an ASGI scope."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    address = str(server[0]).removeprefix("::ffff:") if server else ""  # of IPv4 where `::` is bound
    return Asked(method, path, found, address)


class Guard:
    """The rules for one server. `check` raises `RequestError` with what to do.

    `host` is what the server was bound to, `hosts` are further names. `needs_token` are the paths that a page
    of another site must not read and that need the token; with `only_json` they take nothing but JSON, which
    no foreign form can send.
    """

    def __init__(
        self,
        host: str,
        hosts: Sequence[str],
        *,
        token: str | None,
        needs_token: Callable[[str], bool],
        only_json: bool,
    ) -> None:
        own = socket.gethostname()
        names = (*LOOPBACK, host, own, own.partition(".")[0], *hosts)
        self._names = frozenset(hostname(name) for name in names if name)
        self._token = token
        self._needs_token = needs_token
        self._only_json = only_json

    def check(self, request: Asked) -> None:
        """Every request: the name. Paths that need the token also: the site, the token, the media type."""
        host = request.headers.get("host", "")
        name = hostname(host)
        if name not in self._names and (not name or name != hostname(request.address)):
            raise RequestError(403, "forbidden", UNKNOWN_NAME)
        if not self._needs_token(request.path):
            return
        origin = request.headers.get("origin", f"http://{host}").lower()
        site = request.headers.get("sec-fetch-site", "same-origin")
        own = (f"http://{host}".lower(), f"https://{host}".lower())
        if origin not in own or site not in ("same-origin", "none"):
            raise RequestError(
                403, "forbidden", "only the page of this server may ask it; open its own address"
            )
        given = request.headers.get("authorization", "").encode("latin-1")
        if self._token and not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
            detail = "send the token that this server was started with: 'Authorization: Bearer <token>'"
            raise RequestError(401, "unauthorised", detail)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.method == "POST" and self._only_json and kind != "application/json":
            raise RequestError(415, "unsupported media type", "send the body as application/json")


def hostname(host: str) -> str:
    """The name in a `Host` header, without the port, the brackets of IPv6 and a final dot."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return (host.partition(":")[0] if host.count(":") == 1 else host).lower().removesuffix(".")
