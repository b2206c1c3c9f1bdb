"""A local server that answers as the four web search engines do, in their documented shapes."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

from aiohttp import web

KEY = "a-secret-key-0123456789"
HOSTILE = (
    "<script>steal()</script><b>Paris</b> is the capital&nbsp;of France\x1b[2J\u202e &lt;tool&gt; "
    "<img src=x onerror=alert(1)> and <style>p{}</style>its largest city."
)
LONG = " ".join(f"Sentence {n} tells of the Loire and its castles." for n in range(60))


def searxng(query: str) -> dict[str, Any]:
    """As `/search?format=json` of SearXNG."""
    row = {
        "template": "default.html",
        "engines": ["duckduckgo", "brave"],
        "engine": "duckduckgo",
        "parsed_url": ["https", "a.example", "/paris", "", "", ""],
        "positions": [1, 2],
        "score": 3.0,
        "category": "general",
        "publishedDate": None,
    }
    return {
        "query": query,
        "number_of_results": 0,
        "results": [
            {**row, "url": "https://a.example/paris", "title": "Paris", "content": HOSTILE},
            {**row, "url": "https://b.example/lyon", "title": "Lyon", "content": "Lyon is a city in France."},
        ],
        "answers": [],
        "corrections": [],
        "infoboxes": [],
        "suggestions": ["paris texas"],
        "unresponsive_engines": [["qwant", "access denied"]],
    }


def brave(query: str) -> dict[str, Any]:
    """As `/res/v1/web/search` of Brave."""
    return {
        "type": "search",
        "query": {"original": query, "more_results_available": True},
        "mixed": {
            "type": "mixed",
            "main": [{"type": "web", "index": 0, "all": False}],
            "top": [],
            "side": [],
        },
        "web": {
            "type": "search",
            "family_friendly": True,
            "results": [
                {
                    "type": "search_result",
                    "title": "Paris",
                    "url": "https://a.example/paris",
                    "description": HOSTILE,
                    "page_age": "2026-01-02T00:00:00",
                    "extra_snippets": ["The Seine flows through it.", 7],
                    "profile": {"name": "A", "url": "https://a.example"},
                },
                {
                    "title": "Lyon",
                    "url": "https://b.example/lyon",
                    "description": "Lyon is a city in France.",
                },
            ],
        },
    }


def serper(query: str) -> dict[str, Any]:
    """As `/search` of Serper."""
    return {
        "searchParameters": {"q": query, "type": "search", "engine": "google"},
        "answerBox": {"snippet": "Paris", "title": "Capital", "link": "https://c.example"},
        "organic": [
            {"title": "Paris", "link": "https://a.example/paris", "snippet": HOSTILE, "position": 1},
            {
                "title": "Lyon",
                "link": "https://b.example/lyon",
                "snippet": "Lyon is a city in France.",
                "position": 2,
            },
        ],
        "peopleAlsoAsk": [],
        "credits": 1,
    }


def tavily(query: str) -> dict[str, Any]:
    """As `/search` of Tavily with `include_raw_content`."""
    return {
        "query": query,
        "follow_up_questions": None,
        "answer": None,
        "images": [],
        "results": [
            {
                "title": "Paris",
                "url": "https://a.example/paris",
                "content": HOSTILE,
                "score": 0.98,
                "raw_content": None,
            },
            {
                "title": "Lyon",
                "url": "https://b.example/lyon",
                "content": "Lyon is a city in France.",
                "score": 0.5,
                "raw_content": LONG + " Lyon lies where the Saone meets the Rhone. " + LONG,
            },
        ],
        "response_time": 0.7,
        "request_id": "1",
    }


SHAPES = {"searxng": searxng, "brave": brave, "serper": serper, "tavily": tavily}
ROUTES = {
    "searxng": ("GET", "/search"),
    "brave": ("GET", "/res/v1/web/search"),
    "serper": ("POST", "/search"),
    "tavily": ("POST", "/search"),
}
KEYS = {
    "searxng": "",
    "brave": "X-Subscription-Token",
    "serper": "X-API-KEY",
    "tavily": "Authorization",
}
REFUSALS: dict[str, tuple[int, Any]] = {
    "searxng": (403, {"message": "Forbidden"}),
    "brave": (
        422,
        {
            "type": "ErrorResponse",
            "error": {
                "id": "1",
                "status": 422,
                "code": "SUBSCRIPTION_TOKEN_INVALID",
                "detail": "The provided subscription token is invalid.",
                "meta": {"component": "authentication"},
            },
            "time": 1663072993,
        },
    ),
    "serper": (403, {"message": "Unauthorized.", "statusCode": 403}),
    "tavily": (401, {"detail": {"error": "Unauthorized: missing or invalid API key."}}),
}


class FakeWeb:
    """`async with FakeWeb("brave") as server:` answers like that engine at `server.url`. `before` are HTTP
    statuses, redirections or whole replies that come first; a wrong key is refused as the engine does.
    """

    def __init__(self, engine: str, *, before: tuple[Any, ...] = ()) -> None:
        self._engine = engine
        self.before = list(before)
        self.queries: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.url = ""

    async def __aenter__(self) -> FakeWeb:
        app = web.Application()
        app.router.add_route(*ROUTES[self._engine], self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = await request.json() if request.method == "POST" else dict(request.query)
        query = str(body.get("q", body.get("query")))
        self.queries.append(query)
        self.bodies.append(body)
        self.times.append(asyncio.get_running_loop().time())
        header = KEYS[self._engine]
        if self.before:
            first = self.before.pop(0)
            if isinstance(first, int):
                text = f"no luck with {request.headers.get(header, '')}"
                return web.json_response({"message": text}, status=first)
            if isinstance(first, str):
                return web.Response(status=302, headers={"Location": first})
            return web.json_response(first)
        if header and request.headers.get(header, "").rpartition(" ")[2] != KEY:
            status, refusal = REFUSALS[self._engine]
            return web.json_response(refusal, status=status)
        reply = SHAPES[self._engine](query)
        if self._engine == "tavily" and not body.get("include_raw_content"):
            for row in reply["results"]:
                del row["raw_content"]
        return web.json_response(reply)
