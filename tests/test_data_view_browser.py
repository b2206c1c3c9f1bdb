"""The data viewer in a real browser: it lists, opens, filters and marks, and runs nothing that it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers_chains import chain, finish, question, search
from helpers_llm import PATIENCE
from helpers_page import EVIL
from helpers_report import open_browser
from playwright.sync_api import expect

from src_core.types import DirectAnswer, Passage, Step, Trajectory
from src_data.filters.filter_trajectory import FilterResult
from src_data.viewing.chain_files import Entry
from src_data.viewing.view_page import write_page

pytestmark = pytest.mark.browser
KEPT, REJECTED = FilterResult(True, "", "", 1.0), FilterResult(False, "unsupported", "not in the text", 0.0)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    expect.set_options(timeout=PATIENCE * 1000)
    with open_browser() as opened:
        yield opened


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that fails the test when its script fails or when it asks the network for anything."""
    opened = browser.new_page(viewport={"width": 390, "height": 844})
    opened.set_default_timeout(PATIENCE * 1000)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    opened.on("request", lambda asked: None if asked.url.startswith("file:") else faults.append(asked.url))
    yield opened
    opened.close()
    assert faults == []


def go(page: Any, path: Path, *entries: Entry) -> None:
    write_page(path, entries, title="Chains")
    page.goto(path.as_uri())


def mixed() -> Trajectory:
    """A chain with each kind of action, and a conclusion."""
    return chain(
        replace(search(1, "Who composed Aida?", "It was Verdi, of Le Roncole."), conclusion="Giuseppe Verdi"),
        Step(2, "I know this.", DirectAnswer("In which country is Busseto?", "Italy")),
        finish(3, "Le Roncole"),
    )


def test_every_part_of_a_step_is_drawn(page: Any, tmp_path: Path) -> None:
    go(page, tmp_path / "p.html", Entry(mixed(), KEPT, "", "line 1"))
    expect(page.locator(".step")).to_have_count(0)
    expect(page.locator(".chain .tags .good")).to_have_text("kept")
    page.click(".chain summary")
    expect(page.locator(".step")).to_have_count(3)
    expect(page.locator(".part.search .argument")).to_have_text("Who composed Aida?")
    expect(page.locator(".part.seen mark.gold")).to_have_text("Le Roncole")
    expect(page.locator(".part.conclusion")).to_have_text("ConclusionGiuseppe Verdi")
    expect(page.locator(".part.direct_answer")).to_have_text("Direct answerIn which country is Busseto?Italy")
    expect(page.locator(".part.finish .argument")).to_have_text("Le Roncole")
    expect(page.locator(".chiplet")).to_have_text(["Title"])
    page.click(".passages summary")
    expect(page.locator(".passage")).to_have_text("Titlep1")


def test_filters_and_search_narrow(page: Any, tmp_path: Path) -> None:
    odd = chain(asked=question("A \x01 source?", dataset="odd\x01set"))
    torn = Entry(None, REJECTED, '{"torn"', "line 3")
    go(page, tmp_path / "p.html", Entry(mixed(), KEPT, "", "1"), Entry(odd, None, "", "2"), torn)
    count = page.locator("#count")
    expect(count).to_have_text("3 of 3 conversations, 3 listed")
    page.select_option("#source", "odd\x01set")
    expect(count).to_have_text("1 of 3 conversations, 1 listed")
    page.select_option("#source", "")
    page.select_option("#outcome", "not filtered")
    expect(count).to_have_text("1 of 3 conversations, 1 listed")
    page.select_option("#outcome", "")
    page.fill("#search", '"country is busseto"')
    expect(count).to_have_text("1 of 3 conversations, 1 listed")
    page.click("#open")
    expect(page.locator(".part.direct_answer mark")).to_have_text("country is Busseto")
    page.fill("#search", "torn")
    expect(page.locator(".chain > summary")).to_contain_text("(unreadable)")
    page.click("#open")
    expect(page.locator(".part.raw")).to_have_text('As it stood{"torn"')
    expect(page.locator(".part.outcome")).to_have_text(
        "unsupportedno observation says the answernot in the text"
    )


def test_nothing_that_the_page_holds_is_obeyed(page: Any, tmp_path: Path) -> None:
    attack = f"<img src=x onerror='window.hit = 1'>{EVIL}\u202e" + "w" * 300
    step = replace(
        search(1, attack, attack, thought=attack),
        passages=(Passage(attack, attack, attack),),
        think=attack,
        reply=attack,
        parse_fixes=(attack,),
        conclusion=attack,
    )
    own = Step(2, attack, DirectAnswer(attack, attack))
    evil = chain(step, own, finish(3, attack), asked=question(attack, (attack,), dataset=attack))
    result = FilterResult(False, attack, attack, 0.0)
    go(page, tmp_path / "p.html", Entry(evil, result, "", attack), Entry(None, result, attack, attack))
    page.click("#open")
    expect(page.locator(".step")).to_have_count(3)
    for box in page.locator(".step details").all():
        box.locator("summary").click()
    expect(page.locator(".passage")).to_have_count(1)
    expect(page.locator(".folded .prose")).to_have_count(2)
    expect(page.locator("img, #list script, iframe, object, [onerror]")).to_have_count(0)
    assert page.evaluate("window.hit === undefined")
    shown = page.evaluate("document.body.innerText")
    assert not {"\x1b", "\u202e"} & set(shown)
    assert page.evaluate("document.documentElement.scrollWidth") == 390, "wider than the phone"
