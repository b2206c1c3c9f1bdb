"""Tavily: `POST /search` with a bearer key (docs.tavily.com/api-reference/endpoint/search).

With `include_raw_content` it sends the text of each page. A wrong key is HTTP 401; a plan that is used up is
432 or 433.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from src_retrieval.web.base import Request, Result, WebEngine, rows_of, text_of


class Tavily(WebEngine):
    """The one engine that sends the text of pages."""

    kinds = ("tavily",)
    address = "https://api.tavily.com"
    key = "TAVILY_API_KEY"
    header = "Authorization"
    prefix = "Bearer "
    most_chars = 400
    spent = (432, 433)

    def request(self, query: str, *, count: int, pages: bool) -> Request:
        """See `WebEngine.request`."""
        body = {"query": query, "max_results": count, **({"include_raw_content": True} if pages else {})}
        return Request("POST", "/search", body)

    def results(self, reply: Mapping[str, Any]) -> list[Result]:
        """See `WebEngine.results`."""
        return [
            Result(
                text_of(row, "url"),
                text_of(row, "title"),
                (text_of(row, "content"),),
                text_of(row, "raw_content"),
            )
            for row in rows_of(reply, "results")
        ]


BACKEND = Tavily()
