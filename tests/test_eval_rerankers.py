"""The table of rerankers: metrics of rankings, the reader's scores, and the page of candidates."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml
from helpers_radio import TOWNS, Radio, read_rows, write_rows
from helpers_rerank import onnx_folder

from src_core.config import load_config
from src_core.errors import UserError
from src_core.jsonl import rewrite_jsonl
from src_core.rankings import RankedPassage, Ranking
from src_core.served import content_digest
from src_core.types import to_json
from src_eval.compare import Line
from src_eval.config import EvalConfig
from src_eval.rerankers import comparison, main
from src_eval.tables import cells_of
from src_tasks.readers.sources import read_questions

QUESTIONS = 24


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rankings of 24 questions by two lines: the gold passage is fourth without a reranker, first with."""
    rows = [
        {"id": f"q{at}", "question": f"When was {TOWNS[at]} founded?", "answers": [f"{1200 + at}"]}
        for at in range(QUESTIONS)
    ]
    write_rows(tmp_path / "dev.jsonl", [{**row, "supporting_ids": [f"p{at}"]} for at, row in enumerate(rows)])
    asked = read_questions(tmp_path / "dev.jsonl")
    for line, gold_at in (("none", 3), ("tuned", 0)):
        rankings = []
        for at, question in enumerate(asked):
            ids = [f"other{n}" for n in range(9)]
            ids.insert(gold_at, f"p{at}")
            rankings.append(
                Ranking(question.id, question.question, tuple(RankedPassage(name) for name in ids))
            )
        rewrite_jsonl(tmp_path / f"{line}.jsonl", map(to_json, rankings))
    write_config(tmp_path, "readers.yaml", "radio", ("none", "tuned"))
    return tmp_path


def write_config(folder: Path, file: str, name: str, lines: tuple[str, ...]) -> None:
    methods = [
        {"method": "naive_rag", "label": line, "settings": [f"retriever=ranked:{folder}/{line}.jsonl"]}
        for line in lines
    ]
    values = {"name": name, "methods": methods, "baseline": lines[0], "runs_dir": str(folder / "runs")}
    values |= {"datasets": [{"name": "dev", "path": str(folder / "dev.jsonl")}]}
    (folder / file).write_text(yaml.safe_dump(values), encoding="utf-8")


def lines_of(folder: Path, *files: str) -> dict[tuple[str, str], Line]:
    table = comparison([load_config(EvalConfig, folder / file) for file in files])
    return {(line.dataset, line.name): line for line in table.lines}


def mean(line: Line, metric: str) -> float:
    estimate = line.cells[metric].estimate
    assert estimate is not None
    return estimate.mean


def test_a_better_ranking_is_significantly_better(folder: Path) -> None:
    lines = lines_of(folder, "readers.yaml")
    none, tuned = lines["dev", "none"], lines["dev", "tuned"]
    assert [mean(none, each) for each in ("recall@2", "recall@5", "mrr")] == [0.0, 1.0, 0.25]
    assert [mean(tuned, each) for each in ("recall@2", "recall@5", "mrr", "ndcg@10")] == [1.0] * 4
    assert tuned.cells["recall@2"].mark == "*"
    assert tuned.cells["recall@5"].mark == ""
    assert "em" not in tuned.cells


def test_the_files_of_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with patch.object(sys, "argv", ["rerankers", str(folder / "readers.yaml")]):
        main()
    assert "nDCG@10" in (folder / "table.md").read_text(encoding="utf-8")
    assert (folder / "index.html").is_file()
    assert not (folder / "candidates.html").exists()  # no training question was scored
    assert "tuned" in capsys.readouterr().out


def test_rankings_and_questions_are_found_beside_the_configuration(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (folder / "readers.yaml").read_text(encoding="utf-8")
    moved = text.replace(f"ranked:{folder}/", "ranked:").replace(f"path: {folder}/", "path: ")
    assert "ranked:tuned.jsonl" in moved
    (folder / "readers.yaml").write_text(moved, encoding="utf-8")
    with patch.object(sys, "argv", ["rerankers", str(folder / "readers.yaml")]):
        main()
    assert "tuned" in capsys.readouterr().out


def test_another_reader_has_a_baseline_of_its_own(folder: Path) -> None:
    write_config(folder, "readers-small.yaml", "radio-small", ("none", "tuned"))
    lines = lines_of(folder, "readers.yaml", "readers-small.yaml")
    assert list(lines) == [("dev", "none"), ("dev", "tuned"), ("dev, small", "none"), ("dev, small", "tuned")]
    assert lines["dev, small", "tuned"].cells["recall@2"].mark == "*"


def test_several_sets_are_followed_by_all_their_questions(folder: Path) -> None:
    rows = (folder / "dev.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "other.jsonl").write_text("".join(rows[:8]), encoding="utf-8")
    values = yaml.safe_load((folder / "readers.yaml").read_text(encoding="utf-8"))
    values["datasets"] += [{"name": "other", "path": str(folder / "other.jsonl")}]
    (folder / "readers.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    answer_first(folder, 21)
    lines = lines_of(folder, "readers.yaml")
    assert list(lines)[4:] == [("all questions", "none"), ("all questions", "tuned")]
    tuned = lines["all questions", "tuned"]
    assert tuned.questions == 32  # the same ids in both sets are two questions each
    comparison_of_both = tuned.cells["recall@2"].comparison
    assert comparison_of_both is not None
    assert (comparison_of_both.n, comparison_of_both.difference) == (32, 1.0)
    read = tuned.cells["em"].estimate
    assert read is not None
    assert (read.n, read.mean) == (21, pytest.approx(1 / 21))


def test_a_ranking_that_lacks_a_question_is_refused(folder: Path) -> None:
    rows = (folder / "tuned.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "tuned.jsonl").write_text("".join(rows[1:]), encoding="utf-8")
    with pytest.raises(UserError, match="1 of 24 questions of dev have no ranking of tuned"):
        lines_of(folder, "readers.yaml")


def test_the_readers_scores_stand_beside_their_own_ranking_only(folder: Path) -> None:
    answer_first(folder, 1)
    assert mean(lines_of(folder, "readers.yaml")["dev", "tuned"], "em") == 1.0
    rows = (folder / "tuned.jsonl").read_text(encoding="utf-8").replace("other1", "other8")
    (folder / "tuned.jsonl").write_text(rows, encoding="utf-8")
    with pytest.raises(UserError, match="was written anew after"):
        lines_of(folder, "readers.yaml")


def test_answers_under_rankings_that_have_grown_count_where_all_are_there(folder: Path) -> None:
    rows = (folder / "tuned.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "tuned.jsonl").write_bytes(b"".join(rows[:20]))
    answer_first(folder, 20)
    (folder / "tuned.jsonl").write_bytes(b"".join(rows))
    with pytest.raises(UserError, match=r"has grown since .* has no answer to 4 of 24 questions; run the"):
        lines_of(folder, "readers.yaml")
    text = (
        (folder / "readers.yaml").read_text(encoding="utf-8").replace("name: dev\n", "name: dev\n  n: 20\n")
    )
    (folder / "readers.yaml").write_text(text, encoding="utf-8")
    assert mean(lines_of(folder, "readers.yaml")["dev", "tuned"], "em") == pytest.approx(1 / 20)


def test_all_rankings_count_where_a_reader_answers_some_questions(folder: Path) -> None:
    answer_first(folder, 21)
    text = (folder / "readers.yaml").read_text(encoding="utf-8")
    few = text.replace("name: dev\n", "name: dev\n  n: 21\n  ranked: -1\n")
    (folder / "readers.yaml").write_text(few, encoding="utf-8")
    table = comparison([load_config(EvalConfig, folder / "readers.yaml")])
    tuned = next(line for line in table.lines if line.name == "tuned")
    counts = {name: cell.estimate.n for name, cell in tuned.cells.items() if cell.estimate is not None}
    assert (counts["recall@2"], counts["ndcg@10"], counts["em"], counts["f1"]) == (24, 24, 21, 21)
    note = "dev: EM and F1 are over 21 of 24 questions, to which there are answers (tuned)."
    assert note in cells_of(table).notes
    (folder / "readers.yaml").write_text(text, encoding="utf-8")
    table = comparison([load_config(EvalConfig, folder / "readers.yaml")])
    assert note in cells_of(table).notes  # a reader that was stopped early is not hidden either


def answer_first(folder: Path, count: int) -> None:
    """A finished run that answered the first questions under the present ranking of `tuned`."""
    run = folder / "runs/eval-radio-dev-tuned"
    run.mkdir(parents=True)
    answers = [
        {"question": json.loads(to_json(each)), "steps": [], "answer": "1200", "status": "finished"}
        for each in read_questions(folder / "dev.jsonl")[:count]
    ]
    write_rows(run / "trajectories.jsonl", answers)
    read = {"retriever": "ranked", "sha256": content_digest(folder / "tuned.jsonl")}
    manifest = {"config": {"method": "naive_rag"}, "models": ["m"], "index": read}
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_other_mistakes_are_one_sentence(folder: Path) -> None:
    write_config(folder, "readers-b.yaml", "radio-b", ("tuned",))
    with pytest.raises(UserError, match="different baselines"):
        lines_of(folder, "readers.yaml", "readers-b.yaml")
    text = (folder / "readers.yaml").read_text(encoding="utf-8").replace("ranked:", "http:")
    (folder / "readers-c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="has no setting retriever=ranked:FILE"):
        lines_of(folder, "readers-c.yaml")
    with pytest.raises(UserError, match="two of the evaluations are called 'radio'"):
        lines_of(folder, "readers.yaml", "readers.yaml")


def test_the_page_shows_ranks_scores_and_gold_marks_and_runs_no_text(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script> {data} {{body}}"
    radio = Radio(tmp_path)
    radio.script([("", [f"The charter of the abbey {hostile} names the count."])])
    write_rows(tmp_path / "dev.jsonl", [{"question": "Where?", "answers": ["x"], "supporting_ids": ["p1"]}])
    rows = read_rows(tmp_path / "corpus.jsonl")
    rows[0]["title"] = hostile
    write_rows(tmp_path / "corpus.jsonl", rows)
    onnx_folder(tmp_path / "runs/radio-w0.5/model")
    radio.settings |= {
        "comparison.datasets": f"[{{name: dev, path: {tmp_path}/dev.jsonl}}]",
        "comparison.others": "[{label: untuned, rerank: {model: toy, type: bi_encoder}}]",
        "comparison.tuned": "{model: '{runs}/{run}-{label}/model', max_length: 40}",
        "comparison.page_questions": "2",
    }
    radio.stages("rationales", "candidates", "scores", "blend", "rank")
    with patch.object(sys, "argv", ["rerankers", str(radio.run / "comparison/readers.yaml")]):
        main()
    page = (radio.run / "comparison/candidates.html").read_text(encoding="utf-8")
    assert page.count("<details class=question") == 2
    heads = ["retrieval", "rationale", "blend 0.5", "reranker untuned", "reranker w0.5"]
    at = [page.index(f"<th>{head}</th>") for head in heads]
    assert at == sorted(at)
    assert page.count("<tr class=gold>") == 2
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("<td class=best>") >= 2 * len(heads)
