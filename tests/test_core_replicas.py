"""Several servers behind one setting: which one gets a request, and what happens when one of them fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from helpers_llm import FakeLLM
from hypothesis import given
from hypothesis import strategies as st

from src_core import replicas
from src_core.config import load_config
from src_core.endpoints import make_model
from src_core.errors import ModelError, RetrieverError, ServerGoneError, UserError
from src_core.http_chat import HttpChatModel
from src_core.http_json import JsonHttp, RetryPolicy
from src_core.llm import Endpoint, Sampling
from src_core.replicas import Replicas, one_piece_of_work
from src_core.server_news import ServerNews
from src_core.server_url import addresses
from src_infer.config import InferConfig
from src_infer.connect import connections_of
from src_infer.runner import run_all
from src_retrieval.client import RetrieverClient

NO_WAIT = RetryPolicy(attempts=3, first_wait=0)
Work = Callable[[JsonHttp, Sequence[FakeLLM]], Awaitable[Any]]


def against(work: Work, *, count: int = 2, news: ServerNews | None = None, timeout: float = 5) -> Any:
    """Do `work` with one client of `count` servers, which answer at once."""

    async def run() -> Any:
        async def handler(_: dict[str, Any]) -> str:
            await asyncio.sleep(0.01)
            return "fine"

        async with AsyncExitStack() as stack:
            servers = [await stack.enter_async_context(FakeLLM(handler)) for _ in range(count)]
            http = JsonHttp(
                ",".join(server.url for server in servers),
                error=ModelError,
                token=None,
                connections=64,
                timeout=timeout,
                retry=NO_WAIT,
                news=news,
            )
            try:
                return await work(http, servers)
            finally:
                await http.close()

    return asyncio.run(run())


async def ask(http: JsonHttp) -> Any:
    return await http.request("POST", "/chat/completions", {}, expect=dict)


def counts(servers: Sequence[FakeLLM]) -> list[int]:
    return [len(server.bodies) for server in servers]


@pytest.mark.parametrize(
    "given",
    ["http://a:1/v1,http://b:2/v1", "[http://a:1/v1, 'http://b:2/v1']", ["http://a:1/v1", " http://b:2/v1"]],
)
def test_a_setting_takes_a_list_or_a_text_with_commas(given: Any, tmp_path: Path) -> None:
    assert Endpoint(url=given).url == "http://a:1/v1,http://b:2/v1"
    config = InferConfig(agent={"url": given}, reader={"url": given}, retriever=given, in_flight=3)  # type: ignore[arg-type]
    assert addresses(config.retriever) == ("http://a:1/v1", "http://b:2/v1")
    assert connections_of(config) == 6
    if isinstance(given, str):
        assert load_config(InferConfig, None, [f"agent.url={given}"]).agent == config.agent
    else:
        file = tmp_path / "c.yaml"
        file.write_text("agent:\n  url: [http://a:1/v1, http://b:2/v1]\n", encoding="utf-8")
        assert load_config(InferConfig, file).agent == config.agent


@pytest.mark.parametrize(
    "wrong", ["http://a:1/v1,b:2/v1", "http://a:1,http://u:p@b:2", "http://a:1 http://b:2"]
)
def test_a_list_with_an_address_that_cannot_be_one_is_refused(wrong: str) -> None:
    with pytest.raises(UserError):
        make_model(Endpoint(url=wrong), connections=1, token=None)


def test_fakes_and_single_addresses_stay_as_they_are() -> None:
    assert Endpoint(url="scripted:a,b.json").url == "scripted:a,b.json"
    assert addresses("toy:x,y") == ("toy:x,y",)
    assert addresses("") == ()
    assert [each.url for each in Replicas("http://a:1/v1/, http://a:1/v1").all] == ["http://a:1/v1"]


def test_the_requests_of_one_question_stay_with_one_server_and_questions_spread() -> None:
    async def work(http: JsonHttp, servers: Sequence[FakeLLM]) -> tuple[int, list[int]]:
        together = 0

        async def question() -> None:
            nonlocal together
            with one_piece_of_work():
                for _ in range(3):  # branches run in tasks of their own
                    await asyncio.gather(ask(http), ask(http))
                homes = replicas._HOMES.get()
                together += homes is not None and len(homes) == 1

        await asyncio.gather(*(question() for _ in range(8)))
        assert [each.pieces for each in http.replicas.all] == [0] * 4
        return together, counts(servers)

    assert against(work, count=4) == (8, [12, 12, 12, 12])


def test_the_runner_keeps_a_question_at_one_server(tmp_path: Path) -> None:
    async def work(http: JsonHttp, servers: Sequence[FakeLLM]) -> list[set[str]]:
        async def answer(number: int) -> dict[str, Any]:
            for _ in range(4):
                await http.request("POST", "/chat/completions", {"n": number}, expect=dict)
            return {"n": number}

        rows = tmp_path / "rows.jsonl"
        await run_all(range(12), answer=answer, in_flight=6, rows=rows, on_row=lambda _: None)
        return [{body["n"] for body in server.bodies} for server in servers]

    first, second = against(work)
    assert first.isdisjoint(second)
    assert len(first | second) == 12
    assert min(len(first), len(second)) >= 4


def test_requests_of_no_question_go_where_the_least_work_is() -> None:
    async def work(http: JsonHttp, servers: Sequence[FakeLLM]) -> list[int]:
        await asyncio.gather(*(ask(http) for _ in range(40)))
        return counts(servers)

    assert against(work, count=4) == [10, 10, 10, 10]


def test_a_dead_server_is_left_out_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "FIRST_REST", 0.05)
    notes: list[str] = []
    news = ServerNews()
    news.attach(on_note=notes.append, on_wait=lambda _: None)

    async def work(http: JsonHttp, servers: Sequence[FakeLLM]) -> None:
        servers[0].refuse = True
        with one_piece_of_work():
            for _ in range(6):
                await ask(http)
        assert counts(servers) == [0, 6]
        servers[0].refuse = False
        await asyncio.sleep(0.2)
        await asyncio.gather(*(ask(http) for _ in range(8)))
        await asyncio.gather(*(ask(http) for _ in range(8)))
        assert counts(servers)[0] >= 4

    against(work, news=news)
    first, second = notes
    assert "HTTP 503: starting; its requests go to the other server" in first
    assert second.endswith("answers again")


def test_no_call_fails_while_one_of_four_servers_dies_under_load() -> None:
    async def work(http: JsonHttp, servers: Sequence[FakeLLM]) -> list[Any]:
        async def question() -> None:
            with one_piece_of_work():
                for _ in range(6):
                    await ask(http)

        questions = [asyncio.create_task(question()) for _ in range(24)]
        await asyncio.sleep(0.02)
        await servers[2]._runner.cleanup()
        return await asyncio.gather(*questions, return_exceptions=True)

    assert against(work, count=4) == [None] * 24


def test_a_server_that_asks_to_wait_is_passed_over() -> None:
    async def run() -> tuple[int, int]:
        async def busy(_: dict[str, Any]) -> web.Response:
            return web.Response(status=429, headers={"Retry-After": "30"}, text="later")

        async def fine(_: dict[str, Any]) -> str:
            return "fine"

        async with FakeLLM(busy) as first, FakeLLM(fine) as second:
            model = HttpChatModel(Endpoint(url=[first.url, second.url], retry=NO_WAIT))  # type: ignore[arg-type]
            await model.ready()
            for _ in range(3):
                await model.chat([{"role": "user", "content": "x"}], sampling=Sampling())
            await model.close()
            return len(first.bodies), len(second.bodies)

    assert asyncio.run(run()) == (1, 3)


def test_all_servers_dead_is_one_error_and_a_death_ends_the_run() -> None:
    async def work(http: JsonHttp, servers: Sequence[FakeLLM]) -> None:
        await asyncio.gather(*(ask(http) for _ in range(4)))
        for server in servers:
            await server._runner.cleanup()
        with pytest.raises(ServerGoneError) as gone:
            await ask(http)
        assert all(server.url in str(gone.value) for server in servers)

    against(work)

    async def never() -> None:
        http = JsonHttp(
            "http://127.0.0.1:1,http://127.0.0.1:2",
            error=ModelError,
            token=None,
            connections=1,
            timeout=1,
            retry=NO_WAIT,
        )
        with pytest.raises(ModelError, match="Cannot connect"):
            await ask(http)
        await http.close()

    asyncio.run(never())


def test_a_request_that_takes_too_long_is_not_sent_to_each_server_at_once() -> None:
    asked: list[int] = []

    async def run() -> None:
        async def slow(_: dict[str, Any]) -> str:
            asked.append(1)
            await asyncio.sleep(5)
            return "late"

        async with FakeLLM(slow) as first, FakeLLM(slow) as second, FakeLLM(slow) as third:
            urls = ",".join(each.url for each in (first, second, third))
            retry = RetryPolicy(attempts=2, first_wait=0)
            http = JsonHttp(urls, error=ModelError, token=None, connections=8, timeout=0.1, retry=retry)
            with pytest.raises(ModelError, match="TimeoutError"):
                await ask(http)
            await http.close()
            assert [len(each.bodies) for each in (first, second, third)].count(1) == 2

    asyncio.run(run())
    assert len(asked) == 2


def test_servers_with_other_models_are_refused() -> None:
    async def run() -> None:
        async def fine(_: dict[str, Any]) -> str:
            return "fine"

        async with FakeLLM(fine, models=("a",)) as first, FakeLLM(fine, models=("b",)) as second:
            model = HttpChatModel(Endpoint(url=f"{first.url},{second.url}", retry=NO_WAIT))
            with pytest.raises(UserError, match="model is b there and a elsewhere"):
                await model.ready()
            await model.close()

    asyncio.run(run())


def test_a_server_that_comes_later_with_another_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "FIRST_REST", 0.0)

    async def run() -> None:
        async def fine(_: dict[str, Any]) -> str:
            await asyncio.sleep(0.01)
            return "fine"

        async with FakeLLM(fine, models=("b",)) as later:
            port = later.port
        async with FakeLLM(fine, models=("a",)) as first:
            model = HttpChatModel(Endpoint(url=f"http://127.0.0.1:{port}/v1,{first.url}", retry=NO_WAIT))
            await model.ready()
            assert model.name == "a"
            async with FakeLLM(fine, models=("b",), port=port):
                with pytest.raises(UserError, match="another model"):
                    for _ in range(4):
                        await asyncio.gather(
                            *(
                                model.chat([{"role": "user", "content": "x"}], sampling=Sampling())
                                for _ in "xy"
                            )
                        )
            await model.close()

    asyncio.run(run())


def retriever(index: str, searched: list[str]) -> web.Application:
    """A retriever that names its index and notes its queries."""

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "index": {"identity": index}})

    async def search(request: web.Request) -> web.Response:
        searched.append((await request.json())["query"])
        await asyncio.sleep(0.01)
        return web.json_response([[{"id": "1", "contents": "T\ntext"}], [1.0]])

    app = web.Application()
    app.router.add_get("/health", health)
    app.router.add_post("/search", search)
    return app


@pytest.mark.parametrize("same", [True, False])
def test_retrievers_share_the_queries_and_must_have_one_index(same: bool) -> None:
    async def run() -> tuple[int, int]:
        seen: tuple[list[str], list[str]] = ([], [])
        runners = [web.AppRunner(retriever("a" if same else str(n), each)) for n, each in enumerate(seen)]
        urls = []
        for runner in runners:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        client = RetrieverClient(",".join(urls), retry=NO_WAIT)
        try:
            await client.health()
            await asyncio.gather(*(client.search(str(n), 1) for n in range(10)))
            await runners[0].cleanup()
            await asyncio.gather(*(client.search(str(n), 1) for n in range(10)))
        finally:
            await client.close()
            for runner in runners:
                await runner.cleanup()
        return len(seen[0]), len(seen[1])

    if same:
        assert asyncio.run(run()) == (5, 15)
    else:
        with pytest.raises(UserError, match="another index"):
            asyncio.run(run())


def test_retrievers_that_are_all_away_are_one_error() -> None:
    async def run() -> None:
        client = RetrieverClient("http://127.0.0.1:1,http://127.0.0.1:2", retry=RetryPolicy(attempts=1))
        with pytest.raises(RetrieverError, match=r"127\.0\.0\.1:1/health"):
            await client.health()
        await client.close()

    asyncio.run(run())


EVENTS = st.lists(st.tuples(st.sampled_from(["ask", "fail", "works", "tick"]), st.integers(0, 3)))


@given(EVENTS)
def test_the_counts_add_up_and_a_server_is_always_found(events: list[tuple[str, int]]) -> None:
    now = [0.0]
    pool = Replicas(",".join(f"http://h{n}:1" for n in range(3)), clock=lambda: now[0])
    for event, number in events:
        replica = pool.all[number % 3]
        if event == "ask":
            with one_piece_of_work(), pool.place() as chosen:
                assert sum(each.pieces for each in pool.all) == 1
                assert chosen.pieces == 1
                with pool.place(avoid=[chosen]) as other:
                    assert other is not chosen
                assert other.pieces == 1
        elif event == "fail":
            pool.leave_out(replica)
            assert replica not in pool.well(avoid=())
        elif event == "works":
            pool.works(replica)
            assert replica in pool.well(avoid=())
        elif event == "tick":
            now[0] += 10.0 * number
        assert all(each.pieces == each.requests == each.loose == 0 for each in pool.all)
        assert all(each.rest <= replicas.LONGEST_REST for each in pool.all)
