"""The knowledge boundary: figures by hand and as published, labels from a second run, degenerate runs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from helpers_scores import answered, write_run
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.errors import UserError
from src_core.types import Status, Trajectory
from src_eval import boundary
from src_eval.boundary import Boundary, boundary_cells, boundary_line, boundary_of
from src_eval.compare import Entry
from src_eval.expected import Expected, load_expected
from src_eval.scoring import Scored, score_run
from src_eval.stats import bootstrap_counts
from src_tasks.boundary import Cells, boundary_figures, count, degenerate

ROOT = Path(__file__).resolve().parent.parent


def test_figures_by_hand() -> None:
    cells = count([(False, True)] * 3 + [(False, False)] + [(True, True)] * 2 + [(True, False)] * 4)
    assert cells == Cells(right_direct=3, wrong_direct=1, needless_search=2, right_search=4)
    found = boundary_figures(cells)
    assert found.f1 == pytest.approx(2 * 3 / (2 * 3 + 1 + 2))
    assert found.accuracy == 0.7
    assert found.balanced_accuracy == pytest.approx((3 / 5 + 4 / 5) / 2)
    assert found.mcc == pytest.approx((3 * 4 - 1 * 2) / (4 * 5 * 6 * 5) ** 0.5)


PUBLISHED = {  # reference deeprag.md section 13.4; the cells are ours, of 1,000 questions with 282 known
    "FLARE": (Cells(0, 0, 282, 718), (0.0, 0.718, 0.5, 0.0)),
    "DRAGIN": (Cells(1, 10, 281, 708), (0.007, 0.709, 0.495, -0.045)),
    "UAR": (Cells(113, 75, 169, 643), (0.481, 0.756, 0.648, 0.341)),
    "TAARE": (Cells(21, 27, 261, 691), (0.127, 0.712, 0.518, 0.078)),
    "DeepRAG-Imi": (Cells(185, 171, 97, 547), (0.580, 0.732, 0.709, 0.393)),
    "DeepRAG": (Cells(206, 175, 76, 543), (0.621, 0.749, 0.743, 0.451)),
}


@pytest.mark.parametrize(("cells", "figures"), PUBLISHED.values(), ids=PUBLISHED)
def test_the_published_rows_are_figures_of_whole_counts(
    cells: Cells, figures: tuple[float, float, float, float]
) -> None:
    assert boundary_figures(cells) == pytest.approx(figures, abs=0.00051)


@pytest.mark.parametrize(
    ("cells", "why", "mcc"),
    [
        (Cells(0, 0, 3, 7), "it always searches", 0.0),
        (Cells(3, 7, 0, 0), "it never searches", 0.0),
        (Cells(0, 4, 0, 6), "no answer is known", 0.0),
        (Cells(4, 0, 6, 0), "every answer is known", 0.0),
        (Cells(5, 0, 0, 5), "", 1.0),
        (Cells(0, 5, 5, 0), "", -1.0),
    ],
)
def test_where_a_class_is_missing_mcc_is_0_and_marked(cells: Cells, why: str, mcc: float) -> None:
    assert boundary_figures(cells).mcc == mcc
    assert degenerate(cells).startswith(why)
    assert bool(degenerate(cells)) == bool(why)
    with pytest.raises(ValueError, match="at least one decision"):
        boundary_figures(Cells())


@settings(deadline=None)
@given(st.tuples(*[st.integers(0, 50)] * 4).filter(any))
def test_figures_stay_in_their_ranges_and_turn_with_the_decisions(cells: tuple[int, int, int, int]) -> None:
    found = boundary_figures(Cells(*cells))
    assert all(0 <= value <= 1 for value in found[:3])
    assert -1 <= found.mcc <= 1.0000001
    tp, fp, fn, tn = cells
    turned = boundary_figures(Cells(fn, tn, tp, fp))  # every decision the other way
    assert turned.mcc == pytest.approx(-found.mcc)
    assert turned.accuracy == pytest.approx(1 - found.accuracy)


def rows(searched: str, right: str = "") -> list[Trajectory]:
    """One question per letter: `s` searches once, `d` does not; `right` says r or w."""
    return [
        answered(
            f"Question {at}?",
            "gold" if not right or right[at] == "r" else "no",
            "gold",
            searches=[["p"]] if kind == "s" else [],
        )
        for at, kind in enumerate(searched)
    ]


def scored(folder: Path, name: str, made: list[Trajectory], method: str = "deeprag") -> Scored:
    return score_run(write_run(folder / name, made, method=method))


def test_the_labels_are_the_right_answers_of_the_run_that_never_searches(tmp_path: Path) -> None:
    run = scored(tmp_path, "run", rows("sdsd" * 6))
    never = scored(tmp_path, "never", rows("dddd" * 6, "rrww" * 6))
    line = boundary_line(run, never, dataset="set", name="run")
    assert line.counts == Cells(6, 6, 6, 6)
    assert (line.level, line.left_out, line.note) == ("question", 0, "")
    assert line.estimates["boundary_mcc"].mean == 0.0
    assert line.estimates["boundary_mcc"].low < 0 < line.estimates["boundary_mcc"].high
    perfect = scored(tmp_path, "perfect", rows("ddss" * 6))
    best = boundary_line(perfect, never, dataset="set", name="perfect")
    assert best.estimates["boundary_mcc"].mean == best.estimates["boundary_f1"].mean == 1.0


def test_failed_foreign_and_goldless_questions_are_left_out_and_counted(tmp_path: Path) -> None:
    never = rows("dddd", "rwrw")
    failed = replace(never[0], status=Status.MODEL_ERROR)
    own = [*rows("sdsd"), answered("Only here?", "x", "x"), answered("Gold?", "x")]
    line = boundary_line(
        scored(tmp_path, "run", own), scored(tmp_path, "never", [failed, *never[1:]]), dataset="s", name="r"
    )
    assert (line.counts.total, line.left_out) == (3, 3)
    assert "3 questions are left out" in "\n".join(
        boundary_cells(Boundary([line], []), never=["never"]).notes
    )


def test_a_label_run_that_searches_or_shares_nothing_is_refused(tmp_path: Path) -> None:
    run = scored(tmp_path, "run", rows("sd"))
    with pytest.raises(UserError, match="run searched for 1 of 2 questions"):
        boundary_line(run, run, dataset="s", name="r")
    other = scored(tmp_path, "other", [answered("Else?", "x", "x")])
    with pytest.raises(UserError, match="share no answered question"):
        boundary_line(run, other, dataset="s", name="r")


def test_the_labels_of_a_line_are_those_of_its_own_model(tmp_path: Path) -> None:
    made = {
        ("base", "cot"): rows("dddd", "rwww"),
        ("base", "prompted"): rows("dsss"),
        ("tuned", "never"): rows("dddd", "rrrw"),
        ("tuned", "trained"): rows("ddds"),
        ("other", "foreign"): rows("ssss"),
    }
    entries = [
        Entry("set", line, "deeprag", score_run(write_run(tmp_path / line, own, tags=model)))
        for (model, line), own in made.items()
    ]
    found = boundary_of(entries, never=["cot", "never"], expected=Expected())
    assert {line.name: line.counts for line in found.lines} == {
        "prompted": Cells(1, 0, 0, 3),
        "trained": Cells(3, 0, 0, 1),
    }
    assert found.unlabelled == ["set, foreign"]
    notes = boundary_cells(found, never=["cot", "never"]).notes
    assert sum(note.endswith("has their model: set, foreign.") for note in notes) == 1
    runs = {entry.line: entry.scored for entry in entries}
    with pytest.raises(UserError, match="answered by different models or adapters"):
        boundary_line(runs["trained"], runs["cot"], dataset="set", name="trained")


def test_intervals_keep_the_decisions_of_a_question_together() -> None:
    together = bootstrap_counts([(9, 0, 0, 0), (0, 0, 0, 1)] * 10, lambda s: {"share": s[0] / max(sum(s), 1)})
    apart = bootstrap_counts([(1, 0, 0, 0)] * 90 + [(0, 0, 0, 1)] * 10, lambda s: {"share": s[0] / sum(s)})
    assert together["share"].mean == apart["share"].mean == 0.9
    assert together["share"].high - together["share"].low > apart["share"].high - apart["share"].low
    with pytest.raises(ValueError, match="no question"):
        bootstrap_counts([], lambda s: {})


def test_the_table_marks_degenerate_runs_and_shows_what_was_published(tmp_path: Path) -> None:
    expected = load_expected(str(ROOT / "configs/expected.yaml"))
    data = "2wikimultihopqa"
    made = {"flare": rows("s" * 30), "deeprag": rows("ssddds" * 5), "cot": rows("d" * 30, "rw" * 15)}
    entries = [Entry(data, name, name, scored(tmp_path, name, own, name)) for name, own in made.items()]
    found = boundary_of(entries, never=["cot"], expected=expected)
    assert [(line.name, line.note) for line in found.lines] == [
        ("flare", "it always searches"),
        ("deeprag", ""),
    ]
    table = boundary_cells(found, never=["cot"])
    ours = table.rows[0].cells
    assert ours[:4] == [data, "flare", "question", "30"]
    assert ours[7] == "0.000 [0.000, 0.000] (d)"
    flare = next(row.cells for row in table.rows if row.cells[1].startswith("FLARE"))
    assert flare[3:8] == ["-", "0.000", "0.718", "0.500", "0.000"]
    assert any(row.cells[7] == "0.451" for row in table.rows if not row.ours)
    assert any("(d) degenerate, it always searches" in note for note in table.notes)
    assert boundary_of(entries, never=(), expected=Expected()).lines == []


def test_the_command_prints_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, made in (("run", rows("sd" * 15)), ("never", rows("d" * 30, "wr" * 15))):
        scored(tmp_path, name, made)
    monkeypatch.setattr("sys.argv", ["boundary", str(tmp_path / "run"), str(tmp_path / "never")])
    boundary.main()
    assert re.search(r"run\s+│\s+question\s+│\s+30\s+│\s+1\.000 \[1\.000, 1\.000\]", capsys.readouterr().out)
    monkeypatch.setattr("sys.argv", ["boundary", str(tmp_path / "run")])
    with pytest.raises(SystemExit, match="2"):
        boundary.main()
