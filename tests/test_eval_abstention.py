"""Answered and abstained: the counts of lines, and what a finished run would have given under other rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers_scores import answered, write_run

from src_core.errors import UserError
from src_core.types import Passage, Search, Status, Step, Trajectory
from src_eval import abstention
from src_eval.abstention import abstention_cells, read_drafts, rule_text, rules_cells, rules_for
from src_eval.compare import Entry
from src_eval.expected import Expected
from src_eval.report.page_data import page_data
from src_eval.report.run_files import read_scored_run
from src_eval.run import extras_of
from src_eval.scoring import score_run
from src_eval.text_tables import Cells
from src_tasks.abstention import KEEP, Abstain

FRAM = Passage("p", "Fram", "Fram\nFram was built at Larvik.")


def found(query: str, answer: str, gold: str, confidence: float | None = None) -> Trajectory:
    """A question that searched `query`, found the passage about Fram and drafted `answer`."""
    step = Step(1, "", Search(query), "seen", (FRAM,))
    noted = {} if confidence is None else {"confidence": confidence}
    return replace(answered(f"{query} {answer}", answer, gold), steps=(step,), provenance=noted)


ROWS = [
    found("Where was Fram built?", "Larvik", "Larvik", 0.9),
    found("In which town was Fram built?", "Larvik", "Larvik", 0.35),
    found("Who built Fram?", "Colin Archer", "Colin Archer", 0.6),  # right, and not in the passage
    found("Where was Gjøa built?", "Larvik", "Rosendal", 0.8),
    found("Who cooked aboard Fram?", "Adolf Lindstrøm", "noanswer", 0.2),
    found("Where did Gjøa sink?", "Larvik", "noanswer", 0.7),
    found("Who owns Fram?", "I do not know", "noanswer", 0.5),
]


def lines_of(cells: Cells) -> dict[str, list[str]]:
    return {row.cells[1]: row.cells[2:] for row in cells.rows}


def test_a_finished_run_says_what_every_rule_would_have_given(tmp_path: Path) -> None:
    cells = rules_cells({"r": read_drafts(write_run(tmp_path / "r", ROWS))})
    lines = lines_of(cells)
    assert lines["none"][:6] == ["7", "3", "3", "1", "0", "0"]
    assert lines["unsupported"][:6] == ["7", "2", "2", "2", "1", "1"]
    assert lines["unnamed"][:6] == ["7", "3", "1", "2", "1", "0"]
    assert lines["unsupported, unnamed"][:6] == ["7", "2", "0", "3", "2", "1"]
    assert lines["min_confidence=0.4"][:6] == ["7", "2", "2", "2", "1", "1"]
    assert lines["unsupported, unnamed"][-1].startswith("100.0")
    assert lines["untold"][:6] == ["7", "3", "3", "1", "0", "0"]
    assert len(lines) == 6 + 2 * 9
    assert not any("no confidence" in note for note in cells.notes)


def test_a_run_that_withheld_answers_is_scored_again_as_drafted(tmp_path: Path) -> None:
    withheld = [
        replace(
            row,
            answer="noanswer",
            provenance={**row.provenance, "abstained": {"reasons": ["unlikely"], "withheld": row.answer}},
        )
        for row in ROWS
    ]
    first = read_drafts(write_run(tmp_path / "r", ROWS))
    assert read_drafts(write_run(tmp_path / "w", withheld)) == first


def test_without_confidence_there_are_no_thresholds_and_the_notes_say_so(tmp_path: Path) -> None:
    rows = [replace(row, provenance={}) for row in ROWS[:2]]
    drafts = read_drafts(write_run(tmp_path / "r", [*rows, ROWS[3]]))
    assert "r: 2 of 3 answers have no confidence on record." in rules_cells({"r": drafts}).notes
    assert len(rules_for(drafts[:2])) == 6


def test_a_failed_question_counts_as_answered_wrongly_under_every_rule(tmp_path: Path) -> None:
    failed = replace(ROWS[4], status=Status.MODEL_ERROR, answer="")
    lines = lines_of(rules_cells({"r": read_drafts(write_run(tmp_path / "r", [ROWS[0], failed]))}))
    assert {tuple(line[1:5]) for name, line in lines.items()} == {("1", "1", "0", "0")}


def test_rules_are_named_by_their_settings() -> None:
    assert rule_text(KEEP) == "none"
    assert rule_text(Abstain(unnamed=True, min_confidence=0.3)) == "unnamed, min_confidence=0.3"


def test_the_command_prints_the_table_and_refuses_what_it_cannot_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "r", ROWS)
    monkeypatch.setattr("sys.argv", ["abstention", str(tmp_path / "r")])
    abstention.main()
    printed = capsys.readouterr().out
    assert "unsupported, unnamed" in printed
    assert "Choose a rule on training questions" in printed
    write_run(tmp_path / "none", [answered("Who?", "me")])
    for name, said in (("none", "no question with a gold answer"), ("absent", "manifest")):
        with pytest.raises(UserError, match=said):
            read_drafts(tmp_path / name)


def test_an_evaluation_counts_the_outcomes_of_each_line_and_writes_them_as_json(tmp_path: Path) -> None:
    rows = [replace(row, answer="noanswer") if row.question.answers == ("noanswer",) else row for row in ROWS]
    runs = {name: score_run(write_run(tmp_path / name, made)) for name, made in (("a", ROWS), ("b", rows))}
    cells = abstention_cells([Entry("set", name, "rearag", run) for name, run in runs.items()])
    assert cells is not None
    assert lines_of(cells)["a"][:5] == ["7", "3", "3", "1", "0"]
    assert lines_of(cells)["b"][:5] == ["7", "3", "1", "3", "0"]
    assert lines_of(cells)["b"][5:] == ["57.1 (too few)", "75.0 (too few)"]
    written = (tmp_path / "b/scores.json").read_text(encoding="utf-8")
    assert '"coverage"' in written
    assert '"em_answered"' in written


def test_the_report_of_a_run_shows_the_withheld_answer_and_the_counts(tmp_path: Path) -> None:
    noted = {"abstained": {"reasons": ["unsupported"], "withheld": "<b>Lindstrøm"}}
    score_run(write_run(tmp_path / "r", [*ROWS[:4], replace(ROWS[4], answer="noanswer", provenance=noted)]))
    page = page_data([read_scored_run(tmp_path / "r")])
    assert [each["rows"][0]["withheld"] for each in page["questions"]] == [
        *[""] * 4,
        "<b>Lindstrøm (unsupported)",
    ]
    facts = dict(page["runs"][0]["facts"])
    assert facts["Answers"] == (
        "3 answered rightly, 1 answered wrongly, 1 abstained rightly, 0 abstained wrongly"
    )


def test_without_an_unanswerable_question_or_an_abstention_there_is_no_column(tmp_path: Path) -> None:
    entry = Entry("set", "a", "rearag", score_run(write_run(tmp_path / "a", ROWS[:4])))
    assert abstention_cells([entry]) is None
    assert "abstention" not in extras_of([entry], never=(), expected=Expected()).tables
    assert "coverage" not in (tmp_path / "a/scores.json").read_text(encoding="utf-8")
    other = Entry("set", "b", "rearag", score_run(write_run(tmp_path / "b", ROWS)))
    assert "abstention" in extras_of([entry, other], never=(), expected=Expected()).tables
