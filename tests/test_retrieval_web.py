"""Searching the web: four engines by their shapes, a cache on disk, a rate, hostile results, hidden keys."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from helpers_web import KEY, SHAPES, FakeWeb
from hypothesis import given
from hypothesis import strategies as st

from src_core.errors import RetrieverError, UserError
from src_core.http_json import RetryPolicy
from src_core.server_news import ServerNews
from src_core.types import Passage
from src_infer.config import InferConfig
from src_infer.connect import make_retriever, retriever_identity
from src_retrieval.web import web_engine
from src_retrieval.web.base import Result
from src_retrieval.web.cache import SearchCache
from src_retrieval.web.pages import one_paragraph, passages_of
from src_retrieval.web.retriever import WebRetriever, WebSearch, WebSettings

ENGINES = sorted(SHAPES)
NO_WAIT = RetryPolicy(attempts=3, first_wait=0)
Work = Callable[[WebRetriever, FakeWeb], Awaitable[Any]]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BRAVE_API_KEY", "SERPER_API_KEY", "TAVILY_API_KEY"):
        monkeypatch.setenv(name, KEY)


def against(
    engine: str,
    folder: Path,
    work: Work,
    *,
    before: tuple[Any, ...] = (),
    news: ServerNews | None = None,
    **more: Any,
) -> Any:
    """Do `work` with a retriever of a local server that answers like `engine`."""
    settings = WebSettings(**{"cache": str(folder / "web.sqlite3"), "per_second": 1000.0, **more})

    async def run() -> Any:
        async with FakeWeb(engine, before=before) as server:
            retriever = make_retriever(
                f"{engine}:{server.url}", connections=8, token="ours", retry=NO_WAIT, news=news, web=settings
            )
            assert isinstance(retriever, WebRetriever)
            try:
                return await work(retriever, server)
            finally:
                await retriever.close()

    return asyncio.run(run())


async def capital(retriever: WebRetriever, _: FakeWeb) -> list[Passage]:
    return await retriever.search("capital of France", 5)


@pytest.mark.parametrize("engine", ENGINES)
def test_each_shape_becomes_passages_of_plain_text(engine: str, tmp_path: Path) -> None:
    first, second = against(engine, tmp_path, capital)
    assert first.id == "https://a.example/paris#0"
    assert first.title == "Paris"
    assert first.text.startswith("Paris is the capital of France␛[2J� <tool> and its largest city.")
    assert second.contents == "Lyon\nLyon is a city in France."
    assert (first.scores, second.scores) == ({"retrieval": 1.0}, {"retrieval": 0.5})
    if engine == "brave":
        assert first.text.endswith("The Seine flows through it.")


def test_the_text_of_pages_is_cut_to_passages_and_the_best_are_found(tmp_path: Path) -> None:
    async def work(retriever: WebRetriever, server: FakeWeb) -> list[Passage]:
        found = await retriever.search("where does the Saone meet the Rhone", 2)
        assert server.bodies == [
            {"query": "where does the Saone meet the Rhone", "max_results": 10, "include_raw_content": True}
        ]
        return found

    best, *_ = against("tavily", tmp_path, work, pages=True, passage_chars=300)
    assert "Saone meets the Rhone" in best.text
    assert best.id.startswith("https://b.example/lyon#")
    assert len(best.text) <= 300


@pytest.mark.parametrize("engine", ENGINES)
def test_a_query_is_sent_once_and_each_search_says_what_and_when(engine: str, tmp_path: Path) -> None:
    told: list[WebSearch] = []

    async def work(retriever: WebRetriever, server: FakeWeb) -> list[str]:
        retriever.on_search = told.append
        await asyncio.gather(*(retriever.search("  capital of\nFrance ", 1) for _ in range(3)))
        await retriever.search("capital of France", 2)
        return server.queries

    assert against(engine, tmp_path, work) == ["capital of France"]
    assert [each.cached for each in told] == [False, True, True, True]
    assert {(each.engine, each.query, each.results) for each in told} == {(engine, "capital of France", 2)}
    assert len({each.at for each in told}) == 1
    assert told[0].at.endswith("+00:00")


def test_the_cache_outlives_the_run_and_is_keyed_by_engine_and_address(tmp_path: Path) -> None:
    async def run() -> tuple[int, int]:
        settings = WebSettings(cache=str(tmp_path / "web.sqlite3"), per_second=1000.0)
        async with FakeWeb("serper") as first, FakeWeb("serper") as second:
            for server in (first, first, second):
                retriever = make_retriever(f"serper:{server.url}", connections=1, token=None, web=settings)
                await retriever.search("x", 1)
                await retriever.close()
            return len(first.queries), len(second.queries)

    assert asyncio.run(run()) == (1, 1)
    assert (tmp_path / "web.sqlite3").stat().st_mode & 0o077 == 0


def test_an_entry_expires_and_the_oldest_leave_a_full_cache(tmp_path: Path) -> None:
    now = [1000.0]
    cache = SearchCache(tmp_path / "c", days=1, most_bytes=20_000, clock=lambda: now[0])
    row = Result("https://a.example", "t", ("x" * 900,))
    for number in range(40):
        now[0] += 1
        cache.put(str(number), [row])
    assert cache.get("0") is None
    assert cache.get("39") == ([row], now[0])
    held = sum(cache.get(str(number)) is not None for number in range(40))
    assert 15 <= held <= 21
    now[0] += 86_400 - 2
    assert cache.get("39") is not None
    now[0] += 3
    assert cache.get("39") is None
    cache.close()


def test_a_cache_that_is_none_is_one_sentence_and_a_broken_entry_counts_as_none(tmp_path: Path) -> None:
    file = tmp_path / "web.sqlite3"
    file.write_bytes(b"no database at all" * 100)
    with pytest.raises(UserError, match=r"web\.sqlite3 cannot be used as the cache"):
        SearchCache(file, days=1, most_bytes=1 << 20)
    file.unlink()
    cache = SearchCache(file, days=1, most_bytes=1 << 20)
    cache.put("k", [])
    with sqlite3.connect(file) as store:
        store.execute("UPDATE searches SET reply = ?", (b'[{"url": 3}]',))
    assert cache.get("k") is None
    cache.close()


def test_requests_keep_to_the_rate(tmp_path: Path) -> None:
    async def work(retriever: WebRetriever, server: FakeWeb) -> list[float]:
        await asyncio.gather(*(retriever.search(f"q{n}", 1) for n in range(4)))
        return server.times

    times = against("serper", tmp_path, work, per_second=20.0)
    assert times[-1] - times[0] >= 0.1  # three turns of 50 ms, minus what the first request took


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_and_broken_engines_are_tried_again(engine: str, status: int, tmp_path: Path) -> None:
    async def work(retriever: WebRetriever, server: FakeWeb) -> int:
        assert len(await retriever.search("capital of France", 5)) == 2
        return len(server.queries)

    assert against(engine, tmp_path, work, before=(status, status)) == 3
    with pytest.raises(RetrieverError, match=f"HTTP {status}"):
        against(engine, tmp_path / "new", capital, before=(status,) * 9)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_wrong_key_is_one_sentence_without_the_key(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "wrong-key-with-0987654321"
    name = f"{engine.upper()}_API_KEY"
    monkeypatch.setenv(name, wrong)
    before = (403,) if engine == "searxng" else ()
    with pytest.raises(UserError) as refused:
        against(engine, tmp_path, capital, before=before)
    said = str(refused.value)
    assert "\n" not in said
    assert wrong not in said
    assert ("search.formats" if engine == "searxng" else name) in said


@pytest.mark.parametrize("engine", ["brave", "serper", "tavily"])
def test_no_key_is_one_sentence(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(f"{engine.upper()}_API_KEY")
    with pytest.raises(UserError, match=f"needs the variable {engine.upper()}_API_KEY"):
        against(engine, tmp_path, capital)


@pytest.mark.parametrize("engine", ["brave", "serper", "tavily"])
def test_the_key_is_in_no_error_note_or_file(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes: list[str] = []
    news = ServerNews()
    news.attach(on_note=notes.append, on_wait=notes.append)

    async def work(retriever: WebRetriever, _: FakeWeb) -> dict[str, Any]:
        with pytest.raises(RetrieverError) as failed:
            await retriever.search("x", 1)
        assert "no luck with" in str(failed.value)
        assert "(key)" in str(failed.value)
        assert KEY not in str(failed.value)
        await retriever.search("y", 1)
        return await retriever_identity(retriever, "")

    identity = against(engine, tmp_path, work, before=(500, 500, 400), news=news)
    assert any("no luck with" in note for note in notes)
    assert KEY not in json.dumps([notes, identity]) + "".join(capsys.readouterr())
    assert all(KEY.encode() not in file.read_bytes() for file in tmp_path.iterdir())


def test_a_redirection_gets_no_key(tmp_path: Path) -> None:
    got: list[str] = []

    async def work(retriever: WebRetriever, server: FakeWeb) -> None:
        async def elsewhere(request: web.Request) -> web.Response:
            got.append(str(request.headers))
            return web.json_response({"organic": []})

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", elsewhere)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.before = [f"http://127.0.0.1:{runner.addresses[0][1]}/search"]
        with pytest.raises(RetrieverError, match="HTTP 302"):
            await retriever.search("x", 1)
        await runner.cleanup()

    against("serper", tmp_path, work)
    assert got == []


def test_a_plan_that_is_used_up_ends_the_run_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the plan behind TAVILY_API_KEY is used up"):
        against("tavily", tmp_path, capital, before=(432,))


@pytest.mark.parametrize("reply", [{}, {"organic": 3}, {"organic": {"a": 1}}])
def test_another_schema_is_an_error_and_not_cached(reply: dict[str, Any], tmp_path: Path) -> None:
    async def work(retriever: WebRetriever, server: FakeWeb) -> int:
        with pytest.raises(RetrieverError, match="no list organic"):
            await retriever.search("x", 1)
        return len(await retriever.search("x", 1))

    assert against("serper", tmp_path, work, before=(reply,) * 3) == 1


def test_a_search_whose_engines_are_silent_is_no_search_without_results(tmp_path: Path) -> None:
    silent = {"results": [], "unresponsive_engines": [["google", "CAPTCHA"]]}
    nothing: dict[str, Any] = {"results": [], "unresponsive_engines": []}
    with pytest.raises(RetrieverError, match="CAPTCHA"):
        against("searxng", tmp_path, capital, before=(silent,) * 3)
    assert against("searxng", tmp_path, capital, before=(nothing,)) == []
    assert against("brave", tmp_path, capital, before=({"type": "search"},)) == []


def test_long_queries_are_cut_to_what_the_engine_takes(tmp_path: Path) -> None:
    async def work(retriever: WebRetriever, server: FakeWeb) -> tuple[int, list[str]]:
        await retriever.search("word " * 60, 1)
        await retriever.search("w" * 500, 1)
        assert await retriever.search("  ", 1) == []
        return retriever.cut_queries, server.queries

    cut, sent = against("brave", tmp_path, work)
    assert cut == 2
    assert [len(sent[0].split()), len(sent[1])] == [50, 400]


def test_rows_that_are_no_pages_are_left_out() -> None:
    urls = [
        "javascript:alert(1)",
        "",
        "https://u:p@a.example/",
        "http://[",
        "https://a.example/\x1b[2J",
        "ftp://a.b/",
    ]
    rows = [Result(url, "t", ("text",)) for url in (*urls, "https://a.example/x")]
    assert [each.id for each in passages_of(rows, passage_chars=200)] == ["https://a.example/x#0"]
    assert passages_of([Result("https://a.example", "", ("",))], passage_chars=200) == []
    (only,) = passages_of([Result("https://a.example/1", "<b>", ("text",))] * 2, passage_chars=200)
    assert only.title == "a.example"


@given(st.text(max_size=3000), st.integers(100, 400))
def test_any_text_becomes_passages_of_bounded_length_without_control_characters(text: str, most: int) -> None:
    for passage in passages_of([Result("https://a.example", text, (text,), text)], passage_chars=most):
        assert 0 < len(passage.text) <= most
        assert passage.contents.count("\n") == 1
        assert not any(ord(char) < 32 for char in passage.contents if char != "\n")


def test_a_page_of_a_million_open_tags_is_read_in_bounded_time() -> None:
    begun = time.process_time()
    for piece in ("<a ", "<!--", "&#", "<script>", "<b>", "</script", "<", "&#9", "<svg><!-- "):
        assert len(one_paragraph(piece * 400_000)) <= 200_000
    assert one_paragraph("&#" + "9" * 10_000) == "\N{REPLACEMENT CHARACTER}"
    assert time.process_time() - begun < 20
    assert (
        one_paragraph("a < b, c<3 and x > y <!-- no --> <SCRIPT>z</Script >end") == "a < b, c<3 and x > y end"
    )


def test_the_setting_names_an_engine_and_other_retrievers_stay_what_they_are(tmp_path: Path) -> None:
    for where in ("http://a:1", "toy:x", "ranked:y", "brave", "nothing:x"):
        assert web_engine(where) is None
    with pytest.raises(UserError, match="names no address"):
        make_retriever("searxng:", connections=1, token=None, web=WebSettings(cache=str(tmp_path / "c")))
    config = InferConfig(retriever="brave:", agent={"url": "scripted:x"}, reader={"url": "scripted:x"})  # type: ignore[arg-type]
    assert "the web is searched" in config.not_reproducible()
    assert not replace(config, retriever="toy:x").not_reproducible()
