"""Searching the web. An engine is one module with a `BACKEND` of the base type `WebEngine`; the setting
`retriever: ENGINE:ADDRESS` (`brave:` for its usual address) selects it.
"""

from __future__ import annotations

from src_retrieval.backends import backends_in
from src_retrieval.web.base import WebEngine


def web_engine(where: str) -> WebEngine | None:
    """The engine that the setting `retriever` names, None where it names none."""
    name, colon, rest = where.partition(":")
    if not colon or rest.startswith("//") or name in ("toy", "ranked"):
        return None
    found: WebEngine | None = backends_in(__name__).get(name)
    return found
