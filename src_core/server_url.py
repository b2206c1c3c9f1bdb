"""The address of a server: checked before the first request."""

from __future__ import annotations

from urllib.parse import urlsplit

from src_core.access_token import TOKEN_VARIABLE
from src_core.errors import UserError


def server_url(url: str, *, secret: str = TOKEN_VARIABLE) -> str:
    """`url` without white space and slashes at its end. Raises `UserError` for one that cannot be an address,
    and for one with a user name or a password: a run writes its addresses into its files. `secret` is the
    variable of the environment that holds the password of this server.
    """
    given = url.strip().rstrip("/")
    try:
        parts = urlsplit(given)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that are not closed, a port that is no port
        usable = False
    if usable and "@" in parts.netloc:
        raise UserError(
            f"the address of the server at {parts.hostname} holds a user name or a password, which every run "
            f"would write into its files; remove them and set {secret}"
        )
    if not usable or any(char.isspace() for char in given):
        raise UserError(f"{url!r:.200} is no address of a server; write it like http://127.0.0.1:9892")
    return given
