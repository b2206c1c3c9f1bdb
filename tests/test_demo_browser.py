"""The live page in a real browser: what a person types, presses and sees. Skipped without Chromium."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest
from helpers_demo import Gate, demo_config, served
from helpers_llm import PATIENCE, FakeLLM

from src_core.actions import render_step
from src_core.types import Finish, Search, trajectory_from_json

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")

T = TypeVar("T")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ITEM = "What is item 1?"
EVIL = '<img src=x onerror="window.hit=1"><script>window.hit=2</script>'
DOWN = [f"{key}=http://127.0.0.1:1" for key in ("agent.url", "reader.url", "retriever")]


class Stage:
    """Servers in a loop of their own, beside the browser's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gate = Gate()
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self.let(100)
        self._do(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def model(self, handler: Callable[[dict[str, Any]], Awaitable[Any]]) -> FakeLLM:
        return self._do(self._stack.enter_async_context(FakeLLM(handler)))

    def page(self, url: str, *changes: str, token: str | None = None) -> str:
        config = demo_config(self.folder, url, *changes)
        return self._do(self._stack.enter_async_context(served(config, token=token)))

    def let(self, count: int) -> None:
        self._loop.call_soon_threadsafe(self.gate.let, count)

    def _do(self, work: Awaitable[T]) -> T:
        async def wait() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result(PATIENCE)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A tab; a script that fails, or one that the page's own rules forbid, fails the test."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.set_default_timeout(PATIENCE * 1000)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if "Content Security" in said.text else None)
    yield page
    context.close()
    assert wrong == []


def ask(tab: Any, question: str = ITEM) -> None:
    tab.fill("#question", question)
    tab.wait_for_function("document.querySelector('#method').value !== ''")
    tab.press("#question", "Enter")


def answer(tab: Any) -> str:
    """The text of the card at the end of a run."""
    tab.wait_for_selector("#answer:not([hidden])")
    text: str = tab.inner_text("#answer .big")
    return text


def test_steps_come_one_by_one_and_passages_open(stage: Stage, tab: Any) -> None:
    tab.goto(stage.page(stage.model(stage.gate).url))
    ask(tab)
    tab.wait_for_selector("#progress:not([hidden])")
    assert tab.locator("#steps > li").count() == 0
    assert tab.is_disabled("#run")
    stage.let(1)
    tab.wait_for_selector("#steps > li.waiting")
    assert "What is the first fact about item 1?" in tab.inner_text("#steps > li")
    assert "Searching" in tab.inner_text("#steps .seen")
    stage.let(1)
    tab.wait_for_selector("#steps > li:not(.waiting) .sources")
    assert tab.locator("#steps > li").count() == 1
    assert not tab.is_visible("#steps .sources li")
    tab.click("#steps .sources summary")
    assert "Every fact about item 1." in tab.inner_text("#steps .sources li")
    stage.let(100)
    assert answer(tab) == "item-1"
    assert tab.locator("#steps > li").count() == 3
    assert tab.inner_text("#steps .label.finish") == "Finish"
    assert "2 searches" in tab.inner_text("#answer .foot")
    assert "tokens read" in tab.inner_text("#answer .foot")
    assert "Answer: item-1" in tab.inner_text("#told")
    assert ITEM in tab.inner_text("#recent")
    assert not tab.is_disabled("#run")
    tab.click("#answer .foot button")
    tab.wait_for_selector("text=Copied")
    copied = trajectory_from_json(tab.evaluate("navigator.clipboard.readText()"))
    assert (copied.answer, len(copied.steps)) == ("item-1", 3)


def test_an_example_and_another_method(stage: Stage, tab: Any) -> None:
    stage.let(100)
    tab.goto(stage.page(stage.model(stage.gate).url))
    tab.wait_for_selector("#examples button")
    tab.select_option("#method", "closed_book")
    assert "Closed book" in tab.inner_text("#about")
    tab.click("#examples button")
    assert answer(tab) == "item-0"
    assert tab.locator("#steps > li").count() == 0
    assert tab.inner_text("#with") == "closed_book, at most 15 steps, with fake"


@pytest.mark.parametrize("how", ["Escape", "button"])
def test_a_run_is_stopped(stage: Stage, tab: Any, how: str) -> None:
    llm = stage.model(stage.gate)
    tab.goto(stage.page(llm.url))
    ask(tab)
    stage.let(1)
    tab.wait_for_selector("#steps > li.waiting")
    if how == "button":
        tab.click("#stop")
    else:
        tab.keyboard.press("Escape")
    assert "The run was stopped" in answer(tab)
    assert "(not observed)" in tab.inner_text("#steps")
    assert not tab.is_visible("#stop")
    assert not tab.is_disabled("#run")
    asked = len(llm.bodies)
    stage.let(100)
    tab.wait_for_timeout(300)
    assert len(llm.bodies) == asked


def test_closing_the_tab_ends_the_run(stage: Stage, tab: Any, browser: Any) -> None:
    url = stage.page(stage.model(stage.gate).url)
    tab.goto(url)
    left = tab.context.new_page()
    left.goto(url)
    ask(left)
    left.wait_for_selector("#progress:not([hidden])")
    in_flight = "fetch('/api/status').then((reply) => reply.json()).then((facts) => facts.in_flight)"
    tab.wait_for_function(f"{in_flight}.then((n) => n === 1)")
    left.close()
    tab.wait_for_function(f"{in_flight}.then((n) => n === 0)")


def test_a_server_that_is_down_is_told_with_its_command(stage: Stage, tab: Any) -> None:
    command = "WITH_SERVERS=1 PROFILE=cpu bash deploy/deploy_demo.sh"
    tab.goto(stage.page("http://127.0.0.1:1/v1", *DOWN, f"serving.start_with={command}"))
    tab.wait_for_selector("#missing:not([hidden])")
    assert "The model server on port 1 does not answer." in tab.inner_text("#missing")
    assert "The retriever on port 1 does not answer." in tab.inner_text("#missing")
    assert tab.locator("#missing code").all_inner_texts() == [command]
    assert tab.inner_text("#servers-line") == "2 servers missing"
    ask(tab)
    assert answer(tab).startswith("The model server on port 1 does not answer; ")
    assert tab.inner_text("#answer h3") == "It could not be answered"


def test_what_models_and_corpora_write_is_never_run(stage: Stage, tab: Any) -> None:
    async def reply(body: dict[str, Any]) -> str:
        if "Reasoning process" not in json.dumps(body):
            return EVIL + "w" * 300
        n = sum(message["role"] == "assistant" for message in body["messages"]) + 1
        return render_step(n, EVIL, Search(EVIL) if n == 1 else Finish(EVIL))

    url = stage.page(stage.model(reply).url)
    rows = [{"id": EVIL, "contents": f"{EVIL} onerror\n{EVIL} img src x"}]
    (stage.folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tab.goto(url)
    ask(tab, EVIL)
    assert answer(tab) == EVIL + "w" * 300
    tab.click("#steps .sources summary")
    for part in ("#asked", "#steps .thought", "#steps .act", "#steps .seen", "#steps .sources li", "#recent"):
        assert EVIL in tab.inner_text(part), part
    assert tab.evaluate("window.hit") is None
    assert tab.locator("main img, main script, #result [onerror]").count() == 0
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than the phone"


def test_the_token_is_asked_for_and_forgotten_with_the_tab(stage: Stage, tab: Any) -> None:
    stage.let(100)
    tab.goto(stage.page(stage.model(stage.gate).url, token="s3cret"))
    tab.wait_for_selector("#token-box:not([hidden])")
    tab.fill("#token", "wrong")
    tab.press("#token", "Enter")
    tab.wait_for_timeout(300)
    assert tab.is_visible("#token-box")
    tab.fill("#token", "s3cret")
    tab.press("#token", "Enter")
    tab.wait_for_selector("#token-box", state="hidden")
    ask(tab)
    assert answer(tab) == "item-1"
    assert tab.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
    tab.reload()
    tab.wait_for_selector("#token-box:not([hidden])")
