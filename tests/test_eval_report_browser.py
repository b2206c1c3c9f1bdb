"""The report in a real browser: it opens fast, finds, shows and compares, and runs nothing that it holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers_chains import chain, finish, question, search
from helpers_llm import PATIENCE
from helpers_page import EVIL
from helpers_report import MANIFEST, open_browser, synthetic, write_run
from playwright.sync_api import expect

from src_core.malformed import Malformed, malformed_notes
from src_core.types import DirectAnswer, Finish, Passage, Search, Status, Step, Trajectory
from src_eval.report.report_page import write_report
from src_eval.report.run_files import read_scored_run
from src_infer.search_record import Asked, Branch, SearchMode, Stop, Tree, TreeNode

pytestmark = pytest.mark.browser
HIT = "window.hit = 1"
ATTACK = f"<script>{HIT}</script></script><img src=x onerror='{HIT}'><svg onload='{HIT}'>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    expect.set_options(timeout=PATIENCE * 1000)
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def rows() -> list[Trajectory]:
    return synthetic(1000)


@pytest.fixture(scope="module")
def folder(rows: list[Trajectory], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds `one.html`, the page of `rows`, and `two.html`, two runs on the first 60 of their questions."""
    made = tmp_path_factory.mktemp("report")
    one = read_scored_run(write_run(made / "one", rows))
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
    page.set_default_timeout(PATIENCE * 1000)
    page.goto(f"{path.as_uri()}{anchor}")
    page.wait_for_selector("#list li")


def has(page: Any, selector: str, text: str) -> None:
    """Wait until the first of these elements has just this text: no page answers at once."""
    expect(page.locator(selector).first).to_have_text(text)


def counts(page: Any, text: str) -> None:
    """Wait for the count of found questions."""
    has(page, "#count", f"{text} questions")


def holds(page: Any, selector: str, number: int) -> None:
    """Wait until there are just so many of these elements."""
    expect(page.locator(selector)).to_have_count(number)


def asks(page: Any, number: int) -> None:
    """Wait until this question is the open one."""
    has(page, "#detail .asked", f"In which town was the composer of opera number {number} born?")


def test_a_thousand_trajectories_open_fast_and_fifty_are_listed(page: Any, folder: Path) -> None:
    watch = page.context.new_cdp_session(page)
    watch.send("Performance.enable", {"timeDomain": "threadTicks"})
    go(page, folder / "one.html")
    spent = {metric["name"]: metric["value"] for metric in watch.send("Performance.getMetrics")["metrics"]}
    # Processor time, 0.3 s as a rule, however busy the machine; scripts/bench/report.py measures it all.
    assert 0 < spent["TaskDuration"] < 3
    holds(page, "#list li", 50)
    counts(page, "1,000 of 1,000")
    page.click("#after")
    has(page, "#page", "51–100 of 1,000")
    assert page.evaluate("document.querySelectorAll('*').length") < 3000


def test_filters_narrow_and_counts_follow(page: Any, folder: Path, rows: list[Trajectory]) -> None:
    go(page, folder / "one.html")
    wrong = int(page.inner_text(".chip.wrong .n"))
    page.click(".chip.wrong")
    counts(page, f"{wrong} of 1,000")
    capped = int(page.inner_text(".chip.capped .n"))
    assert 0 < capped < wrong
    page.click(".chip.capped")
    counts(page, f"{capped} of 1,000")
    has(page, ".chip.wrong .n", str(capped))
    page.click("#clear")
    counts(page, "1,000 of 1,000")
    page.select_option("select[aria-label=source]", "otherset")
    counts(page, "334 of 1,000")
    page.select_option("select[aria-label=group]", "bridge")
    counts(page, "167 of 1,000")
    page.click("#clear")
    counts(page, "1,000 of 1,000")
    page.fill("#search", '"number 77 born"')
    counts(page, "1 of 1,000")
    page.fill("#search", '"passage 5-2-1"')
    counts(page, "0 of 1,000")
    page.check("#deep")
    counts(page, "1 of 1,000")
    page.click("#clear")
    counts(page, "1,000 of 1,000")
    page.select_option("#sort", "seconds")
    slowest = sorted((row.seconds for row in rows), reverse=True)[:50]
    expect(page.locator("#list small")).to_contain_text([f" · {seconds:.1f} s" for seconds in slowest])
    holds(page, "#list small", 50)


def test_a_question_shows_its_steps_passages_and_gold(
    page: Any, folder: Path, rows: list[Trajectory]
) -> None:
    go(page, folder / "one.html")
    page.click("#list li:nth-child(3) button")
    asks(page, 2)
    holds(page, ".step", len(rows[2].steps))
    expect(page.locator(".step").first).to_contain_text("Who wrote opera 2, part 1?")
    has(page, ".part.seen mark.gold", "Gold town 2")
    holds(page, ".passage", 0)
    page.click("details.passages >> nth=0 >> summary")
    holds(page, ".passage", 3)
    holds(page, ".passage.is-gold", 1)
    has(page, ".passage.is-gold mark.gold", "Gold town 2")
    expect(page.locator(".support")).to_contain_text("Passage 2-1-0, step 1")


def test_direct_answers_and_conclusions_are_shown_and_found(page: Any, tmp_path: Path) -> None:
    made = chain(
        replace(search(1, "Who composed Aida?", "It was Verdi."), conclusion="Verdi of Le Roncole"),
        Step(2, "I know.", DirectAnswer("In which country is Busseto?", "Italy")),
        finish(3, "Le Roncole"),
    )
    run = write_run(tmp_path / "run", [made, chain(asked=question("Another?"))])
    write_report(tmp_path / "page.html", [read_scored_run(run)])
    go(page, tmp_path / "page.html", f"#{made.question.id}")
    has(page, ".part.conclusion .prose", "Verdi of Le Roncole")
    has(page, ".part.conclusion mark.gold", "Le Roncole")
    has(page, ".part.direct_answer", "Direct answerIn which country is Busseto?Italy")
    expect(page.locator(".step:nth-child(2) .part.seen")).to_have_count(0)
    expect(page.locator("#list small").first).to_contain_text("1 search ·")
    for words in ('"country is busseto"', '"verdi of le roncole"'):
        page.fill("#search", words)
        counts(page, "1 of 2")


def test_a_malformed_reply_is_shown_as_text(page: Any, tmp_path: Path) -> None:
    notes = malformed_notes([Malformed("no_action", f"I say {ATTACK}")] * 7)
    made = replace(chain(), status=Status.MALFORMED_THEN_ANSWERED, provenance=notes)
    run = write_run(tmp_path / "run", [made, chain(asked=question("Another?"))])
    write_report(tmp_path / "page.html", [read_scored_run(run)])
    go(page, tmp_path / "page.html", f"#{made.question.id}")
    page.click("text=Malformed replies, the first 5")
    has(page, "details.folded .prose", f"I say {ATTACK}")
    assert not page.evaluate("window.hit")


def tree_row(text: str) -> Trajectory:
    """A row of an exploration whose texts are `text`: asked once, a wrong direct answer, a right search."""
    found = Step(1, "", Search(text), text, conclusion=text)
    known = Step(1, "", DirectAnswer(text, text))
    ends = [Step(2, text, Finish(text)), Step(2, text, Finish("Le Roncole"))]
    asked = Asked(text)
    nodes = [
        TreeNode(0, None, Branch.ROOT, 0, 0, asked=asked),
        TreeNode(1, 0, Branch.DIRECT, 0, 1, step=known, asked=Asked("")),
        TreeNode(2, 0, Branch.SEARCH, 1, 1, step=found, asked=Asked("")),
        TreeNode(3, 1, Branch.FINISH, 0, 1, step=ends[0], right=False, lost="wrong"),
        TreeNode(4, 2, Branch.FINISH, 1, 1, step=ends[1], right=True),
        TreeNode(5, 4, Branch.DIRECT, 1, 2, failure=text, lost=text),
    ]
    tree = Tree("Q?", SearchMode.ALL, nodes, stop=Stop.EXHAUSTED, winner=4)
    return replace(chain(found, ends[1]), answer="Le Roncole", provenance={"tree": tree})


def test_a_search_tree_shows_what_won_and_why_others_lost(page: Any, tmp_path: Path) -> None:
    made = tree_row(ATTACK)
    run = write_run(tmp_path / "run", [made, chain(asked=question("Another?"))])
    write_report(tmp_path / "page.html", [read_scored_run(run)])
    go(page, tmp_path / "page.html", f"#{made.question.id}")
    has(page, ".tree summary b", "Search tree")
    expect(page.locator(".tree summary")).to_contain_text("6 nodes, 2 answers, every branch was followed")
    holds(page, ".tree .node", 0)
    page.click(".tree summary")
    holds(page, ".tree .node", 6)
    holds(page, ".tree li.won", 2)
    has(page, ".tree li.won .node.finish .said", "Le Roncole")
    has(page, ".tree li.won .node.finish .end.good", "the result")
    has(page, ".tree li.lost .node.finish .end", "wrong answer")
    expect(page.locator(".tree .node.search").first).to_contain_text("window.hit = 1")
    expect(page.locator(".tree .node.search small")).to_have_text("1 search")
    assert page.evaluate("window.hit") is None
    holds(page, ".tree script, .tree img, .tree svg", 0)
    page.click("#list li:nth-child(2) button")
    holds(page, ".tree", 0)


def test_keys_links_and_the_way_back(page: Any, folder: Path, rows: list[Trajectory]) -> None:
    go(page, folder / "one.html", f"#{rows[777].question.id}")
    asks(page, 777)
    has(page, "#place", "778 of 1,000")
    has(page, "#page", "751–800 of 1,000")
    page.keyboard.press("j")
    asks(page, 778)
    expect(page).to_have_url(f"{(folder / 'one.html').as_uri()}#{rows[778].question.id}")
    holds(page, "#list [aria-current]", 1)
    press = "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'k', bubbles: true}))"
    page.evaluate(f"{press}; {press}")  # faster than the browser tells of a new address
    asks(page, 776)
    page.keyboard.press("e")
    holds(page, ".passage", 9)
    page.go_back()
    asks(page, 777)
    page.keyboard.press("Escape")
    holds(page, ".asked", 0)
    page.keyboard.press("/")
    page.keyboard.type("jkj")
    expect(page.locator("#search")).to_have_value("jkj")


def test_a_group_without_a_right_answer_has_a_mark_and_a_zero(page: Any, tmp_path: Path) -> None:
    wrong = [replace(chain(asked=question(f"Q{n}?")), answer="nobody") for n in range(3)]
    write_report(tmp_path / "page.html", [read_scored_run(write_run(tmp_path / "run", wrong))])
    go(page, tmp_path / "page.html")
    has(page, "#plot-searches .zero", "0")
    assert page.locator("#plot-searches rect").first.get_attribute("height") == "0"
    assert page.locator("#plot-searches rect").nth(1).get_attribute("height") == "2"


def test_axes_of_counts_have_whole_numbers(page: Any, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [chain(asked=question(f"Q{n}?")) for n in range(2)])
    write_report(tmp_path / "page.html", [read_scored_run(run)])
    go(page, tmp_path / "page.html")
    for name in ("plot-steps", "plot-seconds"):
        texts = page.locator(f"#{name} .tick[text-anchor=end]").all_text_contents()
        assert texts == ["0", "1", "2"]


@pytest.mark.parametrize("width", [1000, 1200, 1500])
def test_how_a_run_was_made_has_room_for_its_words(page: Any, tmp_path: Path, width: int) -> None:
    named = {**MANIFEST, "models": ["my_method.py"]}
    run = write_run(tmp_path / "run", [chain(asked=question("Q?"))], manifest=named)
    write_report(tmp_path / "page.html", [read_scored_run(run)])
    page.set_viewport_size({"width": width, "height": 900})
    go(page, tmp_path / "page.html")
    value = page.locator(".sheet dd", has_text="my_method.py").first
    assert value.bounding_box()["height"] < 30  # one line


def test_plots_have_names_axes_and_tables_and_filter(page: Any, folder: Path, rows: list[Trajectory]) -> None:
    go(page, folder / "one.html")
    plots = page.locator("figure svg[role=img]")
    expect(plots).to_have_count(4)
    for at in range(4):
        names = plots.nth(at).get_attribute("aria-labelledby").split()
        assert all(page.locator(f"#{name}").text_content() for name in names)
        assert plots.nth(at).locator(".axis").count() == 2
        assert page.locator("figure").nth(at).locator("tbody tr").count() >= 1
    page.click("#plot-hops summary")
    page.click("#plot-hops tbody button >> nth=0")
    counts(page, "334 of 1,000")
    page.click(".chip.group")
    counts(page, "1,000 of 1,000")
    page.locator("#plot-steps .can-pick").last.click()
    longest = max(len(row.steps) for row in rows)
    counts(page, f"{sum(len(row.steps) == longest for row in rows)} of 1,000")


def test_two_runs_stand_side_by_side(page: Any, folder: Path) -> None:
    go(page, folder / "two.html")
    pairs = {
        name: int(page.inner_text(f".chip.{name} .n")) for name in ("only-a", "only-b", "both", "neither")
    }
    assert sum(pairs.values()) == 60
    assert all(pairs.values())
    gap = page.inner_text("table.scores tr:has(th abbr:text-is('Exact match')) td >> nth=4")
    assert re.fullmatch(r"[+−][\d.]+ p (= [.1]\d+|< .001)", gap)
    assert gap.startswith("+" if pairs["only-b"] > pairs["only-a"] else "−")
    page.click(".glossary summary")
    assert "share of answers that equal a gold answer" in page.inner_text(".glossary dl")
    assert page.get_attribute(".chip.malformed", "title").startswith("at least one reply")
    page.click(".pair.only-a")
    counts(page, f"{pairs['only-a']} of 60")
    page.keyboard.press("j")
    holds(page, ".column", 2)
    holds(page, ".column >> nth=0 >> .answer.right", 1)
    holds(page, ".column >> nth=1 >> .answer.wrong", 1)
    left, right = (page.locator(".column").nth(at).bounding_box() for at in (0, 1))
    assert left["x"] + left["width"] <= right["x"]
    page.click(".chip.only-b")
    counts(page, f"{pairs['only-a'] + pairs['only-b']} of 60")


def test_few_questions_are_too_few_everywhere(page: Any, tmp_path: Path) -> None:
    pair = [write_run(tmp_path / name, synthetic(12, seed=seed)) for name, seed in (("a", 1), ("b", 2))]
    for name, runs in (("one", pair[:1]), ("two", pair)):
        write_report(tmp_path / f"{name}.html", [read_scored_run(run) for run in runs])
        go(page, tmp_path / f"{name}.html")
        page.click("#plot-searches summary")
        assert "too few" in page.inner_text("#plot-searches tbody")
        assert "[" not in page.inner_text("#plot-searches tbody")
        assert page.locator(".whisker").count() == 0
        captions = page.locator("figcaption").all_inner_texts()
        assert any("Share of right answers" in caption for caption in captions)
        assert not any("interval" in caption for caption in captions)
        assert "p =" not in page.inner_text("table.scores")
        assert page.locator("table.scores td:has-text('too few')").count() >= 4


def test_failed_questions_are_told_above_the_figures(page: Any, tmp_path: Path) -> None:
    rows = [
        replace(row, status=Status.MODEL_ERROR, answer="") if n < 10 else row
        for n, row in enumerate(synthetic(25))
    ]
    runs = [
        read_scored_run(write_run(tmp_path / name, made))
        for name, made in (("a", rows), ("b", synthetic(25)))
    ]
    for name, shown, text in (
        ("one", runs[:1], "10 of 25 questions failed"),
        ("two", runs, "A10 of 25 questions"),
    ):
        write_report(tmp_path / f"{name}.html", shown)
        go(page, tmp_path / f"{name}.html")
        expect(page.locator(".banner")).to_have_count(1)
        expect(page.locator(".banner")).to_contain_text(text)
        expect(page.locator(".banner")).to_contain_text(
            "count as wrong: 10 model error (the LLM server failed;"
        )
        assert page.locator(".banner").bounding_box()["y"] < page.locator(".tiles").bounding_box()["y"]
    write_report(tmp_path / "fine.html", runs[1:])
    go(page, tmp_path / "fine.html")
    expect(page.locator(".banner")).to_have_count(0)


def test_a_difference_over_the_common_questions_says_so(page: Any, tmp_path: Path) -> None:
    rows = synthetic(60)
    pair = [
        read_scored_run(write_run(tmp_path / name, part))
        for name, part in (("a", rows[:40]), ("b", rows[15:]))
    ]
    write_report(tmp_path / "two.html", pair)
    go(page, tmp_path / "two.html")
    expect(page.locator("table.scores tbody tr").first.locator("td").last).to_have_text("40 / 45, both 25")
    expect(page.locator("p.paired")).to_contain_text("over the questions for which both runs have the value")
    title = page.locator("table.scores thead abbr").get_attribute("title")
    assert "each mean is over all questions of its own run" in title
    write_report(tmp_path / "same.html", [pair[0], pair[0]])
    go(page, tmp_path / "same.html")
    expect(page.locator("p.paired")).to_have_count(0)


def hostile(text: str, number: int = 0) -> Trajectory:
    step = replace(
        search(1, text, text, thought=text),
        reply=text,
        think=text,
        parse_fixes=(text,),
        conclusion=text,
        passages=(Passage(text, text, f"{text}\n{text}"),),
    )
    asked = replace(question(f"{text}{number}", (text,), type=text, dataset=text), supporting=(text,))
    own = Step(2, text, DirectAnswer(text, text))
    end = finish(3, text, thought=text)
    return chain(step, own, end, asked=asked, error=text, status=Status.MODEL_ERROR)


def test_nothing_that_the_page_holds_is_obeyed(page: Any, tmp_path: Path) -> None:
    texts = [ATTACK, EVIL, "\x00\x1b[2J\x08\u202egpj.exe", "$&(.*[a-z]+{2}\\", "__proto__", "]]>", "\ufeff"]
    texts.append("x" * 1_000_000)
    run = read_scored_run(write_run(tmp_path / "run", [hostile(text, n) for n, text in enumerate(texts)]))
    odd = replace(hostile("ok", 99), answer="\ud800 half a character")
    scores = [*run.scores, replace(run.scores[0], id="\ud800", question="half \udfff", group=ATTACK)]
    groups = dict.fromkeys((ATTACK, "b"), run.totals.metrics)
    totals = replace(run.totals, run=ATTACK, by={"group": groups})
    spoilt = replace(run, totals=totals, scores=scores, trajectories=[*run.trajectories, odd])
    write_report(tmp_path / "page.html", [spoilt])
    go(page, tmp_path / "page.html")
    for number, _ in enumerate(scores, 1):
        page.keyboard.press("j")
        has(page, "#place", f"{number} of {len(scores)}")
        page.keyboard.press("e")
        for folded in page.locator("details.folded").all():
            folded.locator("summary").click()
            expect(folded.locator(".prose")).to_have_count(1)
        holds(page, ".passage", 1)
        holds(page, "img, #detail script, iframe, object", 0)
    page.fill("#search", "(.*[a-z]+{2}\\")
    counts(page, "1 of 9")
    assert page.evaluate("window.hit === undefined")
    holds(page, "img, #detail script, iframe, object", 0)
    shown = page.evaluate("document.body.innerText")
    assert not {"\x1b", "\x08", "\u202e"} & set(shown)
    assert page.evaluate("Object.prototype.right === undefined")


def test_a_very_long_text_is_shown_in_parts(page: Any, tmp_path: Path) -> None:
    long = chain(search(1, "Who?", "y" * 1_000_000), finish(2, "Le Roncole"))
    write_report(tmp_path / "page.html", [read_scored_run(write_run(tmp_path / "run", [long]))])
    go(page, tmp_path / "page.html", f"#{long.question.id}")
    length = "document.querySelector('.part.seen .prose').textContent.length"
    assert page.evaluate(length) == 20_000
    page.click("text=Show all 1,000,000 characters")
    holds(page, "text=Show all", 0)
    assert page.evaluate(length) == 1_000_000


def test_a_phone_shows_the_list_or_the_question(browser: Any, folder: Path) -> None:
    phone = browser.new_page(viewport={"width": 390, "height": 844})
    for name in ("one.html", "two.html"):
        go(phone, folder / name)
        assert phone.evaluate("document.documentElement.scrollWidth") == 390
        expect(phone.locator("#detail")).to_be_hidden()
        phone.click("#list li:nth-child(2) button")
        expect(phone.locator("#detail")).to_be_visible()
        expect(phone.locator("#list")).to_be_hidden()
        assert phone.evaluate("document.documentElement.scrollWidth") == 390
        phone.click(".back")
        expect(phone.locator("#list")).to_be_visible()
    phone.close()
