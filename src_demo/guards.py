"""Who may ask: the page itself, opened under a name that is ours, with the token where one is set.

A server on loopback is still within reach of every page that the person's browser has open. Hence: `Host`
must be one of our names (else a foreign name that was pointed at 127.0.0.1 would make its page "the same
origin"), `Origin` must be our own, and what changes anything must be JSON, which no foreign form can send.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import NamedTuple

from src_core.http_server import RequestError
from src_demo.config import DemoConfig

LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Asked(NamedTuple):
    """What a request says about itself. A header that came twice has both values, as HTTP joins them."""

    method: str
    path: str
    headers: dict[str, str]


def asked(method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> Asked:
    """From the parts of an ASGI scope."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return Asked(method, path, found)


class Guard:
    """The rules for one server. `check` raises `RequestError` with what to do."""

    def __init__(self, config: DemoConfig, *, token: str | None) -> None:
        self._names = frozenset(name.lower() for name in (*LOOPBACK, config.host, *config.serving.hosts))
        self._token = token

    def check(self, request: Asked) -> None:
        """Every request: the name. `/api/` also: the origin, the token, and JSON for what is posted."""
        host = request.headers.get("host", "")
        if _hostname(host) not in self._names:
            detail = (
                "this page is served under another name; open http://localhost, or add it to serving.hosts"
            )
            raise RequestError(403, "forbidden", detail)
        if not request.path.startswith("/api/"):
            return
        origin = request.headers.get("origin", f"http://{host}")
        site = request.headers.get("sec-fetch-site", "same-origin")
        if origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()) or site not in (
            "same-origin",
            "none",
        ):
            raise RequestError(
                403,
                "forbidden",
                "only the page of this server may ask it; open the address that the server printed",
            )
        given = request.headers.get("authorization", "").encode("utf-8", "replace")
        if self._token and not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
            raise RequestError(
                401,
                "unauthorised",
                "this page needs a token; enter the REARAG_TOKEN with which its server was started",
            )
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.method == "POST" and kind != "application/json":
            raise RequestError(415, "unsupported media type", "send the body as application/json")


def _hostname(host: str) -> str:
    """The name in a `Host` header, without the port and the brackets of IPv6."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return (host.partition(":")[0] if host.count(":") == 1 else host).lower()
