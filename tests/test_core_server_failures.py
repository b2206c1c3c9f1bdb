"""A server that fails while a run goes on is said at once, and ends the run where it goes on failing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from helpers_llm import FakeLLM

from src_core import server_news
from src_core.errors import ModelError, ServerGoneError
from src_core.http_json import JsonHttp, RetryPolicy
from src_core.server_news import ServerNews


def calls(
    answers: Callable[[int], str | int], count: int, *, news: ServerNews | None = None, attempts: int = 2
) -> list[BaseException | Any]:
    """`count` calls, one after the other, of a server that answers with a text or an HTTP status."""

    async def run() -> list[BaseException | Any]:
        async def handler(_: dict[str, Any]) -> str | web.Response:
            answer = answers(len(server.bodies))
            return answer if isinstance(answer, str) else web.Response(status=answer, text="broken")

        async with FakeLLM(handler) as server:
            retry = RetryPolicy(attempts=attempts, first_wait=0)
            http = JsonHttp(
                server.url, error=ModelError, token=None, connections=8, timeout=5, retry=retry, news=news
            )
            try:
                asked = [http.request("POST", "/chat/completions", {}, expect=dict) for _ in range(count)]
                return [(await asyncio.gather(one, return_exceptions=True))[0] for one in asked]
            finally:
                await http.close()

    return asyncio.run(run())


def test_a_failed_try_is_said_at_once_but_not_each(capsys: pytest.CaptureFixture[str]) -> None:
    calls(lambda _: 500, 3, attempts=4)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "HTTP 500: broken; trying again (2 of 4)" in said[0]
    shown: list[str] = []
    news = ServerNews()
    news.attach(on_note=shown.append, on_wait=shown.append)
    calls(lambda n: 500 if n == 1 else "fine", 1, news=news)
    assert len(shown) == 1
    assert capsys.readouterr().err == ""


def test_calls_that_go_on_failing_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_news, "FAILED_SECONDS", 0.0)
    found = calls(lambda _: 500, 7)
    assert [type(each) for each in found] == [ModelError] * 4 + [ServerGoneError] * 3
    assert "failed all of the last 5 calls" in str(found[4])
    assert "run the same command again to resume" in str(found[4])


def test_a_call_between_that_succeeds_and_a_refusal_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_news, "FAILED_SECONDS", 0.0)
    found = calls(lambda n: "fine" if n == 9 else 500, 8)  # the fifth call: 8 tries failed before
    assert [type(each) for each in found] == [ModelError] * 4 + [dict] + [ModelError] * 3
    assert {type(each) for each in calls(lambda _: 400, 8)} == {ModelError}


def test_a_short_outage_does_not_end_the_run() -> None:
    assert {type(each) for each in calls(lambda _: 503, 12)} == {ModelError}
