"""The bearer token of our servers: `REARAG_TOKEN`, which servers require and clients send."""

from __future__ import annotations

import os

from src_core.errors import UserError

TOKEN_VARIABLE = "REARAG_TOKEN"


def read_token() -> str | None:
    """The token of the environment, None where there is none. Raises `UserError` for an unusable one."""
    token = os.environ.get(TOKEN_VARIABLE, "")
    check_token(token, TOKEN_VARIABLE)
    return token or None


def check_token(token: str, variable: str) -> None:
    """Raises `UserError` for a token that an HTTP header cannot carry: servers and clients encode other
    characters differently, and a line end would begin another header.
    """
    if not all("!" <= character <= "~" for character in token):
        raise UserError(
            f"{variable} has a space, a line end or a character beyond ASCII; use letters, digits and "
            "punctuation only"
        )
