"""A question file is corrected and the run goes on: every score is of the file's present questions."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
from helpers_llm import settings_for, write_script
from rich.console import Console

from src_core.config import load_config
from src_core.runfolder import require_cleanable
from src_eval.compare import Entry, build_table
from src_eval.expected import Expected
from src_eval.judge_run import judge_folders
from src_eval.report.report_page import write_report
from src_eval.report.run_files import read_scored_run
from src_eval.scoring import score_run
from src_eval.tables import notes_of
from src_infer.config import InferConfig
from src_infer.run import prepare, run
from src_tasks.judge import JudgeConfig

GPU = Path("configs/infer/gpu.yaml")


def answer(folder: Path, questions: list[dict[str, Any]], *more: str) -> tuple[str, dict[str, Any]]:
    """One call of the run over these questions, all answered with `item-0`: its output and manifest."""
    script = write_script(folder / "script.jsonl", [("", ["item-0"])])
    given = settings_for(folder, f"scripted:{script}", count=1, method="closed_book")
    (folder / "questions.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in questions), encoding="utf-8"
    )
    out = io.StringIO()
    console = Console(file=out, width=160)
    asyncio.run(run(prepare(load_config(InferConfig, GPU, [*given, *more])), console, console))
    return out.getvalue(), json.loads((folder / "runs/r/manifest.json").read_text())


WRONG = {"question": "What is it?", "answers": ["another"]}
RIGHT = {"question": "What is it?", "answers": ["item-0"]}
OTHER = {"question": "What else?", "answers": ["item-0"]}


def test_scores_count_the_present_questions_everywhere(tmp_path: Path) -> None:
    folder = tmp_path / "runs/r"
    _, first = answer(tmp_path, [WRONG, OTHER])
    assert first["totals"]["all"]["em"] == 0.5
    said, second = answer(tmp_path, [RIGHT, OTHER])
    assert "1 row not counted, of questions that the run no longer has: What is it?" in said
    assert second["totals"]["all"]["em"] == 1.0
    assert len((folder / "trajectories.jsonl").read_text().splitlines()) == 3  # nothing is thrown away
    scored = score_run(folder).run
    assert (scored.questions, scored.left_out, scored.metrics["em"].mean) == (2, 1, 1.0)
    page = read_scored_run(folder)
    assert len(page.trajectories) == len(page.scores) == 2
    assert "question_ids" not in scored.manifest
    judge = write_script(tmp_path / "judge.jsonl", [("", ["[[3]]"])])
    config = load_config(JudgeConfig, None, [f"endpoint.url=scripted:{judge}", f"cache={tmp_path}/cache"])
    judge_folders(config, [folder], out=Console(quiet=True), err=Console(quiet=True))
    assert score_run(folder).run.metrics["acc_l"].n == 2
    entries = [Entry("set", "closed_book", "closed_book", score_run(folder))]
    table = build_table(entries, baseline="closed_book", metrics_of=lambda _: ("em",), expected=Expected())
    write_report(folder / "report.html", [read_scored_run(folder)])
    require_cleanable(folder)  # all files there have names that are known as ours
    assert any("1 rows are left out" in note for note in notes_of(table))


def test_a_question_that_comes_back_counts_again(tmp_path: Path) -> None:
    answer(tmp_path, [RIGHT, OTHER])
    answer(tmp_path, [OTHER])
    assert score_run(tmp_path / "runs/r").run.questions == 1
    answer(tmp_path, [RIGHT, OTHER], "n_questions=1")
    assert score_run(tmp_path / "runs/r").run.questions == 1
    answer(tmp_path, [RIGHT, OTHER])
    assert score_run(tmp_path / "runs/r").run.questions == 2


def test_a_corrected_group_is_that_of_the_file(tmp_path: Path) -> None:
    answer(tmp_path, [{**RIGHT, "type": "bridge"}, OTHER])
    _, manifest = answer(tmp_path, [{**RIGHT, "type": "comparison"}, OTHER])
    assert set(manifest["totals"]["by_group"]) == {"all", "comparison"}
    rows = [json.loads(line) for line in (tmp_path / "runs/r/trajectories.jsonl").read_text().splitlines()]
    assert [row["question"]["group"] for row in rows] == ["comparison", ""]
    assert set(score_run(tmp_path / "runs/r").run.by["group"]) == {"comparison"}


def test_the_questions_are_known_as_soon_as_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(tmp_path, [WRONG, OTHER])

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("src_infer.answering.run_all", killed)
        with pytest.raises(KeyboardInterrupt):
            answer(tmp_path, [RIGHT, OTHER])
    scored = score_run(tmp_path / "runs/r").run
    assert (scored.questions, scored.left_out) == (1, 1)


def test_a_run_of_before_the_ids_were_kept_is_scored_whole(tmp_path: Path) -> None:
    _, manifest = answer(tmp_path, [RIGHT, OTHER])
    del manifest["question_ids"]
    (tmp_path / "runs/r/manifest.json").write_text(json.dumps(manifest))
    assert score_run(tmp_path / "runs/r").run.questions == 2


def test_why_questions_failed_is_under_the_table(tmp_path: Path) -> None:
    script = write_script(tmp_path / "s.jsonl", [("no question", ["x"])])
    questions = [{"question": f"What is {k}?", "answers": []} for k in range(8)]
    said, _ = answer(tmp_path, questions, f"agent.url=scripted:{script}", f"reader.url=scripted:{script}")
    assert said.count("failed 1 x: the script has no reply left for") == 5
    assert "failed 3 x with other errors" in said
    assert "without gold" in said
