"""What a person looks at: one chain in the terminal, many on a page that obeys nothing it shows."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import playwright
import pytest
from helpers_chains import chain, finish, question, search, write_chains
from helpers_page import EVIL, Page
from helpers_runs import finished
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from src_core.errors import UserError
from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import PromptStyle
from src_core.terminal import one_line
from src_core.types import DirectAnswer, Step, Trajectory
from src_data.filters.filter_run import filter_run
from src_data.filters.filter_trajectory import FilterConfig, FilterResult
from src_data.view import ViewConfig, choose, print_entry
from src_data.viewing.chain_files import Entry, read_entries
from src_data.viewing.view_page import write_page

ROOT = Path(__file__).resolve().parent.parent


def evil_chain(text: str = EVIL) -> Trajectory:
    return chain(
        search(1, text, text, thought=text), finish(2, text, thought=text), asked=question(text, (text,))
    )


def page_of(tmp_path: Path, *chains: Trajectory, title: str = "Chains") -> str:
    result = FilterResult(False, "unsupported", EVIL, 0.5)
    write_page(tmp_path / "p.html", (Entry(made, result, "", "line 1") for made in chains), title=title)
    return (tmp_path / "p.html").read_text("utf-8")


def shape(text: str) -> list[tuple[str, dict[str, str | None]]]:
    return Page(text).tags


def test_hostile_text_changes_no_element_of_the_page(tmp_path: Path) -> None:
    harmless = page_of(tmp_path, chain(), title="x")
    hostile = page_of(tmp_path, evil_chain(), title=EVIL)
    assert shape(hostile) == shape(harmless)
    page = Page(hostile)
    data = json.loads(page.text_of("script", 0))
    assert data[0]["question"] == EVIL
    assert data[0]["steps"][0]["thought"] == EVIL
    assert "<" not in page.text_of("script", 0)
    assert page.text_of("title").strip() == one_line(EVIL)


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def elements(page_folder: Path) -> int:
    """How many elements the page of one harmless chain has."""
    return len(shape(page_of(page_folder, chain())))


@settings(deadline=None)
@given(
    st.text()
    | st.lists(st.sampled_from(["</script", ">", "<!--", "<script", "{{", "}}", "chains", "\\u003c"])).map(
        "".join
    )
)
def test_any_text_comes_back_as_data(page_folder: Path, elements: int, text: str) -> None:
    page = Page(page_of(page_folder, evil_chain(text or "x")))
    assert len(page.tags) == elements
    data = json.loads(page.text_of("script", 0))
    assert data[0]["steps"][0]["observation"] == (text or "x")


def test_the_policy_allows_the_pages_own_parts_and_nothing_else(tmp_path: Path) -> None:
    text = page_of(tmp_path, evil_chain())
    page = Page(text)
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    for tag, n in (("style", 0), ("script", 1)):
        digest = base64.b64encode(hashlib.sha256(page.text_of(tag, n).encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert not re.search(
        r"https?://|\bsrc=|@import|url\(", text.partition('<script type="application/json"')[0]
    )
    assert not [a for _, a in page.tags if any(name.startswith("on") or name == "style" for name in a)]
    script = page.text_of("script", 1)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(", script)
    assert any(a.get("name") == "viewport" for _, a in page.tags)


NODE = Path(playwright.__file__).parent / "driver" / "node"  # playwright ships one
JS_CHECK = """
const fs = require("fs");
const code = process.argv.slice(1).map((path) => fs.readFileSync(path, "utf8")).join("");
const names = "{ matches, hay, wordsOf, wordPattern, cut, counts }";
const { matches, hay, wordsOf, wordPattern, cut, counts } = new Function(`${code}; return ${names};`)();
const pieces = (text, words) => cut(text, wordPattern(words));
const chains = JSON.parse(fs.readFileSync(0, "utf8"));
for (const chain of chains) chain.hay = hay(chain);
const state = { source: "", teacher: "", outcome: "", words: [] };
const n = (change) => chains.filter((chain) => matches(chain, { ...state, ...change })).length;
console.log(JSON.stringify([
  n({}), n({ outcome: "kept" }), n({ outcome: "unsupported", words: ["verdi"] }),
  n({ words: ["busseto", "verdi"] }),
  n({ source: "nowhere" }), n({ words: ["$&(["] }),
  pieces("a (b) B", ["b"]), pieces("a", []), pieces("x.y", ["."]),
  wordsOf('Verdi "born in"'), counts(chains, "outcome"),
]));
"""


def test_filters_and_search(tmp_path: Path) -> None:
    results = [FilterResult(True, "", "", 1.0), FilterResult(False, "unsupported", "x", 0.0), None]
    entries = [Entry(chain(), result, "", "line 1") for result in results]
    entries.append(Entry(None, FilterResult(False, "unreadable", "torn", 0.0), "torn row $&([", "line 9"))
    write_page(tmp_path / "p.html", entries, title="t")
    data = Page((tmp_path / "p.html").read_text("utf-8")).text_of("script", 0)
    scripts = [ROOT / "src_core" / "page" / "parts.js", ROOT / "src_data" / "viewing" / "page" / "view.js"]
    done = subprocess.run(
        [NODE, "-e", JS_CHECK, *map(str, scripts)], input=data, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        *(4, 1, 1, 3, 0, 1),
        [["a (", False], ["b", True], [") ", False], ["B", True]],
        [["a", False]],
        [["x", False], [".", True], ["y", False]],
        ["verdi", "born in"],
        [["kept", 1], ["unsupported", 1], ["not filtered", 1], ["unreadable", 1]],
    ]


def test_a_thousand_conversations_are_a_page_of_a_few_megabytes(tmp_path: Path) -> None:
    text = page_of(tmp_path, *(chain(asked=question(f"Question {n}?")) for n in range(1000)))
    assert len(text) < 3_000_000
    assert len(json.loads(Page(text).text_of("script", 0))) == 1000


def run_of(tmp_path: Path) -> Path:
    run = write_chains(
        tmp_path / "run",
        *(chain(asked=question(f"Question {n}?")) for n in range(5)),
        chain(finish(1, "Le Roncole"), asked=question("Lazy one?")),
        b'{"torn": ',
    )
    filter_run(run, FilterConfig(), ReaRag())
    return run


def test_every_kind_of_file_is_read(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    assert len(list(read_entries(run))) == 7
    assert [entry.result for entry in read_entries(run / "trajectories.jsonl")] == [None] * 7
    published = [
        {"messages": ReaRag(PromptStyle()).turns("Who?", chain().steps)},
        {"messages": [{"role": "user"}]},
        {"other": 1},
        3,
    ]
    (tmp_path / "c.json").write_text(json.dumps(published))
    found = list(read_entries(tmp_path / "c.json"))
    assert found[0].chain is not None
    assert found[0].chain.question.question == "Who?"
    steps = [(s.n, s.thought, s.action, s.observation) for s in found[0].chain.steps]
    assert steps == [(s.n, s.thought, s.action, s.observation) for s in chain().steps]
    assert [entry.chain for entry in found[1:]] == [None] * 3
    fresh = write_chains(tmp_path / "fresh", chain())
    assert [entry.place for entry in read_entries(fresh)] == ["trajectories.jsonl, line 1"]
    with pytest.raises(UserError, match="holds 2 runs; name one of them"):
        list(read_entries(tmp_path / "run" / ".."))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"neither kept\.jsonl nor trajectories\.jsonl"):
        list(read_entries(tmp_path / "empty"))


def chosen(run: Path, n: int = 100, **settings_: Any) -> list[Entry]:
    return choose(read_entries(run), ViewConfig(**settings_), n=n)


def test_a_misspelt_run_and_the_folder_of_runs_are_led_to_a_run(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/trajectories.jsonl").write_text("")
    for path, said in (
        (tmp_path / "reel", "did you mean"),
        (tmp_path, "holds 1 run; name one of them, such as"),
    ):
        with pytest.raises(UserError, match=f"{said} {tmp_path}/real"):
            list(read_entries(path))


def test_conditions_choose(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    assert len(chosen(run, reason="kept")) == 5
    assert [entry.place for entry in chosen(run, reason="too_few_searches")] == ["rejected.jsonl, line 1"]
    assert len(chosen(run, reason="unreadable")) == 1
    assert len(chosen(run, text="question 3")) == 1
    assert len(chosen(run, id=question("Question 3?").id)) == 1
    assert len(chosen(run, source="toyset", teacher="toy")) == 6
    assert chosen(run, source="elsewhere") == []
    drawn = chosen(run, n=3, seed=5)
    assert len(drawn) == 3
    assert drawn == chosen(run, n=3, seed=5)
    assert {tuple(e.place for e in chosen(run, n=3, seed=seed)) for seed in range(1, 9)} > {
        tuple(e.place for e in drawn)
    }


def stray_controls(text: str) -> Iterator[str]:
    return (char for char in re.sub(r"\x1b\[[0-9;]*m", "", text) if not char.isprintable() and char != "\n")


def test_the_terminal_obeys_nothing_in_a_chain(tmp_path: Path) -> None:
    console = Console(record=True, width=100, force_terminal=True, file=(tmp_path / "out").open("w"))
    hostile = "\x1b]0;title\x07\x1b[2J\x9b31m[bold]x[/bold]\r\x08 \u202e"
    print_entry(
        Entry(evil_chain(hostile), FilterResult(False, "answer_f1", hostile, 0.0), "", hostile), console
    )
    print_entry(Entry(None, None, hostile, "line 1"), console)
    print_entry(Entry(chain(), FilterResult(True, "", "", 1.0), "", "line 1"), console)
    console.file.flush()
    shown = (tmp_path / "out").read_text()
    assert list(stray_controls(shown)) == []
    assert "\x1b[2J" not in shown
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert "[bold]x[/bold]" in plain
    assert "Refused: answer_f1" in plain
    assert "Kept (F1 1.00)" in plain


def test_the_terminal_shows_direct_answers_and_conclusions() -> None:
    console = Console(record=True, width=200)
    made = chain(
        replace(search(1, "Who composed Aida?", "It was Verdi."), conclusion="Giuseppe Verdi"),
        Step(2, "I know.", DirectAnswer("In which country is Busseto?", "Italy")),
        finish(3, "Le Roncole"),
    )
    print_entry(Entry(made, None, "", "line 1"), console)
    shown = console.export_text()
    assert "Observation 1: It was Verdi.\n  from: Title [p1]\nConclusion 1: Giuseppe Verdi\n" in shown
    assert '"sub_question": "In which country is Busseto?", "answer": "Italy"' in shown
    assert "Conclusion 2" not in shown


def view(*arguments: str, cwd: Path, venv: Path | str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(ROOT / "scripts" / "view_data.sh"), *arguments],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "VENV": str(venv), "HOME": str(cwd)},
        capture_output=True,
        text=True,
    )


def test_the_script_prints_and_writes(tmp_path: Path) -> None:
    run_of(tmp_path)
    venv = Path(sys.executable).parent.parent
    shown = view("run", "reason=too_few_searches", cwd=tmp_path, venv=venv)
    assert shown.returncode == 0, shown.stderr
    assert "Lazy one?" in shown.stdout
    assert (
        "Refused: too_few_searches: it was answered with fewer searches than asked for (0 of 1)"
        in shown.stdout
    )
    other = view("run", "reason=few_searches", cwd=tmp_path, venv=venv)
    assert (other.returncode, other.stderr.count("\n")) == (2, 1)
    assert "has reason=few_searches; did you mean too_few_searches? present are: kept (5)," in other.stderr
    assert "too_few_searches (1)" in other.stderr
    both = view("run", "reason=kept", "text=nobody asked this", cwd=tmp_path, venv=venv)
    assert both.stderr.endswith("matches; use fewer conditions\n")
    written = view("run", "html=page.html", "title=A & B", cwd=tmp_path, venv=venv)
    assert written.returncode == 0, written.stderr
    assert "7 conversations" in written.stdout
    assert "<title>A &amp; B</title>" in (tmp_path / "page.html").read_text()
    nothing = finished("src_data.view", str(tmp_path / "run"), "text=nobody asked this")
    assert (nothing.returncode, nothing.stderr.count("\n")) == (2, 1)
    assert "usage:" in finished("src_data.view").stderr
    assert "view_data.sh runs/data" in view("-h", cwd=tmp_path, venv=venv).stdout
    assert (
        "scripts/setup.sh requirements-local.txt first" in view("run", cwd=tmp_path, venv="/nowhere").stderr
    )
