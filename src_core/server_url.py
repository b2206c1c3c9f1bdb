"""The address of a server, or of several that serve the same: checked before the first request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from src_core.access_token import TOKEN_VARIABLE
from src_core.errors import UserError
from src_core.text import without_login

HTTP = ("http", "https")


def addresses(text: str) -> tuple[str, ...]:
    """The addresses in the text of a setting: with commas between them, brackets around them or not. A text
    that names no server of HTTP (`scripted:FILE`) is one.
    """
    inner = (
        text.strip().removeprefix("[").removesuffix("]") if text.strip().startswith("[http") else text.strip()
    )
    if not inner.startswith(("http://", "https://")):
        return (text,) if text else ()
    return tuple(part.strip(" \t\n'\"") for part in inner.split(",") if part.strip())


def _as_text(value: Any) -> Any:
    """The text of a setting that may be a list."""
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return ",".join(each.strip() for each in value)
    return ",".join(addresses(value)) if isinstance(value, str) else value


Addresses = Annotated[str, BeforeValidator(_as_text)]
"""The address of a server in a setting; a list, or a text with commas, names several that serve the same."""


def server_url(
    url: str,
    *,
    secret: str = TOKEN_VARIABLE,
    schemes: Sequence[str] = HTTP,
    like: str = "http://127.0.0.1:9892",
) -> str:
    """`url` without white space and slashes at its end. Raises `UserError` for one that cannot be an address,
    and for one with a user name or a password: a run writes its addresses into its files. `secret` is the
    variable of the environment that holds the password of this server; an address begins with one of
    `schemes`, as `like` does.
    """
    given = url.strip().rstrip("/")
    try:
        parts = urlsplit(given)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that are not closed, a port that is no port
        usable = False
    if usable and "@" in parts.netloc:
        raise UserError(
            f"the address of the server at {parts.hostname} holds a user name or a password, which every run "
            f"would write into its files; remove them and set {secret}"
        )
    if not usable or any(char.isspace() for char in given):
        raise UserError(f"{without_login(repr(url)):.200} is no address of a server; write it like {like}")
    return given
