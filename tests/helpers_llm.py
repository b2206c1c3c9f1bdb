"""A fake OpenAI-compatible server for tests, and the scripted reasoning that it answers runs with."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web

from src_core.protocols.rearag import render_step
from src_core.types import Finish, Search

Handler = Callable[[dict[str, Any]], Awaitable[str | web.StreamResponse]]
ORDINALS = ("first", "second", "third")
PATIENCE = 120.0
ROOT = Path(__file__).resolve().parent.parent


class FakeLLM:
    """`async with FakeLLM(handler) as server:` serves at `server.url`. The handler gets each request body and
    returns a reply's text, or a whole response. Bodies, headers and the highest concurrency are kept.
    """

    def __init__(self, handler: Handler, *, models: tuple[str, ...] = ("fake",), port: int = 0) -> None:
        self._port = port
        self._handler = handler
        self._models = models
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.open = self.most_open = 0
        self.refuse = False  # set: every request finds the server down
        self.asked = asyncio.Event()
        self.url = ""

    async def __aenter__(self) -> FakeLLM:
        app = web.Application()
        app.router.add_get("/v1/models", self._list)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._chat)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """Its port, also after it has ended."""
        return int(self.url.removesuffix("/v1").rpartition(":")[2])

    async def requests(self, count: int) -> None:
        """Wait until `count` more requests have come."""
        wanted = len(self.bodies) + count
        async with asyncio.timeout(PATIENCE):
            while len(self.bodies) < wanted:
                self.asked.clear()
                await self.asked.wait()

    async def _list(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        return web.json_response({"data": [{"id": name} for name in self._models]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if self.refuse:
            return web.Response(status=503, text="starting")
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        self.asked.set()
        try:
            reply = await self._handler(body)
        finally:
            self.open -= 1
        if not isinstance(reply, str):
            return reply
        made = completion(reply)
        if "prompt" in body:
            made["choices"] = [{"text": reply, "finish_reason": "stop"}]
        return web.json_response(made)


def completion(text: str) -> dict[str, Any]:
    """An OpenAI chat reply of `text`."""
    return {
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": len(text.split())},
    }


def step_for(body: dict[str, Any]) -> str:
    """The reply for a request about `item K`: K % 3 + 1 searches, then `finish`; a reader's request gets its
    answer.
    """
    everything = "\n".join(message["content"] for message in body["messages"])
    item = item_of(body)
    roles = [message["role"] for message in body["messages"]]
    if "Reasoning process with function call:" not in everything:
        return f"item-{item}"
    n = roles.count("assistant") + 1
    if n <= item % 3 + 1:
        query = f"What is the {ORDINALS[n - 1]} fact about item {item}?"
        return render_step(n, "I need one more fact.", Search(query))
    return render_step(n, "All facts are there.", Finish(f"item-{item}"))


def write_items(folder: Path, count: int) -> tuple[Path, Path]:
    """A question file and a corpus about items 0 to `count` - 1."""
    questions, corpus = folder / "questions.jsonl", folder / "corpus.jsonl"
    rows = [
        {"question": f"What is item {k}?", "answers": [f"item-{k}"], "context_ids": [f"p{k}"]}
        for k in range(count)
    ]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    passages = [{"id": f"p{k}", "contents": f"Item {k}\nEvery fact about item {k}."} for k in range(count)]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in passages), encoding="utf-8")
    return questions, corpus


def write_script(path: Path, rows: list[tuple[str, list[str]]]) -> Path:
    """A script for `ScriptedModel` whose rows look for their text anywhere and start over at the end."""
    data = [{"when": when, "replies": replies, "anywhere": True, "cycle": True} for when, replies in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in data), encoding="utf-8")
    return path


def settings_for(folder: Path, url: str, *, count: int, **more: object) -> list[str]:
    """Command-line overrides for a run over `count` items against the model at `url`."""
    questions, corpus = write_items(folder, count)
    fixed = {
        "agent.url": url,
        "reader.url": url,
        "retriever": f"toy:{corpus}",
        "questions": questions,
        "n_questions": -1,
        "runs_dir": folder / "runs",
        "run_name": "r",
        "constrain": "off",
        "answer_from": "finish",
        "top_k": 1,
        "agent.retry.first_wait": 0,
        "reader.retry.first_wait": 0,
    }
    given = {**fixed, **more}
    if given.get("question"):  # in place of the file
        del given["questions"]
    return [f"{key}={value}" for key, value in given.items()]


def item_of(body: dict[str, Any]) -> int:
    """Which item a request is about."""
    everything = "\n".join(message["content"] for message in body["messages"])
    return int(re.findall(r"item (\d+)", everything)[-1])
