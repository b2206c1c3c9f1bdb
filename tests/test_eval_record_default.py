"""The recorded answers of the default: from runs to the file, the pages that quote it and the live page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from helpers_demo import demo_config
from helpers_scores import answered, write_run

from src_core.config import load_config
from src_core.errors import UserError
from src_core.types import Status, Trajectory
from src_demo.app import examples
from src_demo.config import DemoConfig
from src_eval import record_default
from src_eval.record_default import quoted, record
from src_eval.scoring import Scored, score_run
from src_infer.show import recorded_note
from src_tasks.recorded import RECORDED, read_recording, recorded_line

ROOT = Path(__file__).resolve().parent.parent
WORLD = ROOT / "data/sample_world/questions.jsonl"
EVIL = "Ceneda | <script>`*\n# x"


def runs(folder: Path, rearag: list[Trajectory], naive: list[Trajectory]) -> list[Scored]:
    made = []
    for method, rows in (("rearag", rearag), ("naive_rag", naive)):
        path = write_run(folder / method, rows, method=method, questions=str(folder / "questions.jsonl"))
        made.append(score_run(path))
    return made


def rows(*answers: str) -> list[Trajectory]:
    return [
        answered(f"What is item {at}?", answer, "Ceneda", searches=[["p1"], ["p2"]])
        for at, answer in enumerate(answers)
    ]


def test_a_recording_holds_the_figures_of_the_runs(tmp_path: Path) -> None:
    made = record(runs(tmp_path, rows("Ceneda", "Vienna"), rows("Rome", EVIL)))
    assert (made.questions, list(made.methods)) == (2, ["rearag", "naive_rag"])
    assert (made.methods["rearag"].em.mean, made.methods["naive_rag"].em.mean) == (0.5, 0.0)
    assert made.methods["rearag"].searches == 2.0
    first = made.examples["What is item 0?"]
    assert first.golds == ("Ceneda",)
    assert [(own.answer, own.right) for own in first.answers.values()] == [("Ceneda", True), ("Rome", False)]


def test_runs_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="another model or other questions"):
        record(runs(tmp_path / "a", rows("Ceneda", "Vienna"), rows("Rome")))
    failed = [replace(rows("x")[0], status=Status.MODEL_ERROR)]
    with pytest.raises(UserError, match="has rows with model_error"):
        record(runs(tmp_path / "b", failed, rows("Rome")))


def test_main_writes_the_file_and_the_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(tmp_path, rows(EVIL, "Vienna"), rows("Rome", "Rome"))
    pages = [tmp_path / "README.md", tmp_path / "results.md"]
    pages[0].write_text("a\n<!-- recorded:line -->\nold\n<!-- end of what is recorded -->\nb\n")
    pages[1].write_text("<!-- recorded:table -->\nold\n<!-- end of what is recorded -->\n")
    monkeypatch.setattr(record_default, "QUOTES", pages)
    monkeypatch.setattr("sys.argv", ["record", str(tmp_path / "rearag"), str(tmp_path / "naive_rag")])
    for _ in range(2):  # again over what it wrote
        record_default.main()
    recording = read_recording(tmp_path / "questions.jsonl")
    assert recording is not None
    line, table = (page.read_text() for page in pages)
    assert line.startswith("a\n<!-- recorded:line -->\nThe default answered all 2 questions")
    assert line.endswith("\n<!-- end of what is recorded -->\nb\n")
    assert "rearag EM 0.0 [0.0, 0.0], 2.00 searches; naive_rag EM" in line
    assert "<script>" not in line
    assert "“Ceneda script # x”" in line
    assert table.count("\n| `") == 2


def test_a_damaged_recording_is_one_sentence(tmp_path: Path) -> None:
    assert read_recording(tmp_path / "questions.jsonl") is None
    (tmp_path / RECORDED).write_text('{"model": 3}')
    with pytest.raises(UserError, match="is not a recording"):
        read_recording(tmp_path / "questions.jsonl")


def test_the_run_and_the_live_page_show_it_with_the_model_that_gave_it(tmp_path: Path) -> None:
    config = demo_config(tmp_path, "http://127.0.0.1:1/v1")
    assert examples(config, "") == ([{"question": "What is item 0?", "recorded": None}], "")
    made = record(runs(tmp_path / "made", rows("Ceneda", "x", "y"), rows("Rome", "x", "y")))
    (Path(config.questions).with_name(RECORDED)).write_bytes(orjson.dumps(made))
    shown = examples(config, made.model)
    known = {"answer": "Ceneda", "right": True, "method": "rearag", "model": made.model}
    assert shown.questions[0] == {"question": "What is item 0?", "recorded": known}
    assert [each["recorded"]["right"] for each in shown.questions] == [True, False, False]
    assert shown.rule.startswith(
        "1 answered rightly and 2 wrongly, as in the whole recording: rearag has EM 33.3"
    )
    plain = examples(config, "another")
    assert [each["recorded"] for each in plain.questions] == [None]
    assert plain.rule == ""
    assert examples(load_config(DemoConfig, None, ["questions="]), made.model) == ([], "")
    note = recorded_note(Path(config.questions), made.model.split(" + "))
    assert note == f"recorded with this model, all 3 questions: {recorded_line(made)}"
    assert recorded_note(Path(config.questions), ["another"]) == ""


@pytest.mark.parametrize("method", ["rearag", "naive_rag"])
def test_the_examples_of_the_live_page_stand_for_the_recorded_em(method: str) -> None:
    """Of as many kinds as there are, the same ones each time, in the order of the file."""
    recording = read_recording(WORLD)
    assert recording is not None
    config = load_config(DemoConfig, ROOT / "configs/infer/small.yaml", [f"method={method}"])
    shown = examples(config, recording.model)
    assert shown == examples(config, recording.model)
    right = sum(each["recorded"]["right"] for each in shown.questions)
    assert len(shown.questions) == 5
    assert right == round(5 * recording.methods[method].em.mean)
    assert shown.rule.startswith(f"{right} answered rightly and {5 - right} wrongly")
    order = [list(recording.examples).index(each["question"]) for each in shown.questions]
    assert order == sorted(order)


@pytest.mark.parametrize("page", record_default.QUOTES, ids=str)
def test_the_pages_quote_the_recording_of_this_version(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert text.count("<!-- recorded:") == 1
    recording = read_recording(WORLD)
    assert text == (quoted(text, recording) if recording else text)
    assert ("not yet run" in text.lower()) == (recording is None)
