"""`/v1/models` in every shape: advice where a model is named, else a clear choice or one sentence."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from src_core.errors import ModelError, UserError
from src_core.http_chat import HttpChatModel
from src_core.http_json import RetryPolicy
from src_core.llm import Endpoint
from src_core.server_news import ServerNews

LORA = [{"id": "base"}, {"id": "base+a", "parent": "base"}, {"id": "base+b", "parent": "base"}]


def rows(*names: str) -> list[dict[str, str]]:
    return [{"id": name, "object": "model"} for name in names]


def chosen(
    body: object, wanted: str, *, status: int = 200, keys: tuple[str, ...] = ("agent",)
) -> tuple[str, str]:
    """The model that the client asks for, and its note."""

    async def models(_: web.Request) -> web.Response:
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(body=payload, status=status)

    async def run() -> tuple[str, str]:
        app = web.Application()
        app.router.add_get("/v1/models", models)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        notes: list[str] = []
        news = ServerNews()
        endpoint = Endpoint(url=url, model=wanted, retry=RetryPolicy(longest_server_wait=0))
        client = HttpChatModel(endpoint, keys=keys, news=news)
        try:
            await client.ready()
        finally:
            await client.close()
            await runner.cleanup()
        news.attach(on_note=notes.append, on_wait=lambda _: None)
        return client.name, " ".join(notes).replace(url, "URL")

    return asyncio.run(run())


@pytest.mark.parametrize(
    "body",
    [
        {"data": rows("chatty")},
        {"data": rows("other", "chatty")},
        {"data": rows("chatty:latest")},
        rows("chatty"),
        ["chatty"],
        {"models": [{"name": "chatty", "model": "chatty"}]},
        {"data": None},
        {"data": []},
        {"data": {"id": "chatty"}},
        {"data": [None, 3, {"id": None}, {"id": 3}]},
        None,
        "chatty",
        b"<html></html>",
        b"",
    ],
)
def test_a_named_model_needs_no_list(body: object) -> None:
    assert chosen(body, "chatty") == ("chatty", "")


@pytest.mark.parametrize("status", [400, 404, 405, 410])
def test_a_named_model_needs_no_such_route(status: int) -> None:
    assert chosen({"detail": "Not Found"}, "chatty", status=status) == ("chatty", "")


def test_a_model_that_is_not_listed_is_asked_for_and_noted() -> None:
    name, note = chosen({"data": rows("a", "b")}, "chatty", keys=("agent", "reader"))
    assert name == "chatty"
    assert note == "URL does not list the model chatty (agent.model and reader.model); it lists a, b"


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_a_server_that_is_not_ready_or_refuses_the_key_is_an_error(status: int) -> None:
    with pytest.raises(ModelError, match=f"HTTP {status}"):
        chosen({"error": {"message": "no"}}, "chatty", status=status)


def test_a_list_that_fails_is_no_error_where_the_model_is_named() -> None:
    assert chosen({"error": {"message": "no"}}, "chatty", status=500) == ("chatty", "")
    with pytest.raises(ModelError, match="HTTP 500"):
        chosen({"error": {"message": "no"}}, "", status=500)


@pytest.mark.parametrize(
    "body", [{"data": rows("chatty")}, rows("chatty"), ["chatty"], {"data": rows("chatty") * 2}]
)
def test_the_only_model_is_used(body: object) -> None:
    assert chosen(body, "") == ("chatty", "")


def test_a_base_model_with_adapters_is_used_without_them_and_that_is_said() -> None:
    name, note = chosen({"data": LORA}, "")
    assert name == "base"
    assert note == "URL is asked for base without an adapter; agent.model may also be base+a, base+b"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (
            {"data": rows("a", "b")},
            200,
            r"lists 2 models; set agent.model to one of a, b, and reader.model too",
        ),
        (
            {"data": rows("text-embedding-mini", "chatty", "talky")},
            200,
            r"set agent.model to one of chatty, talky \(the others are",
        ),
        ({"data": rows("x-embed", "y-rerank")}, 200, r"set agent.model to one of x-embed, y-rerank"),
        ({"data": rows(*(f"m{k}" for k in range(200)))}, 200, r"m0, .*, m19 and 180 more"),
        ({"data": None}, 200, "lists no model; load one in that server, or set agent.model"),
        ([], 200, "lists no model"),
        (None, 200, "lists no model"),
        (b"<html>", 200, r"a web page is at .*correct the address \(BASE_URL"),
        (b"hello", 200, "does not list its models; set agent.model and reader.model"),
        (
            {"detail": "Not Found"},
            404,
            "HTTP 404.*does not list its models; set agent.model and reader.model",
        ),
    ],
)
def test_without_a_name_an_unclear_list_is_one_sentence(body: Any, status: int, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        chosen(body, "", status=status, keys=("agent", "reader"))
    assert "\n" not in str(error.value)
