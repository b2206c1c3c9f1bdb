"""Waits that servers ask for, servers that die, replies without end, and more connections than open files."""

from __future__ import annotations

import asyncio
import io
import resource
import time
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from helpers_llm import FakeLLM
from helpers_wait import PATIENCE
from rich.console import Console

from src_core import http_exchange
from src_core.errors import ModelError, ServerGoneError, UserError
from src_core.http_json import JsonHttp, RetryPolicy
from src_core.open_files import SPARE, allow_connections
from src_core.progress import StepProgress
from src_core.server_news import ServerNews

Ask = Callable[[JsonHttp, FakeLLM], Awaitable[Any]]


def client(
    url: str, *, news: ServerNews | None = None, timeout: float = 5, connections: int = 8, **policy: Any
) -> JsonHttp:
    retry = RetryPolicy(**{"attempts": 3, "first_wait": 0, **policy})
    return JsonHttp(
        url,
        error=ModelError,
        token=None,
        connections=connections,
        timeout=timeout,
        retry=retry,
        news=news,
    )


def against(answers: list[object], work: Ask, *, news: ServerNews | None = None, **policy: Any) -> Any:
    """Do `work` with a client of a server that answers in turn; a text is a reply, a number of seconds a 429
    with `Retry-After`.
    """

    async def run() -> Any:
        async def handler(_: dict[str, Any]) -> str | web.Response:
            answer = answers[min(len(server.bodies), len(answers)) - 1]
            if isinstance(answer, str):
                return answer
            headers = {} if answer is None else {"Retry-After": str(answer)}
            return web.json_response({"error": {"message": "rate limit"}}, status=429, headers=headers)

        async with FakeLLM(handler) as server:
            http = client(server.url, news=news, **policy)
            try:
                return await work(http, server)
            finally:
                await http.close()

    return asyncio.run(run())


async def once(http: JsonHttp, server: FakeLLM) -> int:
    await http.request("POST", "/chat/completions", {}, expect=dict)
    return len(server.bodies)


def test_a_wait_that_the_server_asks_for_spends_no_attempt_and_is_shown() -> None:
    shown: list[str] = []
    news = ServerNews()
    news.attach(on_note=shown.append, on_wait=shown.append)
    begun = time.monotonic()
    assert against([1, 1, "fine"], once, news=news, attempts=1) == 3
    assert time.monotonic() - begun >= 2
    assert shown[0].startswith("waiting 1 s for 127.0.0.1:")
    assert shown[-1] == ""


def test_a_wait_is_part_of_the_progress_line() -> None:
    out = io.StringIO()
    news = ServerNews()
    with StepProgress(Console(file=out), unit="questions", total=3, every=60) as progress:
        news.attach(on_note=lambda _: None, on_wait=progress.note)
        against([1, "fine"], once, news=news)
        progress.update(3)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("0/3 questions, 0.0/min, waiting 1 s for 127.0.0.1:")
    assert "waiting" not in lines[-1]


def test_longer_waits_than_the_setting_are_an_error_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(
        ModelError, match=r"rate limit.*asks to wait 3600 s.*longest_server_wait \(120 s\) in agent\.retry"
    ):
        against([3600], once)
    assert time.monotonic() - begun < 2


def test_the_waits_of_one_call_are_bounded_together() -> None:
    """A server that asks to wait 1 s for ever: two waits, then the ordinary attempts."""
    requests: list[int] = []

    async def work(http: JsonHttp, server: FakeLLM) -> None:
        try:
            await http.request("POST", "/chat/completions", {}, expect=dict)
        finally:
            requests.append(len(server.bodies))

    with pytest.raises(ModelError, match="HTTP 429"):
        against([1], work, longest_server_wait=2)
    assert requests == [2 + 3]


def test_without_retry_after_the_attempts_are_those_of_the_policy() -> None:
    with pytest.raises(ModelError, match=r"HTTP 429.*rate limit"):
        against([None], once)
    assert against([None, 0, "fine"], once) == 3


@pytest.mark.parametrize("users", [[], ["keep"], ["4711"], ["keep", "4711"]])
def test_a_server_that_died_is_one_sentence_and_no_boundary_error(
    users: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The PID of a script among the users of the server: the script starts it itself."""

    async def run() -> str:
        async def handler(_: dict[str, Any]) -> str:
            return "fine"

        async with FakeLLM(handler) as server:
            http = client(server.url)
            await http.request("GET", "/models", expect=dict)
        port = server.url.rpartition(":")[2].removesuffix("/v1")
        (tmp_path / "rearag.pid").write_text(f"1\n2\n127.0.0.1\n{port}\nsettings\n")
        (tmp_path / "rearag.users").mkdir()
        for user in users:
            (tmp_path / "rearag.users" / user).touch()
        with pytest.raises(ServerGoneError) as error:
            await http.request("POST", "/chat/completions", {}, expect=dict)
        await http.close()
        return str(error.value).replace(server.url, "URL")

    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("LOG_DIR", "mylogs")
    assert asyncio.run(run()) == (
        "the server at URL died: it answered before, and the last 2 tries ended with 'Cannot connect' "
        "(Connection refused); its log is mylogs/rearag.log; "
        f"{'' if '4711' in users else 'start it again, then '}run the same command again to resume"
    )


def test_a_server_that_comes_back_in_time_is_no_trouble() -> None:
    async def run() -> None:
        async def handler(_: dict[str, Any]) -> str:
            return "fine"

        first = FakeLLM(handler)
        async with first:
            http = client(first.url, attempts=8, first_wait=0.05, longest_wait=0.2)
            await http.request("GET", "/models", expect=dict)
        port = int(first.url.split(":")[2].removesuffix("/v1"))
        waiting = [asyncio.ensure_future(http.request("GET", "/models", expect=dict)) for _ in range(20)]
        await asyncio.sleep(0.2)
        app = web.Application()

        async def models(_: web.Request) -> web.Response:
            return web.json_response({})

        app.router.add_get("/v1/models", models)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        assert await asyncio.gather(*waiting) == [{}] * 20
        await http.close()
        await runner.cleanup()

    asyncio.run(run())


def test_a_server_that_never_answered_is_a_boundary_error() -> None:
    async def run() -> None:
        http = client("http://127.0.0.1:1")
        with pytest.raises(ModelError, match="Cannot connect"):
            await http.request("GET", "/models", expect=dict)
        await http.close()

    asyncio.run(run())


@pytest.mark.parametrize("token", ["a\nb", "a\r\nX-Evil: 1", "a\0"])
def test_a_token_that_would_write_headers_is_refused(token: str) -> None:
    with pytest.raises(UserError, match="REARAG_TOKEN"):
        JsonHttp("http://x", error=ModelError, token=token, connections=1, timeout=1, retry=RetryPolicy())


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The limits that are set; they begin at 1,024 of 4,096."""
    state = [(1024, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: state[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: state.append(pair))
    return state


def test_the_soft_limit_of_open_files_is_raised_to_what_is_needed(limits: list[tuple[int, int]]) -> None:
    allow_connections(500, in_flight=500)
    assert len(limits) == 1
    allow_connections(3000, in_flight=1000)
    assert limits[1:] == [(3000 + SPARE, 4096)]


def test_more_than_the_hard_limit_is_refused_with_the_number_that_fits(limits: list[tuple[int, int]]) -> None:
    with pytest.raises(
        UserError, match=r"in_flight=5000 needs 15,128 open files .* 4,096; .* at most 1,322"
    ) as error:
        allow_connections(15_000, in_flight=5000)
    assert "\n" not in str(error.value)
    allow_connections(3 * 1322, in_flight=1322)
    assert limits[-1][0] <= 4096


def test_a_pool_beyond_the_soft_limit_works() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        allow_connections(300, in_flight=300)

        async def run() -> int:
            at_once = asyncio.Event()

            async def handler(_: dict[str, Any]) -> str:
                if server.open == 150:
                    at_once.set()
                await at_once.wait()
                return "fine"

            async with FakeLLM(handler) as server:
                http = client(server.url, connections=300)
                work = (http.request("POST", "/chat/completions", {}, expect=dict) for _ in range(150))
                await asyncio.gather(*work)
                await http.close()
                return server.most_open

        assert asyncio.run(run()) == 150
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_connection_is_not_used_again_when_the_server_may_be_closing_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_exchange, "KEEP_SECONDS", 0.2)
    ports: list[int] = []

    async def fine(request: web.Request) -> web.Response:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername")[1])
        return web.json_response({})

    async def run() -> None:
        app = web.Application()
        app.router.add_post("/chat/completions", fine)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        http = client(f"http://127.0.0.1:{runner.addresses[0][1]}")
        try:
            for pause in (0, 0.5, 0):
                await http.request("POST", "/chat/completions", {}, expect=dict)
                await asyncio.sleep(pause)
        finally:
            await http.close()
            await runner.cleanup()

    asyncio.run(run())
    assert ports[0] == ports[1] != ports[2]


@pytest.mark.parametrize("packed", [False, True])
def test_a_reply_without_end_is_an_error_in_bounded_memory(packed: bool) -> None:
    chunk = b" " * (1 << 20)
    sent = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        reply = web.StreamResponse(headers={"Content-Encoding": "gzip"} if packed else {})
        await reply.prepare(request)
        packer = zlib.compressobj(1, wbits=31)
        for _ in range(1000):
            await reply.write(packer.compress(chunk) + packer.flush(zlib.Z_SYNC_FLUSH) if packed else chunk)
            sent += 1
        return reply

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/health", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        http = client(f"http://127.0.0.1:{runner.addresses[0][1]}", timeout=PATIENCE)  # 64 MiB, packed
        try:
            await http.request("GET", "/health", expect=dict)
        finally:
            await http.close()
            await runner.cleanup()

    with pytest.raises(ModelError, match="the reply is longer than 64 MiB") as failed:
        asyncio.run(run())
    assert not failed.value.retryable
    if not packed:
        assert sent < 200
