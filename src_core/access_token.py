"""Bearer tokens from the environment: `REARAG_TOKEN`, which our servers require and clients send to them, and
the keys of other servers.
"""

from __future__ import annotations

import os

from src_core.errors import UserError

TOKEN_VARIABLE = "REARAG_TOKEN"


def read_token(variable: str = TOKEN_VARIABLE) -> str | None:
    """The token in a variable of the environment, None for none. Raises `UserError` for an unusable one."""
    token = os.environ.get(variable, "")
    check_token(token, variable)
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
