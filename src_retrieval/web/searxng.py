"""SearXNG, an engine of one's own: `GET /search?format=json` (docs.searxng.org/dev/search_api.html).

It answers 403 where its `settings.yml` does not list `json` among `search.formats`. An empty list beside
`unresponsive_engines` is a failed search, not one without results.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from src_core.wire_json import ReplyError
from src_retrieval.web.base import Request, Result, WebEngine, rows_of, text_of


class SearXng(WebEngine):
    """It has no key, and sends about twenty results, whatever is asked for."""

    kinds = ("searxng",)

    def request(self, query: str, *, count: int, pages: bool) -> Request:  # noqa: ARG002
        """See `WebEngine.request`."""
        return Request("GET", "/search?" + urlencode({"q": query, "format": "json"}))

    def results(self, reply: Mapping[str, Any]) -> list[Result]:
        """See `WebEngine.results`."""
        rows = rows_of(reply, "results")
        silent = reply.get("unresponsive_engines")
        if not rows and isinstance(silent, list) and silent:
            raise ReplyError(f"it found nothing, and its engines did not answer: {silent!s:.200}")
        return [
            Result(text_of(row, "url"), text_of(row, "title"), (text_of(row, "content"),)) for row in rows
        ]

    @property
    def advice(self) -> str:
        """See `WebEngine.advice`."""
        return "add json to search.formats in its settings.yml, and let its limiter pass this machine"


BACKEND = SearXng()
