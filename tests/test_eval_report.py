"""The report as a file: what is in it, how large it is, and that it obeys nothing it holds."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers_chains import chain, finish, question, search
from helpers_page import EVIL, Page
from helpers_report import MANIFEST, synthetic, write_run
from helpers_runs import finished
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.errors import UserError
from src_core.html_page import fill_page, inert_json
from src_core.types import Passage, Status, Trajectory
from src_eval.report.__main__ import parse
from src_eval.report.page_data import page_data
from src_eval.report.report_page import SCRIPTS, write_report
from src_eval.report.run_facts import run_facts
from src_eval.report.run_files import is_scored, read_scored_run

ROOT = Path(__file__).resolve().parent.parent
PARTS = ROOT / "src_eval" / "report" / "page"
SHARED = ROOT / "src_core" / "page"


def hostile(text: str = EVIL) -> Trajectory:
    step = replace(
        search(1, text, text, thought=text),
        reply=text,
        think=text,
        parse_fixes=(text,),
        passages=(Passage(text, text, f"{text}\n{text}", {"retrieval": 1e300, text: 0.5}),),
    )
    asked = replace(question(text, (text,), type=text, dataset=text), supporting=(text,))
    return chain(step, finish(2, text, thought=text), asked=asked, error=text)


def page_of(tmp_path: Path, *runs: list[Trajectory], name: str = "run") -> str:
    folders = [write_run(tmp_path / f"{name}-{n}", rows) for n, rows in enumerate(runs)]
    write_report(tmp_path / "page.html", [read_scored_run(folder) for folder in folders])
    return (tmp_path / "page.html").read_text("utf-8")


def data_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Page(text).text_of("script", 0))
    return found


def test_the_page_holds_the_whole_trajectory(tmp_path: Path) -> None:
    data = data_of(page_of(tmp_path, [chain(status=Status.CAPPED_THEN_ANSWERED)]))
    asked = data["questions"][0]
    assert asked["golds"] == ["Le Roncole", "Roncole Verdi"]
    row = asked["rows"][0]
    assert (row["answer"], row["status"], row["metrics"]["em"]) == ("Le Roncole", "capped_then_answered", 1.0)
    assert [step["function"] for step in row["steps"]] == ["search", "search", "finish"]
    assert row["steps"][0]["observation"] == "Aida was composed by Giuseppe Verdi."
    assert row["steps"][0]["usage"] == [1, 100, 20]
    assert row["steps"][0]["passages"] == [[0, {"retrieval": 0.5}]]
    assert data["passages"][0] == ["p1", "Title", "Aida was composed by Giuseppe Verdi."]
    assert data["runs"][0]["metrics"]["em"] == [1.0, 0.9, 1.1, 1]


def test_a_passage_is_stored_once_for_both_runs_unless_its_text_differs(tmp_path: Path) -> None:
    many = [chain(asked=question(f"Question {n}?")) for n in range(20)]
    assert len(data_of(page_of(tmp_path, many, many))["passages"]) == 2
    other = chain(search(1, "Who?", "Another text."), asked=question("Question 99?"))
    data = data_of(page_of(tmp_path, [*many, other]))
    assert [row[0] for row in data["passages"]] == ["p1", "p2", "p1"]


def test_two_runs_meet_on_the_same_question(tmp_path: Path) -> None:
    first, second, third = (chain(asked=question(f"Question {n}?")) for n in range(3))
    text = page_of(tmp_path, [first, second], [third, second])
    rows = {row["question"]: [bool(found) for found in row["rows"]] for row in data_of(text)["questions"]}
    assert rows == {
        "Question 0?": [True, False],
        "Question 1?": [True, True],
        "Question 2?": [False, True],
    }
    assert "<title>run-0 against run-1</title>" in text


def test_two_runs_are_compared_on_the_questions_of_both(tmp_path: Path) -> None:
    asked = [question(f"Question {n}?") for n in range(9)]
    right, wrong = chain().steps, (finish(1, "another answer"),)
    first = [replace(chain(*wrong, asked=each), answer="another answer") for each in asked[:8]]
    second = [chain(*right, asked=each) for each in asked[1:]]
    paired = data_of(page_of(tmp_path, first, second))["paired"]
    assert paired["em"] == [1.0, 0.0156, 7]  # seven of seven the same way: 2 / 2 ** 7
    assert paired["searches"][0] == 2
    assert data_of(page_of(tmp_path, first, first))["paired"]["em"] == [0.0, 1.0, 8]
    assert data_of(page_of(tmp_path, first))["paired"] == {}
    assert data_of(page_of(tmp_path, first[:1], second[-1:]))["paired"] == {}


def test_chains_of_one_question_have_keys_of_their_own(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [chain(), chain(), chain()])
    rows = page_data([read_scored_run(folder)])["questions"]
    ask = question().id
    assert [row["key"] for row in rows] == [ask, f"{ask}~2", f"{ask}~3"]


def test_a_thousand_trajectories_stay_below_15_megabytes(tmp_path: Path) -> None:
    text = page_of(tmp_path, synthetic(1000))
    assert len(text.encode()) < 15_000_000
    data = data_of(text)
    assert len(data["questions"]) == 1000
    assert len(data["passages"]) == 9000


def test_hostile_text_changes_no_element_of_the_page(tmp_path: Path) -> None:
    harmless = Page(page_of(tmp_path, [chain()], name="x"))
    folder = write_run(
        tmp_path / "evil", [hostile()], manifest={**MANIFEST, "models": [EVIL], "index": {EVIL: EVIL}}
    )
    run = read_scored_run(folder)
    write_report(tmp_path / "evil.html", [replace(run, totals=replace(run.totals, run=EVIL, model=EVIL))])
    text = (tmp_path / "evil.html").read_text("utf-8")
    page = Page(text)
    assert page.tags == harmless.tags
    data = data_of(text)
    assert data["questions"][0]["question"] == EVIL
    assert data["questions"][0]["rows"][0]["steps"][0]["think"] == EVIL
    assert data["passages"] == [[EVIL, EVIL, f"{EVIL}\n{EVIL}"]]
    assert not re.search("[<>&\u2028\u2029]", page.text_of("script", 0))


@settings(deadline=None)
@given(st.text(st.characters()) | st.sampled_from(["\ud800", "</script>\udfff", "{{script}}", "\u2028\x00"]))
def test_any_text_comes_back_as_data(text: str) -> None:
    page = fill_page(
        '<title>{{title}}</title><script>{{data}}</script><p a="{{csp}}">',
        title="",
        style="",
        script="",
        data=[text],
    )
    assert [tag for tag, _ in Page(page.decode()).tags] == ["title", "script", "p"]
    assert json.loads(inert_json([text])) == [text]


def test_lone_surrogates_and_megabytes_are_written(tmp_path: Path) -> None:
    run = read_scored_run(write_run(tmp_path / "run", [chain()]))
    odd = replace(run, trajectories=[hostile("a\ud800b" + "x" * 1_000_000)])
    assert write_report(tmp_path / "odd.html", [odd]) > 1_000_000
    data = data_of((tmp_path / "odd.html").read_text("utf-8"))
    assert data["questions"][0]["rows"][0]["steps"][0]["thought"][:3] == "a\ud800b"
    big = replace(run, trajectories=[hostile("x" * 1_000_000)])
    assert write_report(tmp_path / "big.html", [big]) > 1_000_000


def test_the_policy_allows_the_pages_own_parts_and_nothing_else(tmp_path: Path) -> None:
    text = page_of(tmp_path, [hostile()])
    page = Page(text)
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    for tag, n in (("style", 0), ("script", 1)):
        digest = base64.b64encode(hashlib.sha256(page.text_of(tag, n).encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"\bsrc=|@import|url\(", text.partition('<script type="application/json"')[0])
    assert not [a for _, a in page.tags if any(name.startswith("on") or name == "style" for name in a)]
    script = page.text_of("script", 1)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|fetch", script
    )
    assert set(re.findall(r"https?://[\w./]+", script)) == {"http://www.w3.org/2000/svg"}, (
        "a name, no address"
    )


def test_the_files_of_the_page_stay_small() -> None:
    assert sorted(SCRIPTS) == sorted(path.name for path in PARTS.glob("*.js"))
    for path in [*PARTS.iterdir(), *SHARED.iterdir()]:
        assert len(path.read_text("utf-8").splitlines()) <= 300, path.name


def test_facts_say_how_the_run_was_made(tmp_path: Path) -> None:
    rows = [chain(), chain(asked=question("Other?"), status=Status.MODEL_ERROR)]
    facts = dict(run_facts(read_scored_run(write_run(tmp_path / "run", rows))))
    assert facts["Model"] == "qwen2.5-coder-1.5b"
    assert facts["Index"] == "world.jsonl, 339 passages, bm25 (digest eb0f9998)"
    assert facts["Outcomes"] == "1 finished, 1 model error"
    assert facts["Tokens"] == "700 read, 100 written, 6 calls"
    assert (facts["Wall time"], facts["Code"]) == ("1 h 2 min", "0123456789ab")
    bare = dict(run_facts(read_scored_run(write_run(tmp_path / "bare", rows, manifest=None))))
    assert bare["Manifest"] == "none: the run was not finished"
    assert "Share of malformed replies" in bare  # "Malformed replies" is the number for one question


HYBRID = {
    "type": "hybrid",
    "dense": "flat",
    "sparse": "bm25",
    "rows": 21015324,
    "identity": "0123456789abcdef",
}


@pytest.mark.parametrize(
    ("index", "shown"),
    [
        (
            HYBRID
            | {"corpus": "wiki18.jsonl", "encoder": {"name": "e5", "sha256": "f" * 64}, "reranker": None},
            "wiki18.jsonl, 21,015,324 passages, hybrid (flat and bm25), encoder e5 (digest 01234567)",
        ),
        (
            {"type": "bm25", "rows": 9, "corpus_sha256": "a" * 64, "reranker": {"type": "x", "name": "r"}},
            "corpus aaaaaaaa (no name on record), 9 passages, bm25, reranker r (digest aaaaaaaa)",
        ),
        ({"retriever": "toy:data/w.jsonl"}, "toy:data/w.jsonl"),
        ({}, None),
        ("broken", None),
        ({"corpus": 3, "rows": "many", "type": None, "encoder": "x", "identity": ["y"]}, None),
    ],
)
def test_an_index_is_named_by_its_corpus(tmp_path: Path, index: Any, shown: str | None) -> None:
    run = write_run(tmp_path / "run", [chain()], manifest=MANIFEST | {"index": index})
    assert dict(run_facts(read_scored_run(run))).get("Index") == shown


def test_every_metric_of_the_page_is_named_and_explained(tmp_path: Path) -> None:
    data = page_data([read_scored_run(write_run(tmp_path / "run", [chain()]))])
    named = dict(data["named"])
    assert named.keys() == {"em", "f1", "searches", "seconds"}
    assert named["em"][0] == "Exact match"
    assert named["em"][2] is True
    assert all(meaning for _, meaning, _ in named.values())
    assert list(named) == ["em", "f1", "searches", "seconds"]  # in the order of the tables
    assert data["fewest"] == 20
    assert data["failed"] == ["model_error", "refused", "retriever_error"]
    assert data["capped"] == ["capped_then_answered", "budget_then_answered"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda run: (run / "scores.json").unlink(),
            r"no scores\.json; run .venv/bin/python -m src_eval\.score .*run to write it",
        ),
        (
            lambda run: (run / "scores.jsonl").unlink(),
            r"no scores\.jsonl; run .venv/bin/python -m src_eval\.score",
        ),
        (lambda run: (run / "trajectories.jsonl").unlink(), r"no trajectories\.jsonl; give the directory"),
        (lambda run: (run / "scores.jsonl").write_text(""), r"not about the rows of trajectories\.jsonl"),
        (lambda run: (run / "scores.json").write_text("{"), r"scores\.json: .*write the file again"),
        (lambda run: (run / "scores.json").write_text("{}"), r"at run; correct it"),
        (lambda run: (run / "trajectories.jsonl").write_text("{}\n"), r"jsonl, line 1: Field required"),
        (lambda run: (run / "manifest.json").write_text("{"), r"manifest\.json: not valid JSON"),
    ],
)
def test_what_is_missing_or_broken_is_one_sentence(tmp_path: Path, spoil: Any, said: str) -> None:
    run = write_run(tmp_path / "run", [chain()])
    spoil(run)
    with pytest.raises(UserError, match=said) as caught:
        read_scored_run(run)
    assert "\n" not in str(caught.value)


def test_the_folder_of_an_evaluation_is_pointed_to_its_page(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<table>")
    failed = finished("src_eval.report.__main__", str(tmp_path))
    assert failed.returncode == 2
    assert f"is the folder of an evaluation, not of a run; open {tmp_path}/index.html" in failed.stderr


def test_a_row_that_was_being_written_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [chain()])
    with (run / "trajectories.jsonl").open("ab") as rows:
        rows.write(b'{"question": {"id"')
    assert len(read_scored_run(run).trajectories) == 1


def test_the_command_line() -> None:
    assert parse(["a"]) == ([Path("a")], Path("a/report.html"))
    assert parse(["a", "--out", "x.html", "b"]) == ([Path("a"), Path("b")], Path("x.html"))
    assert parse(["--out=x.html", "a"]) == ([Path("a")], Path("x.html"))
    for wrong in ([], ["a", "b", "c"], ["a", "--out"], ["a", "--out="], ["a", "--ouput", "x"]):
        with pytest.raises(UserError, match="usage"):
            parse(wrong)


def test_a_run_without_scores_is_scored_first_and_again_after_new_rows(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [chain()])
    scores = folder / "scores.json"
    scores.unlink()
    finished("src_eval.report.__main__", str(folder))
    assert is_scored(folder)
    os.utime(scores, (1, 1))
    assert not is_scored(folder)
    finished("src_eval.report.__main__", str(folder))
    assert is_scored(folder)


def test_the_script_writes_where_the_caller_stands(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [chain()])
    script = str(ROOT / "scripts" / "report.sh")

    def report(*arguments: str, venv: str) -> subprocess.CompletedProcess[str]:
        variables = {"PATH": "/usr/bin:/bin", "VENV": venv, "HOME": str(tmp_path)}
        return subprocess.run(
            ["bash", script, *arguments], cwd=tmp_path, env=variables, capture_output=True, text=True
        )

    venv = str(Path(sys.executable).parent.parent)
    done = report("run", "--out", "page.html", venv=venv)
    assert (done.returncode, done.stdout) == (0, "written: page.html (0.1 MB)\n"), done.stderr
    assert "<title>run</title>" in (tmp_path / "page.html").read_text()
    assert "runs/A runs/B" in report("-h", venv=venv).stdout
    assert "bash scripts/setup.sh requirements-local.txt first" in report("run", venv="/nowhere").stderr
    failed = finished("src_eval.report.__main__", str(tmp_path / "nowhere"))
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)
