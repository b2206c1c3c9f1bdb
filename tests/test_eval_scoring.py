"""From a run directory to its scores: what each kind of row becomes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest
from helpers_runs import finished
from helpers_scores import answered, write_run

from src_core.errors import UserError
from src_core.types import Status, Trajectory, trajectory_from_json
from src_eval.records import SCORE_ROWS, SCORE_TOTALS
from src_eval.score import main
from src_eval.scoring import dataset_name, score_run
from src_tasks.scores import totals

ROWS = [
    answered("Who?", "Emma", "Emma", "Jane", searches=[["g", "x"]], supporting=["g"], type="bridge", hops=2),
    answered(
        "Where?", "a town", "big town", searches=[["x"], ["y"]], supporting=["g", "h"], type="bridge", hops=3
    ),
    answered("Failed?", "", "yes", supporting=["g"], status=Status.MODEL_ERROR, type="comparison"),
    answered("Is it?", "yes", "yes", searches=[["x"]], rejected=3, type="comparison", dataset="other"),
]


def test_what_a_run_leaves(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r", ROWS)
    run, rows = score_run(folder)
    assert (run.run, run.method, run.model, run.dataset, run.questions) == ("r", "rearag", "fake", "set", 4)
    assert run.outcomes == {"finished": 3, "model_error": 1}
    assert run.invalid_rate == 3 / (3 + 7)
    assert run.metrics["em"].mean == 0.5
    assert run.metrics["f1"].mean == pytest.approx((1 + 2 / 3 + 0 + 1) / 4)
    assert run.metrics["recall"].n == 3
    assert run.metrics["chain_length"].mean == 2
    assert {name: group["em"].n for name, group in run.by["hops"].items()} == {"2": 1, "3": 1}
    assert {name: group["em"].mean for name, group in run.by["source"].items()} == {"other": 1, "set": 1 / 3}
    assert run.by["group"]["comparison"]["em"].mean == 0.5
    first = rows[0].metrics
    assert (first["recall"], first["recall@5"], first["ndcg@5"], first["all_found"]) == (1, 1, 1, 1)
    assert (first["searches"], first["steps"], first["calls"], first["prompt_tokens"]) == (1, 2, 2, 100)
    assert (first["completion_tokens"], first["seconds"], first["replies"]) == (10, 1.5, 2)
    on_disk = [orjson.loads(line) for line in (folder / SCORE_ROWS).read_bytes().splitlines()]
    assert [row["id"] for row in on_disk] == [row.question.id for row in ROWS]
    assert on_disk[0]["metrics"] == first
    assert json.loads((folder / SCORE_TOTALS).read_bytes())["metrics"]["em"]["mean"] == 0.5


def test_a_failed_row_scores_zero_and_is_not_left_out(tmp_path: Path) -> None:
    _, rows = score_run(write_run(tmp_path / "r", ROWS))
    failed = rows[2].metrics
    assert {name: failed[name] for name in ("em", "f1", "cover_em", "rouge_l", "recall")} == dict.fromkeys(
        ("em", "f1", "cover_em", "rouge_l", "recall"), 0.0
    )
    assert "chain_length" not in failed


def test_no_answer_scores_zero_even_where_the_gold_is_nothing_but_an_article(tmp_path: Path) -> None:
    rows = [answered("Which band?", "", "The The"), answered("Which one?", "The The", "The The")]
    assert [row.metrics["em"] for row in score_run(write_run(tmp_path / "r", rows)).rows] == [0, 1]


DISPUTED = [
    answered("Which band?", "", "The The"),
    answered("Which letter?", "The", "A"),
    answered("Which other?", "I do not know", "noanswer", "unknown"),
    answered("Is it?", "yes it is", "yes"),
    answered("How many?", "x", searches=[["x"]]),
    answered("Who failed?", "Emma", "Emma", status=Status.MODEL_ERROR, supporting=["g"]),
]


@pytest.mark.parametrize("rows", [ROWS, [*ROWS, *DISPUTED]])
def test_figures_agree_with_those_of_the_run_itself(rows: list[Trajectory], tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r", rows)
    told = totals([trajectory_from_json(line) for line in (folder / "trajectories.jsonl").open("rb")])
    ours = score_run(folder).run
    assert ours.invalid_rate == told["parse_failure_share"]
    for name in ("em", "f1", "searches", "searches_right", "searches_wrong", "tokens", "seconds"):
        assert ours.metrics[name].mean == pytest.approx(told["all"][name], abs=1e-4)
    assert ours.metrics["recall"].mean == pytest.approx(told["all"]["gold_recall"], abs=1e-4)
    assert (ours.questions, ours.without_gold) == (told["all"]["questions"], told["all"]["without_gold"])
    shares = {name: group["em"].mean for name, group in ours.by["group"].items()}
    assert shares == {name: told["by_group"][name]["em"] for name in shares}


def test_a_method_that_never_searches_has_no_recall(tmp_path: Path) -> None:
    rows = [answered("Who?", "Emma", "Emma", supporting=["g"])]
    metrics = score_run(write_run(tmp_path / "r", rows, method="closed_book")).run.metrics
    assert not [name for name in metrics if "recall" in name or "ndcg" in name or name == "all_found"]
    assert metrics["searches"].mean == 0


def test_without_any_golds_only_the_other_figures_are_there(tmp_path: Path) -> None:
    metrics = score_run(
        write_run(tmp_path / "r", [answered("Who?", "Emma"), answered("Where?", "x")])
    ).run.metrics
    assert "em" not in metrics
    assert metrics["seconds"].mean == 1.5


def test_rows_without_golds_are_counted_and_not_scored(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r", [answered("Who?", "Emma", "Emma"), answered("Where?", "x")])
    run, rows = score_run(folder)
    assert (run.questions, run.without_gold, run.metrics["em"].n, run.metrics["em"].mean) == (2, 1, 1, 1.0)
    assert "em" not in rows[1].metrics
    done = finished("src_eval.score", str(folder))
    assert "1 of 2 questions of r have no gold answer and are in no answer metric" in done.stdout


@pytest.mark.parametrize("line", [b'{"a": 1}', b'{"question": 1, "steps": [], "answer": "", "status": "x"}'])
def test_a_row_that_is_no_trajectory_is_named(line: bytes, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r", ROWS)
    with (folder / "trajectories.jsonl").open("ab") as rows:
        rows.write(line + b"\n")
    with pytest.raises(UserError, match=r"trajectories.jsonl, row 5"):
        score_run(folder)


def test_a_run_that_has_not_ended_or_has_no_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no manifest.json"):
        score_run(tmp_path)
    with pytest.raises(UserError, match="no rows"):
        score_run(write_run(tmp_path / "r", []))


def test_verdicts_count_only_for_the_prediction_that_was_judged(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r", ROWS)
    ids = [row.question.id for row in ROWS]
    verdicts = [
        {"id": ids[0], "prediction": "Emma", "score": 1.0},
        {"id": ids[1], "prediction": "another", "score": 1.0},
        {"id": ids[3], "prediction": "yes", "score": None},
    ]
    (folder / "verdicts.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in verdicts), encoding="utf-8"
    )
    rows = score_run(folder).rows
    assert ["acc_l" in row.metrics for row in rows] == [True, False, False, False]


def test_hops_are_read_from_musique_ids(tmp_path: Path) -> None:
    rows = [answered("Who?", "x", "x", source_id="3hop1__1_2_3"), answered("How?", "x", "x", source_id="5a8")]
    assert [row.hops for row in score_run(write_run(tmp_path / "r", rows)).rows] == [3, None]


@pytest.mark.parametrize(
    ("questions", "name"),
    [
        ("../d/hotpotqa.dev.jsonl", "hotpotqa"),
        ("data/sample_world/questions.jsonl", "sample_world"),
        ("questions.jsonl", "questions"),
        ("", "questions"),
    ],
)
def test_the_data_set_is_named_by_its_file(questions: str, name: str) -> None:
    assert dataset_name({"config": {"questions": questions}}) == name


def test_the_command_scores_and_prints_runs_side_by_side(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name, ROWS) for name in ("first", "second")]
    done = finished("src_eval.score", *map(str, folders))
    assert done.returncode == 0, done.stderr
    assert "first" in done.stdout
    assert "50.0 (too few)" in done.stdout
    assert (folders[1] / SCORE_TOTALS).is_file()
    assert finished("src_eval.score").returncode == 2


def test_failed_questions_are_counted_and_told_beside_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [answered(f"{n}?", "x", "x") for n in range(3)]
    rows += [answered(f"{n}?", "", "x", status=Status.MODEL_ERROR) for n in range(3, 6)]
    rows.append(answered("7?", "", "x", status=Status.REFUSED))
    folder = write_run(tmp_path / "r", rows)
    told = score_run(folder).run.failures
    assert told.startswith("4 of 7 questions failed and count as wrong: 1 refused (not attempted")
    assert "3 model error (the LLM server failed; a run of the same name tries these questions again)" in told
    monkeypatch.setattr("sys.argv", ["score", str(folder)])
    main()
    assert "r: 4 of 7 questions failed and count as wrong" in capsys.readouterr().out
    assert score_run(write_run(tmp_path / "fine", rows[:3])).run.failures == ""
