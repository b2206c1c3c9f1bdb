"""Brave Search: `GET /res/v1/web/search` (api-dashboard.search.brave.com/api-reference/web/search/get).

A wrong key is HTTP 422 with the code SUBSCRIPTION_TOKEN_INVALID, a missing one 422 with VALIDATION. Snippets
mark the words of the query with HTML.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from src_retrieval.web.base import Request, Result, WebEngine, rows_of, text_of


class Brave(WebEngine):
    """Replies without `web` are searches without results: other kinds of results have keys of their own."""

    kinds = ("brave",)
    address = "https://api.search.brave.com"
    key = "BRAVE_API_KEY"
    header = "X-Subscription-Token"
    most_chars = 400
    most_words = 50

    def request(self, query: str, *, count: int, pages: bool) -> Request:  # noqa: ARG002
        """See `WebEngine.request`."""
        return Request("GET", "/res/v1/web/search?" + urlencode({"q": query, "count": count}))

    def results(self, reply: Mapping[str, Any]) -> list[Result]:
        """See `WebEngine.results`."""
        if reply.get("type") == "search" and "web" not in reply:
            return []
        return [_result(row) for row in rows_of(reply, "web", "results")]

    def refuses_key(self, status: int, words: str) -> bool:
        """See `WebEngine.refuses_key`."""
        return status in (401, 403) or (status == 422 and "subscription" in words.lower())


def _result(row: Mapping[str, Any]) -> Result:
    extra = row.get("extra_snippets")
    more = tuple(text for text in extra if isinstance(text, str)) if isinstance(extra, list) else ()
    return Result(text_of(row, "url"), text_of(row, "title"), (text_of(row, "description"), *more))


BACKEND = Brave()
