"""The report in a real browser: it opens fast, finds, shows and compares, and runs nothing that it holds."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers_chains import chain, finish, question, search
from helpers_page import EVIL
from helpers_report import open_browser, synthetic, write_run

from src_core.types import Passage, Status, Trajectory
from src_eval.report.report_page import write_report
from src_eval.report.run_files import read_scored_run

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium")
HIT = "window.hit = 1"
ATTACK = f"<script>{HIT}</script></script><img src=x onerror='{HIT}'><svg onload='{HIT}'>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds `one.html`, the page of 1,000 trajectories, and `two.html`, two runs on the first 60 of them."""
    made = tmp_path_factory.mktemp("report")
    one = read_scored_run(write_run(made / "one", synthetic(1000)))
    write_report(made / "one.html", [one])
    pair = [write_run(made / name, synthetic(60, seed=seed)) for name, seed in (("first", 1), ("second", 2))]
    write_report(made / "two.html", [read_scored_run(path) for path in pair])
    return made


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that fails the test when its script fails or when it asks the network for anything."""
    opened = browser.new_page(viewport={"width": 1300, "height": 900})
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    opened.on("request", lambda asked: None if asked.url.startswith("file:") else faults.append(asked.url))
    yield opened
    opened.close()
    assert faults == []


def go(page: Any, path: Path, anchor: str = "") -> None:
    page.goto(f"{path.as_uri()}{anchor}")
    page.wait_for_selector("#list li")


def count(page: Any) -> str:
    return str(page.inner_text("#count"))


def counts(page: Any, text: str) -> None:
    """Wait for the count: a search waits for the end of typing."""
    page.wait_for_selector(f"#count:text-is('{text}')")


def asks(page: Any, text: str) -> None:
    """Wait for the open question: the address leads to it."""
    page.wait_for_selector(f".asked:has-text('{text}')")


def test_a_thousand_trajectories_open_fast_and_fifty_are_listed(page: Any, folder: Path) -> None:
    begun = time.perf_counter()
    go(page, folder / "one.html")
    assert time.perf_counter() - begun < 6  # 2 on a machine of its own; scripts/bench/report.py measures it
    assert page.locator("#list li").count() == 50
    assert count(page) == "1,000 of 1,000 questions"
    page.click("#after")
    assert page.inner_text("#page") == "51–100 of 1,000"
    assert page.evaluate("document.querySelectorAll('*').length") < 3000


def test_filters_narrow_and_counts_follow(page: Any, folder: Path) -> None:
    go(page, folder / "one.html")
    wrong = int(page.inner_text(".chip.wrong .n"))
    page.click(".chip.wrong")
    assert count(page) == f"{wrong} of 1,000 questions"
    capped = int(page.inner_text(".chip.capped .n"))
    assert 0 < capped < wrong
    page.click(".chip.capped")
    assert count(page) == f"{capped} of 1,000 questions"
    assert int(page.inner_text(".chip.wrong .n")) == capped
    page.click("#clear")
    page.select_option("select[aria-label=source]", "otherset")
    assert count(page) == "334 of 1,000 questions"
    page.select_option("select[aria-label=kind]", "bridge")
    assert count(page) == "167 of 1,000 questions"
    page.click("#clear")
    page.fill("#search", '"number 77 born"')
    counts(page, "1 of 1,000 questions")
    page.fill("#search", '"passage 5-2-1"')
    counts(page, "0 of 1,000 questions")
    page.check("#deep")
    assert count(page) == "1 of 1,000 questions"
    page.click("#clear")
    page.select_option("#sort", "seconds")
    texts = page.locator("#list small").all_inner_texts()
    seconds = [float(text.split(" · ")[2].removesuffix(" s")) for text in texts]
    assert seconds == sorted(seconds, reverse=True)


def test_a_question_shows_its_steps_passages_and_gold(page: Any, folder: Path) -> None:
    go(page, folder / "one.html")
    page.click("#list li:nth-child(3) button")
    assert page.inner_text("#detail .asked") == "In which town was the composer of opera number 2 born?"
    assert page.locator(".step").count() in (3, 4)
    assert "Who wrote opera 2, part 1?" in page.inner_text(".step >> nth=0")
    assert page.inner_text(".part.seen mark.gold >> nth=0") == "Gold town 2"
    assert page.locator(".passage").count() == 0
    page.click("details.passages >> nth=0 >> summary")
    assert page.locator(".passage").count() == 3
    assert page.locator(".passage.is-gold").count() == 1
    assert page.inner_text(".passage.is-gold mark.gold") == "Gold town 2"
    assert "Passage 2-1-0, step 1" in page.inner_text(".support")


def test_keys_links_and_the_way_back(page: Any, folder: Path) -> None:
    rows = synthetic(1000)
    go(page, folder / "one.html", f"#{rows[777].question.id}")
    assert "opera number 777 " in page.inner_text("#detail .asked")
    assert page.inner_text("#place") == "778 of 1,000"
    assert page.inner_text("#page") == "751–800 of 1,000"
    page.keyboard.press("j")
    asks(page, "number 778 ")
    assert page.evaluate("location.hash") == f"#{rows[778].question.id}"
    assert page.locator("#list [aria-current]").count() == 1
    page.keyboard.press("k")
    page.keyboard.press("k")
    asks(page, "number 776 ")
    page.keyboard.press("e")
    page.wait_for_selector(".passage >> nth=8")
    page.go_back()
    asks(page, "number 777 ")
    page.keyboard.press("Escape")
    assert page.locator(".asked").count() == 0
    page.keyboard.press("/")
    page.keyboard.type("jkj")
    assert page.input_value("#search") == "jkj"


def test_plots_have_names_axes_and_tables_and_filter(page: Any, folder: Path) -> None:
    go(page, folder / "one.html")
    plots = page.locator("figure svg[role=img]")
    assert plots.count() == 4
    for at in range(4):
        names = plots.nth(at).get_attribute("aria-labelledby").split()
        assert all(page.locator(f"#{name}").text_content() for name in names)
        assert plots.nth(at).locator(".axis").count() == 2
        assert page.locator("figure").nth(at).locator("tbody tr").count() >= 1
    page.click("#plot-hops summary")
    page.click("#plot-hops tbody button >> nth=0")
    assert count(page) == "334 of 1,000 questions"
    page.click(".chip.group")
    page.locator("#plot-steps .can-pick").last.click()
    assert 0 < int(count(page).split()[0].replace(",", "")) < 1000


def test_two_runs_stand_side_by_side(page: Any, folder: Path) -> None:
    go(page, folder / "two.html")
    pairs = {
        name: int(page.inner_text(f".chip.{name} .n")) for name in ("only-a", "only-b", "both", "neither")
    }
    assert sum(pairs.values()) == 60
    assert all(pairs.values())
    page.click(".pair.only-a")
    assert count(page) == f"{pairs['only-a']} of 60 questions"
    page.keyboard.press("j")
    page.wait_for_selector(".column")
    assert page.locator(".column").count() == 2
    assert page.locator(".column >> nth=0 >> .answer.right").count() == 1
    assert page.locator(".column >> nth=1 >> .answer.wrong").count() == 1
    left, right = (page.locator(".column").nth(at).bounding_box() for at in (0, 1))
    assert left["x"] + left["width"] <= right["x"]
    page.click(".chip.only-b")
    assert count(page) == f"{pairs['only-a'] + pairs['only-b']} of 60 questions"


def hostile(text: str, number: int = 0) -> Trajectory:
    step = replace(
        search(1, text, text, thought=text),
        reply=text,
        think=text,
        repairs=(text,),
        passages=(Passage(text, text, f"{text}\n{text}"),),
    )
    asked = replace(question(f"{text}{number}", (text,), type=text, dataset=text), supporting=(text,))
    return chain(step, finish(2, text, thought=text), asked=asked, error=text, status=Status.MODEL_ERROR)


def test_nothing_that_the_page_holds_is_obeyed(page: Any, tmp_path: Path) -> None:
    texts = [ATTACK, EVIL, "\x00\x1b[2J\x08\u202egpj.exe", "$&(.*[a-z]+{2}\\", "__proto__", "]]>", "\ufeff"]
    texts.append("x" * 1_000_000)
    run = read_scored_run(write_run(tmp_path / "run", [hostile(text, n) for n, text in enumerate(texts)]))
    odd = replace(hostile("ok", 99), answer="\ud800 half a character")
    scores = [*run.scores, replace(run.scores[0], id="\ud800", question="half \udfff", kind=ATTACK)]
    groups = dict.fromkeys((ATTACK, "b"), run.totals.metrics)
    totals = replace(run.totals, run=ATTACK, by={"kind": groups})
    spoilt = replace(run, totals=totals, scores=scores, trajectories=[*run.trajectories, odd])
    write_report(tmp_path / "page.html", [spoilt])
    go(page, tmp_path / "page.html")
    for _ in scores:
        page.keyboard.press("j")
        page.wait_for_selector(".asked")
        page.keyboard.press("e")
        for folded in page.locator("details.folded summary").all():
            folded.click()
    page.fill("#search", "(.*[a-z]+{2}\\")
    counts(page, "1 of 9 questions")
    assert page.evaluate("window.hit === undefined")
    assert page.locator("img, #detail script, iframe, object").count() == 0
    shown = page.evaluate("document.body.innerText")
    assert not {"\x1b", "\x08", "\u202e"} & set(shown)
    assert page.evaluate("Object.prototype.right === undefined")


def test_a_very_long_text_is_shown_in_parts(page: Any, tmp_path: Path) -> None:
    long = chain(search(1, "Who?", "y" * 1_000_000), finish(2, "Le Roncole"))
    write_report(tmp_path / "page.html", [read_scored_run(write_run(tmp_path / "run", [long]))])
    go(page, tmp_path / "page.html", f"#{long.question.id}")
    assert len(page.inner_text(".part.seen .prose")) == 20_000
    page.click("text=Show all 1,000,000 characters")
    assert page.evaluate("document.querySelector('.part.seen .prose').textContent.length") == 1_000_000


def test_a_phone_shows_the_list_or_the_question(browser: Any, folder: Path) -> None:
    phone = browser.new_page(viewport={"width": 390, "height": 844})
    for name in ("one.html", "two.html"):
        go(phone, folder / name)
        assert phone.evaluate("document.documentElement.scrollWidth") == 390
        assert not phone.is_visible("#detail")
        phone.click("#list li:nth-child(2) button")
        assert not phone.is_visible("#list")
        assert phone.evaluate("document.documentElement.scrollWidth") == 390
        phone.click(".back")
        assert phone.is_visible("#list")
    phone.close()
