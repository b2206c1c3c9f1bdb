"""The live page in a real browser: what a person types, presses and sees."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from helpers_demo import Gate, demo_config, served
from helpers_llm import PATIENCE, FakeLLM, item_of
from helpers_report import open_browser
from playwright.sync_api import expect

from src_core.protocols.rearag import render_step
from src_core.types import (
    DirectAnswer,
    Finish,
    Question,
    Search,
    Status,
    Step,
    Trajectory,
    trajectory_from_json,
)
from src_infer.methods import Method
from src_infer.runtime import Runtime

pytestmark = pytest.mark.browser
T = TypeVar("T")
ITEM = "What is item 1?"
EVIL = '<img src=x onerror="window.hit=1"><script>window.hit=2</script>'
IN_FLIGHT = "fetch('/api/status').then((reply) => reply.json()).then((facts) => facts.in_flight)"
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
    expect.set_options(timeout=PATIENCE * 1000)
    with open_browser() as opened:
        yield opened


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
    expect(tab.locator("#method")).not_to_have_value("")
    tab.press("#question", "Enter")


def runs(tab: Any, count: int) -> None:
    """Wait until so many runs are in flight; `wait_for_function` would need eval, which the page forbids."""
    deadline = time.monotonic() + PATIENCE
    while tab.evaluate(IN_FLIGHT) != count:
        assert time.monotonic() < deadline
        tab.wait_for_timeout(50)


def says(tab: Any, selector: str, text: str) -> None:
    """Wait until the first of these elements is on screen with this in its text: no page answers at once."""
    expect(tab.locator(selector).first).to_be_visible()
    expect(tab.locator(selector).first).to_contain_text(text)


def answers(tab: Any, text: str | re.Pattern[str]) -> None:
    """Wait for the text of the card at the end of a run."""
    expect(tab.locator("#answer:not([hidden]) .prose")).to_have_text(text)


def test_steps_come_one_by_one_and_passages_open(stage: Stage, tab: Any) -> None:
    steps, source = tab.locator("#steps > li"), tab.locator("#steps .passage").first
    tab.goto(stage.page(stage.model(stage.gate).url))
    ask(tab)
    expect(tab.locator("#progress")).to_be_visible()
    expect(steps).to_have_count(0)
    expect(tab.locator("#run")).to_be_disabled()
    stage.let(1)
    says(tab, "#steps > li.waiting", "What is the first fact about item 1?")
    says(tab, "#steps .seen", "Searching")
    stage.let(1)
    expect(tab.locator("#steps > li:not(.waiting) .passages")).to_be_visible()
    expect(steps).to_have_count(1)
    expect(source).to_be_hidden()
    tab.click("#steps .passages summary")
    expect(source).to_be_visible()
    expect(source).to_contain_text("Every fact about item 1.")
    stage.let(100)
    answers(tab, "item-1")
    expect(steps).to_have_count(3)
    expect(tab.locator("#steps .part.finish h4")).to_have_text("Finish")
    says(tab, "#answer .foot", "2 searches")
    says(tab, "#answer .foot", "tokens read")
    expect(tab.locator("#announcement")).to_contain_text("Answer: item-1")
    says(tab, "#recent", ITEM)
    expect(tab.locator("#run")).to_be_enabled()
    tab.evaluate("window.setTimeout = () => 0")  # the button keeps saying what it did
    tab.click("#answer .foot button")
    says(tab, "#answer .foot button", "Copied")
    copied = trajectory_from_json(tab.evaluate("navigator.clipboard.readText()"))
    assert (copied.answer, len(copied.steps)) == ("item-1", 3)


def test_an_example_and_another_method(stage: Stage, tab: Any) -> None:
    stage.let(100)
    tab.goto(stage.page(stage.model(stage.gate).url))
    tab.wait_for_selector("#examples button")
    tab.select_option("#method", "closed_book")
    says(tab, "#about", "Closed book")
    tab.click("#examples button")
    answers(tab, "item-0")
    expect(tab.locator("#steps > li")).to_have_count(0)
    expect(tab.locator("#with")).to_have_text("closed_book, at most 15 steps, with fake")


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
    answers(tab, re.compile("The run was stopped"))
    says(tab, "#steps", "(not observed)")
    expect(tab.locator("#stop")).to_be_hidden()
    expect(tab.locator("#run")).to_be_enabled()
    runs(tab, 0)
    asked = len(llm.bodies)
    stage.let(100)
    ask(tab, "What is item 0?")
    answers(tab, "item-0")
    assert {item_of(body) for body in llm.bodies[asked:]} == {0}  # and nothing more about item 1


def test_a_run_that_is_stopped_before_its_first_step_says_so(stage: Stage, tab: Any) -> None:
    tab.goto(stage.page(stage.model(stage.gate).url))
    ask(tab)
    runs(tab, 1)
    tab.keyboard.press("Escape")
    answers(tab, "The run was stopped before its first step.")


def test_a_question_of_two_lines_is_whole_in_a_window_that_was_made_narrow(stage: Stage, tab: Any) -> None:
    cut = "field => field.scrollHeight - field.clientHeight"
    tab.set_viewport_size({"width": 1300, "height": 844})
    tab.goto(stage.page(stage.model(stage.gate).url))
    tab.fill("#question", "In which town was the librettist of the opera Don Giovanni born?")
    wide = tab.locator("#question").evaluate("field => field.clientHeight")
    tab.set_viewport_size({"width": 390, "height": 844})
    expect(tab.locator("#question")).not_to_have_css("height", f"{wide}px")
    assert tab.locator("#question").evaluate(cut) == 0


def test_a_query_that_was_asked_before_is_told_beside_the_count(
    stage: Stage, tab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def repeats(asked: Question, _: Runtime) -> Trajectory:
        steps = (Step(1, "", Search("x?"), "seen"), Step(2, "", Search("x?"), "seen", repeated=True))
        return Trajectory(asked, (*steps, Step(3, "", Finish("y"))), "y", Status.FINISHED)

    monkeypatch.setattr("src_demo.runs.load_method", lambda *_: Method(repeats, None, "", False))
    tab.goto(stage.page(stage.model(stage.gate).url))
    ask(tab)
    answers(tab, "y")
    says(tab, "#answer .foot", "2 searches (1 asked before)")


def test_closing_the_tab_ends_the_run(stage: Stage, tab: Any, browser: Any) -> None:
    url = stage.page(stage.model(stage.gate).url)
    tab.goto(url)
    left = tab.context.new_page()
    left.goto(url)
    ask(left)
    left.wait_for_selector("#progress:not([hidden])")
    runs(tab, 1)
    left.close()
    runs(tab, 0)


def test_direct_answers_and_conclusions_are_shown(
    stage: Stage, tab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def mixed(question: Question, runtime: Runtime) -> Trajectory:
        search = Step(1, "Who?", Search("Who composed Aida?"))
        whole = replace(search, observation="It was Verdi.", conclusion="Giuseppe Verdi", parse_failures=2)
        own = Step(2, "I know.", DirectAnswer("In which country is Busseto?", "Italy"))
        assert runtime.on_draft
        assert runtime.on_step
        for draft, step in ((search, whole), (own, own)):
            runtime.on_draft(question, draft)
            runtime.on_step(question, step)
        return Trajectory(question, (whole, own), "Italy", Status.CAPPED_THEN_ANSWERED)

    monkeypatch.setattr("src_demo.runs.load_method", lambda *_: Method(mixed, None, "", False))
    tab.goto(stage.page(stage.model(stage.gate).url))
    ask(tab)
    answers(tab, "Italy")
    expect(tab.locator("#steps > li")).to_have_count(2)
    expect(tab.locator("#steps .waiting, #steps > li:nth-child(2) .seen")).to_have_count(0)
    expect(tab.locator("#steps .conclusion")).to_have_text("ConclusionGiuseppe Verdi")
    expect(tab.locator("#steps .direct_answer")).to_have_text(
        "Direct answerIn which country is Busseto?Italy"
    )
    says(tab, "#steps .step-head", "2 malformed replies before")
    says(tab, "#answer .foot", "answered at the limit of steps")


def test_the_decisions_of_a_run_are_a_tree_whose_texts_are_text(
    stage: Stage, tab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def decided(question: Question, runtime: Runtime) -> Trajectory:
        own, found = DirectAnswer(EVIL, "Verdi"), Search("Where was Verdi born?")
        steps = (Step(1, "", own), Step(2, "", found, conclusion=EVIL), Step(3, EVIL, Finish("Le Roncole")))
        decisions = [{"n": n, "chosen": "direct", "search": -3.25, "direct": -0.5} for n in (1, 2)]
        notes = {"decisions": decisions}
        return Trajectory(question, steps, "Le Roncole", Status.FINISHED, provenance=notes)

    monkeypatch.setattr("src_demo.runs.load_method", lambda *_: Method(decided, None, "", False))
    tab.goto(stage.page(stage.model(stage.gate).url))
    ask(tab)
    answers(tab, "Le Roncole")
    tab.click("#answer .tree summary")
    expect(tab.locator("#answer .tree .node")).to_have_count(6)
    expect(tab.locator("#answer .tree .won .node.direct").first).to_contain_text("window.hit=2")
    says(tab, "#answer .tree .won .node.direct small >> nth=0", "log P -0.50")
    says(tab, "#answer .tree .lost .node.search .end", "not taken")
    says(tab, "#answer .tree .won .node.finish .end", "the result")
    assert tab.evaluate("window.hit") is None
    expect(tab.locator("#answer .tree script, #answer .tree img")).to_have_count(0)


def test_a_server_that_is_down_is_told_with_its_command(stage: Stage, tab: Any) -> None:
    command = "WITH_SERVERS=1 PROFILE=cpu bash deploy/deploy_demo.sh"
    tab.goto(stage.page("http://127.0.0.1:1/v1", *DOWN, f"serving.start_with={command}"))
    says(tab, "#missing", "The model server on port 1 does not answer.")
    says(tab, "#missing", "The retriever on port 1 does not answer.")
    expect(tab.locator("#missing code")).to_have_text([command])
    expect(tab.locator("#servers-line")).to_have_text("2 servers missing")
    ask(tab)
    answers(tab, re.compile("^The model server on port 1 does not answer; "))
    expect(tab.locator("#answer h3")).to_have_text("It could not be answered")


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
    answers(tab, EVIL + "w" * 300)
    tab.click("#steps .passages summary")
    for part in (
        "#asked",
        "#steps .thought",
        "#steps .argument",
        "#steps .seen",
        "#steps .passage",
        "#recent",
    ):
        says(tab, part, EVIL)
    expect(tab.locator("main img, main script, #result [onerror]")).to_have_count(0)
    assert tab.evaluate("window.hit") is None
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than the phone"


def test_the_token_is_asked_for_and_forgotten_with_the_tab(stage: Stage, tab: Any) -> None:
    stage.let(100)
    tab.goto(stage.page(stage.model(stage.gate).url, token="s3cret"))
    box = tab.locator("#token-box")
    expect(box).to_be_visible()
    tab.fill("#token", "wrong")
    wrong = "Bearer wrong"
    with tab.expect_response(lambda reply: reply.request.headers.get("authorization") == wrong) as refused:
        tab.press("#token", "Enter")
    assert refused.value.status == 401
    tab.evaluate("fetch('/health').then((reply) => reply.text())")  # meanwhile the page reads the refusal
    expect(box).to_be_visible()
    tab.fill("#token", "s3cret")
    tab.press("#token", "Enter")
    expect(box).to_be_hidden()
    ask(tab)
    answers(tab, "item-1")
    assert tab.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
    tab.reload()
    expect(box).to_be_visible()
