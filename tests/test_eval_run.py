"""`python -m src_eval.run`: the runs it makes, what it repeats, and how it tells what went wrong."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from helpers_llm import ROOT, write_items, write_script
from helpers_runs import Run
from helpers_scores import answered, write_run
from rich.console import Console

from src_core.config import build_config, load_config
from src_core.errors import UserError
from src_core.jsonl import rewrite_jsonl
from src_core.rankings import RankedPassage, Ranking
from src_core.types import Passage, Status, to_json
from src_eval.config import DatasetSpec, EvalConfig, MethodSpec
from src_eval.found_files import load_evaluation, with_found_files
from src_eval.jobs import Job
from src_eval.run import evaluate, is_finished, is_wanted, plan
from src_eval.scoring import score_run
from src_tasks.metric_names import EXPLAINED
from src_tasks.readers.sources import read_questions

PROMPTLESS = {"expected": "", "name": "t"}
PATIENCE = 300.0  # every run is a process of its own, which a busy machine starts slowly


def evaluation(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m src_eval.run` from its start to its end."""
    run = Run("src_eval.run", arguments)
    out, err = asyncio.run(asyncio.wait_for(run.communicate(), PATIENCE))
    return subprocess.CompletedProcess([], run.returncode or 0, out.decode(), err.decode())


def config(tmp_path: Path, **more: object) -> EvalConfig:
    questions, _ = write_items(tmp_path, 2)
    values = {
        **PROMPTLESS,
        "methods": ["closed_book", {"method": "rearag", "label": "short", "settings": ["limits.t_max=2"]}],
        "datasets": [{"name": "items", "path": str(questions)}],
        "runs_dir": str(tmp_path / "runs"),
        **more,
    }
    return build_config(EvalConfig, values, [], where="the test")


def test_a_plan_is_one_run_per_data_set_and_line_whose_own_settings_win(tmp_path: Path) -> None:
    jobs = plan(config(tmp_path, settings=["limits.t_max=9"], servers=["limits.t_max=8", "retriever=toy:x"]))
    assert [job.folder.name for job in jobs] == ["eval-t-items-closed_book", "eval-t-items-short"]
    command = jobs[1].command
    assert command[:4] == [sys.executable, "-m", "src_infer.run", "configs/infer/cpu.yaml"]
    assert [word for word in command if "t_max" in word] == [f"limits.t_max={n}" for n in (9, 8, 2)]
    assert {"method=rearag", "n_questions=-1", "retriever=toy:x", "run_name=eval-t-items-short"} <= set(
        command
    )


def test_names_must_tell_lines_apart_and_the_baseline_must_be_one(tmp_path: Path) -> None:
    assert config(tmp_path).baseline_name() == "closed_book"
    assert config(tmp_path, baseline="short").baseline_name() == "short"
    with pytest.raises(UserError, match=r"baseline 'x', .*; set baseline to one of closed_book, short"):
        config(tmp_path, baseline="x").baseline_name()
    with pytest.raises(UserError, match="two methods are called 'rearag'"):
        config(tmp_path, methods=["rearag", "rearag"]).require_names()


@pytest.mark.parametrize(
    ("name", "words"),
    [("f2", "did you mean f1? "), ("recal", "did you mean recall? "), ("recall@k", "k is a number")]
    + [(name, f"no metric '{name}'; ") for name in ("wall", "front", "boundary_f1", "", "em@5")],
)
def test_a_metric_that_no_question_has_is_an_error(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        config(tmp_path, metrics=["em", name]).require_names()
    assert words in str(refused.value)


def test_every_metric_that_scoring_computes_may_be_a_column(tmp_path: Path) -> None:
    asked = answered("1?", "x", "x", searches=[["p1"]], supporting=["p1"])
    rows = score_run(write_run(tmp_path / "r", [asked])).rows
    config(tmp_path, metrics=list(rows[0].metrics)).require_names()
    assert {"recall@5", "ndcg@5", "tokens", "seconds"} <= rows[0].metrics.keys()


def test_flashrag_mode_takes_its_items_and_its_metrics(tmp_path: Path) -> None:
    mode = config(tmp_path, flashrag=True)
    costs = ("searches", "searches_right", "searches_wrong", "tokens", "seconds")
    assert mode.metrics_of("nq") == mode.metrics_of("popqa") == ("em", "f1", *costs)
    assert mode.metrics_of("hotpotqa") == ("f1", "em", *costs)
    counts = [mode.questions_of(DatasetSpec(name="x", path="x", n=n)) for n in (-1, 5, 4000)]
    assert counts == [1000, 5, 1000]
    assert config(tmp_path).metrics_of("nq") == ("em", "f1", *costs)
    shown = config(tmp_path, metrics=["choice_accuracy", "seconds"]).metrics_of("mmlu")
    assert shown == ("choice_accuracy", "seconds", "em", "f1", *costs[:-1])


def test_lines_that_never_search_are_named_alone_or_as_a_list(tmp_path: Path) -> None:
    assert config(tmp_path).never == config(tmp_path, never="").never == ()
    assert config(tmp_path, never="short").never == config(tmp_path, never=["short"]).never == ("short",)
    replaced = config(tmp_path, never=["short", "x"])  # as with methods=[…] on the command line
    assert replaced.baseline_name() == "closed_book"
    assert replaced.absent_never() == ["x"]


@pytest.mark.parametrize("name", ["smoke", "real", "pareto"])
def test_methods_of_a_shipped_evaluation_can_be_replaced(name: str) -> None:
    file = Path(f"configs/eval/{name}.yaml")
    two = load_config(EvalConfig, file, ["methods=[naive_rag, rearag]", "name=two"])
    assert two.baseline_name() == "naive_rag"
    assert two.absent_never()


@pytest.mark.parametrize("profile", ["cpu", "small", "gpu", "server"])
def test_naive_rag_stands_beside_rearag_with_every_profile(profile: str) -> None:
    smoke = load_config(EvalConfig, Path("configs/eval/smoke.yaml"), [f"profile={profile}"])
    wanted = {job.line.name for job in plan(smoke) if is_wanted(smoke, job)}
    assert {"rearag", "naive_rag"} <= wanted
    assert smoke.never == ("closed_book",)


def test_a_run_is_finished_when_all_its_rows_are_there_and_none_failed(tmp_path: Path) -> None:
    def job(folder: Path) -> Job:
        return Job(MethodSpec(method="rearag"), DatasetSpec(name="x", path="x"), folder, [])

    rows = [answered("1?", "x", "x"), answered("2?", "x", "x")]
    asked = [row.question for row in rows]
    whole = write_run(tmp_path / "a", rows)
    assert is_finished(job(whole), wanted=asked)
    assert is_finished(job(whole), wanted=asked[:1])
    assert not is_finished(job(whole), wanted=[*asked, answered("3?", "x", "x").question])
    corrected = [answered("1?", "x", "another gold").question, asked[1]]
    assert not is_finished(job(whole), wanted=corrected)
    assert not is_finished(job(whole), wanted=[replace(asked[0], group="another group"), asked[1]])
    failed = write_run(tmp_path / "b", [answered("1?", "", "x", status=Status.RETRIEVER_ERROR)])
    assert not is_finished(job(failed), wanted=asked[:1])
    assert not is_finished(job(tmp_path / "c"), wanted=[])


def test_a_run_that_cannot_be_made_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    settings = config(tmp_path)
    good, bad = plan(settings)
    asked = read_questions(good.dataset.path)
    rows = [answered("What is item 0?", "item-0", "item-0"), answered("1?", "x", "y")]
    write_run(good.folder, [replace(row, question=one) for row, one in zip(rows, asked, strict=True)])
    good = good._replace(command=[sys.executable, "-c", "raise SystemExit(0)"])
    sentence = "own.py, line 3: the method failed."
    crash = f"from src_core import errors\ndef main(): raise errors.UserError({sentence!r})"
    bad = bad._replace(command=[sys.executable, "-c", f"{crash}\nerrors.run_main(main)"])
    out, err = io.StringIO(), io.StringIO()
    assert (
        evaluate(settings, [good, bad], out=Console(file=out, width=150), err=Console(file=err, width=200))
        == 1
    )
    assert "closed_book" in out.getvalue()
    assert "50.0 (too few)" in out.getvalue()
    assert "done before" in err.getvalue()
    assert "error: eval-t-items-short: own.py, line 3: the method failed.; its output" in err.getvalue()
    note = "items, short: no row, the run failed: own.py, line 3: the method failed.\n"
    assert note in out.getvalue()
    home = tmp_path / "runs/eval-t"
    assert f"- {note}" in (home / "table.md").read_text()
    assert note.strip() in (home / "index.html").read_text()
    bad = bad._replace(
        command=[sys.executable, "-c", "raise SystemExit(3)"]
    )  # again, with no word of its own
    again = Console(file=io.StringIO())
    assert evaluate(settings, [good, bad], out=again, err=again) == 1
    assert (
        "items, short: no row, the run failed: it ended with status 3.\n" in (home / "table.md").read_text()
    )


def test_an_interruption_ends_all(tmp_path: Path) -> None:
    settings = config(tmp_path)
    jobs = [job._replace(command=[sys.executable, "-c", "raise SystemExit(130)"]) for job in plan(settings)]
    with pytest.raises(KeyboardInterrupt):
        evaluate(settings, jobs, out=Console(quiet=True), err=Console(quiet=True))


def test_the_whole_way_with_a_scripted_model_and_again(tmp_path: Path) -> None:
    questions, corpus = write_items(tmp_path, 2)
    script = write_script(tmp_path / "script.jsonl", [("item 0", ["item-0"]), ("item 1", ["something else"])])
    judge = write_script(tmp_path / "judge.jsonl", [("", ["[[3]]"])])
    file = tmp_path / "mini.yaml"
    values = {
        **PROMPTLESS,
        "methods": ["closed_book", {"method": "naive_rag", "profile": "small"}],
        "datasets": [{"name": "items", "path": str(questions)}],
        "settings": [f"agent.url=scripted:{script}", f"reader.url=scripted:{script}"],
        "servers": [f"retriever=toy:{corpus}"],
        "metrics": ["em", "acc_l", "searches"],
        "never": "another",
        "judge": {"endpoint": {"url": f"scripted:{judge}"}, "cache": str(tmp_path / "cache.jsonl")},
        "runs_dir": str(tmp_path / "runs"),
    }
    file.write_text(json.dumps(values), encoding="utf-8")  # JSON is YAML
    only = evaluation(str(file), "profile=cpu", "methods=[{method: naive_rag, profile: small}]")
    assert only.returncode == 2
    assert "no method is for PROFILE=cpu; choose one of these profiles: small" in only.stderr
    alone = evaluation(str(file), "profile=cpu")
    assert alone.returncode == 0, alone.stderr
    assert "note: the setting `never` names another, which is no method of this run\n" in alone.stderr
    assert "not run with PROFILE=cpu: naive_rag\n[1/1] items, closed_book" in alone.stderr
    assert "naive" not in alone.stdout
    home = tmp_path / "runs/eval-t"
    (home / "boundary.md").write_text("of an earlier evaluation, which had other lines")
    first = evaluation(str(file), "profile=small")  # the line of the earlier run is in the table
    assert first.returncode == 0, first.stderr
    assert "not run with PROFILE=small: closed_book\n[1/1] items, naive_rag" in first.stderr
    assert "written:" in first.stdout
    written = {"table.md", "table.csv", "table.tex", "index.html", "config.yaml", "logs"}
    written |= {"pareto.md", "pareto.csv"}
    assert written == {path.name for path in home.iterdir()}
    assert f"the page {home}/index.html" in first.stdout
    assert first.stdout.count(EXPLAINED) == 2  # below each of the two tables
    assert all(EXPLAINED in (home / f"{name}.md").read_text("utf-8") for name in ("table", "pareto"))
    assert (home / "pareto.md").read_text("utf-8").count("| too few |") == 2
    page = (home / "index.html").read_text(encoding="utf-8")
    assert '<a href="../eval-t-items-naive_rag/report.html">naive_<wbr>rag</a>' in page
    assert (home / "../eval-t-items-naive_rag/report.html").is_file()
    table = (home / "table.md").read_text(encoding="utf-8").splitlines()
    assert table[2].startswith("| items | closed\\_book | 2 | 50.0 (too few) | 100.0 (too few) | 0.00")
    assert (tmp_path / "runs/eval-t-items-naive_rag/scores.json").is_file()
    again = evaluation(str(file), "profile=small")
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("done before") == 1
    assert again.stdout == first.stdout


def write_rankings(path: Path, numbers: Sequence[int]) -> None:
    """The passage of each item as the ranking of its question."""
    rows = [
        Ranking(f"q{k}", f"What is item {k}?", (RankedPassage(f"p{k}", {"retrieval": 1.0}),)) for k in numbers
    ]
    rewrite_jsonl(path, map(to_json, rows))


def test_a_finished_evaluation_goes_on_with_more_questions(tmp_path: Path) -> None:
    """Also where the rankings that it reads have grown; others are refused."""
    questions, _ = write_items(tmp_path, 4)
    passages = [Passage(f"p{k}", f"Item {k}", f"Every fact about item {k}.") for k in range(4)]
    rewrite_jsonl(tmp_path / "passages.jsonl", map(to_json, passages))
    script = write_script(tmp_path / "script.jsonl", [("", ["item-0"])])
    rankings = tmp_path / "ranked.jsonl"
    values = {
        **PROMPTLESS,
        "methods": ["naive_rag"],
        "settings": [f"agent.url=scripted:{script}", f"reader.url=scripted:{script}"],
        "servers": [f"retriever=ranked:{rankings}"],
        "runs_dir": str(tmp_path / "runs"),
    }
    (tmp_path / "mini.yaml").write_text(json.dumps(values), encoding="utf-8")

    def evaluated(n: int, ranked: Sequence[int]) -> subprocess.CompletedProcess[str]:
        write_rankings(rankings, ranked)
        sets = f"datasets=[{{name: items, path: {questions}, n: {n}}}]"
        return evaluation(str(tmp_path / "mini.yaml"), sets)

    rows = tmp_path / "runs/eval-t-items-naive_rag/trajectories.jsonl"
    assert evaluated(2, [0, 1]).returncode == 0
    before = rows.read_bytes()
    grown = evaluated(3, [0, 1, 2])
    assert grown.returncode == 0, grown.stderr
    assert "2 of 3 are done" in grown.stderr
    assert rows.read_bytes().startswith(before)
    assert rows.read_bytes().count(b"\n") == 3
    assert "| items | naive\\_rag | 3 |" in (tmp_path / "runs/eval-t/table.md").read_text(encoding="utf-8")
    shorter = evaluated(3, [0, 1])
    assert shorter.returncode == 0, shorter.stderr  # nothing to do
    for other in ([1, 0, 2, 3], [0, 1, 3]):
        refused = evaluated(4, other)
        assert refused.returncode == 1
        assert "was made with" in refused.stderr
        assert "on_existing=clean" in refused.stderr
    assert rows.read_bytes().count(b"\n") == 3


def test_a_mistake_in_a_run_is_told_before_anything_is_made(tmp_path: Path) -> None:
    questions, _ = write_items(tmp_path, 1)
    file = tmp_path / "mini.yaml"
    data = [{"name": "items", "path": str(questions)}]
    values = {**PROMPTLESS, "methods": ["no_such"], "datasets": data, "runs_dir": str(tmp_path / "runs")}
    file.write_text(json.dumps(values), encoding="utf-8")
    done = evaluation(str(file))
    assert done.returncode == 2
    assert done.stderr.startswith("error: items, no_such:")
    assert not (tmp_path / "runs").exists()
    for methods, words in (
        ("[closed_book, naive_rog]", "items, naive_rog: no method 'naive_rog'; did you mean naive_rag?"),
        ("[closed_book]", "the baseline 'naive_rag', the line to compare with, is no method of this run"),
    ):
        done = evaluation(str(file), f"methods={methods}", "baseline=naive_rag", "--check")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: {words}")
    done = evaluation(str(file), "methods=[closed_book]", "metrics=[em, f2]", "--check")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: no metric 'f2'; did you mean f1?")
    done = evaluation(str(file), "methods=[closed_book]", "n=2", "--check")
    assert "unknown setting n in " in done.stderr
    assert "; n belongs to each of datasets: set datasets.0.n; known" in done.stderr
    assert evaluation(str(file), "methods=[closed_book]", "datasets.0.n=2", "--check").returncode == 0
    done = evaluation(str(file.with_suffix(".yml")), "--check")
    assert f"no such config file: {tmp_path}/mini.yml; did you mean {file}?" in done.stderr
    checked = evaluation(str(file), "methods=[closed_book]", "corpus=c.jsonl", "--check")
    assert (checked.returncode, checked.stdout) == (0, "c.jsonl\n\n")
    assert evaluation().returncode == 2


def test_a_question_file_that_is_not_there_is_explained(tmp_path: Path) -> None:
    missing = config(tmp_path, datasets=[{"name": "dev", "path": str(tmp_path / "musique.dev.jsonl")}])
    with pytest.raises(UserError) as refused:
        with_found_files(missing, tmp_path / "e.yaml")
    said = str(refused.value)
    assert f"no such file: {tmp_path}/musique.dev.jsonl; MuSiQue is at https://" in said
    assert said.endswith("set the path of dev under datasets to the file")


def test_files_are_looked_for_beside_the_configuration_then_at_the_caller_then_here(tmp_path: Path) -> None:
    beside, caller = tmp_path / "beside", tmp_path / "caller"
    for folder in (beside, caller):
        folder.mkdir()
    here = "data/sample_world/questions.jsonl"
    sets = [{"name": name, "path": path} for name, path in (("q", "q.jsonl"), ("p", "p.jsonl"), ("w", here))]
    for place in (beside / "q.jsonl", caller / "q.jsonl", caller / "p.jsonl", caller / "tree"):
        place.touch()
    (beside / "mine.py").write_text((ROOT / "src_infer/methods/naive_rag.py").read_text())
    methods = [{"method": "mine.py"}, {"method": "naive_rag"}]
    sets[0]["trees"] = "tree"
    own = config(
        tmp_path, methods=methods, datasets=sets, caller=str(caller), corpus="q.jsonl", profile="cpu"
    )
    found = with_found_files(own, beside / "e.yaml")
    assert [each.method for each in found.lines] == [str(beside / "mine.py"), "naive_rag"]
    assert [each.path for each in found.datasets] == [str(beside / "q.jsonl"), str(caller / "p.jsonl"), here]
    assert found.datasets[0].trees == (str(caller / "tree"),)
    assert found.corpus == str(beside / "q.jsonl")
    assert f"questions={beside}/q.jsonl" in plan(found)[0].command
    lacking = config(tmp_path, datasets=[{"name": "q", "path": "r.jsonl"}], caller=str(caller))
    with pytest.raises(UserError, match=rf"r.jsonl \(looked for in {beside}, {caller}, {Path.cwd()}\); many"):
        with_found_files(lacking, beside / "e.yaml")


def test_files_in_the_settings_of_the_runs_are_looked_for_too(tmp_path: Path) -> None:
    for name in ("q.jsonl", "own.yaml", "mine.jsonl", "format.py", "off"):
        (tmp_path / name).touch()
    line = {"method": "naive_rag", "settings": ["retriever=ranked:mine.jsonl", "protocol=format.py"]}
    values = {"name": "e", "methods": [line], "datasets": [{"name": "q", "path": "q.jsonl"}]}
    values |= {"infer": "own.yaml", "settings": ["constrain=off", "agent.url=http://127.0.0.1:9/v1"]}
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    found = load_evaluation(tmp_path / "e.yaml", ["index_dir=i"])
    assert found.infer == str(tmp_path / "own.yaml")
    assert found.settings == tuple(values["settings"])
    assert found.lines[0].settings == (
        f"retriever=ranked:{tmp_path}/mine.jsonl",
        f"protocol={tmp_path}/format.py",
    )


def test_a_corpus_is_asked_for_where_it_is_to_be_indexed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CORPUS", raising=False)
    there = config(tmp_path, corpus=str(tmp_path / "passages.jsonl"))
    with_found_files(there, tmp_path / "e.yaml")
    with pytest.raises(UserError, match=r"no such file: .*passages.jsonl; .*make_corpus.sh.*set corpus"):
        with_found_files(replace(there, profile="cpu"), tmp_path / "e.yaml")
    with_found_files(replace(there, profile="gpu"), tmp_path / "e.yaml")
    monkeypatch.setenv("CORPUS", "another.jsonl")
    with_found_files(replace(there, profile="cpu"), tmp_path / "e.yaml")


def test_the_smoke_evaluation_needs_only_this_repository() -> None:
    with_found_files(
        load_config(EvalConfig, Path("configs/eval/smoke.yaml"), ["profile=cpu"]),
        Path("configs/eval/smoke.yaml"),
    )
