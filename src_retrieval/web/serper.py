"""Serper (Google's results): `POST /search` with the header `X-API-KEY`; a wrong key is HTTP 403.

Only `organic` is read: answer boxes and knowledge graphs are not passages of a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from src_retrieval.web.base import Request, Result, WebEngine, rows_of, text_of


class Serper(WebEngine):
    """Its results name their page `link`."""

    kinds = ("serper",)
    address = "https://google.serper.dev"
    key = "SERPER_API_KEY"
    header = "X-API-KEY"

    def request(self, query: str, *, count: int, pages: bool) -> Request:  # noqa: ARG002
        """See `WebEngine.request`."""
        return Request("POST", "/search", {"q": query, "num": count})

    def results(self, reply: Mapping[str, Any]) -> list[Result]:
        """See `WebEngine.results`."""
        rows = rows_of(reply, "organic")
        return [
            Result(text_of(row, "link"), text_of(row, "title"), (text_of(row, "snippet"),)) for row in rows
        ]


BACKEND = Serper()
