"""The tables of multiple choice: by category in both groupings, and by subject."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml

from src_core.errors import UserError
from src_eval.mmlu import main
from src_tasks.mmlu import SUBJECTS

LINES = {"no_search": "A", "none": "B"}
"""What each line answers to everything."""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Finished runs of 30 questions, the right choice of which is B in anatomy and virology, else A."""
    subjects = [*(["anatomy"] * 10), *(["high_school_physics"] * 10), *(["virology"] * 6), *(["rivers"] * 4)]
    for line, letter in LINES.items():
        folder = tmp_path / f"runs/eval-radio-mmlu-mmlu-{line}"
        folder.mkdir(parents=True)
        rows = [row(at, subject, letter) for at, subject in enumerate(subjects)]
        (folder / "trajectories.jsonl").write_text("".join(map(line_of, rows)), encoding="utf-8")
        manifest = {"config": {"method": "multiple_choice"}, "models": ["m"]}
        (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    asked = [json.dumps(each["question"]) + "\n" for each in rows]
    (tmp_path / "questions.jsonl").write_text("".join(asked), encoding="utf-8")
    methods = [{"method": "multiple_choice", "label": line} for line in LINES]
    values = {"name": "radio-mmlu", "methods": methods, "runs_dir": str(tmp_path / "runs")}
    values |= {
        "datasets": [{"name": "mmlu", "path": str(tmp_path / "questions.jsonl")}],
        "baseline": "no_search",
    }
    path = tmp_path / "readers.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def row(at: int, subject: str, letter: str) -> dict[str, object]:
    right = "second" if subject in ("anatomy", "virology") else "first"
    question = {
        "id": str(at),
        "question": f"What is {at}?",
        "answers": [right],
        "choices": ["first", "second"],
    }
    return {"question": {**question, "group": subject}, "steps": [], "answer": letter, "status": "finished"}


def line_of(found: dict[str, object]) -> str:
    return json.dumps(found) + "\n"


def shown(path: Path) -> dict[str, list[str]]:
    """The table's lines by data set."""
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines()[2:]:
        cells = [cell.strip().replace("\\", "") for cell in line.strip("|").split(" | ")]
        if line.startswith("|"):
            found.setdefault(cells[0], []).append(" ".join(cells[1:4]))
    return found


def test_the_categories_of_both_groupings(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with patch.object(sys, "argv", ["mmlu", str(config)]):
        main()
    table = shown(config.with_name("table.md"))
    assert list(table) == ["all subjects", "STEM", "Other", "STEM (RADIO)", "Other (RADIO)"]
    assert table["all subjects"][0].startswith("no_search 30 46.7 [")
    assert table["STEM"][0].startswith("no_search 10 100.0 (too few)")
    assert table["STEM (RADIO)"][0].startswith("no_search 20 50.0 [")
    assert table["Other"][1].startswith("none 16 100.0")
    assert table["Other (RADIO)"][1].startswith("none 6 100.0")
    out = capsys.readouterr().out
    assert "choice acc." in out
    assert "rivers is no subject of MMLU: only in the line all subjects" in out


def test_the_questions_are_found_beside_the_configuration(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace(f"path: {config.parent}/", "path: "), encoding="utf-8")
    assert "path: questions.jsonl" in config.read_text(encoding="utf-8")
    with patch.object(sys, "argv", ["mmlu", str(config)]):
        main()
    assert "no_search" in capsys.readouterr().out


def test_the_table_of_subjects_has_every_one_that_was_asked(config: Path) -> None:
    with patch.object(sys, "argv", ["mmlu", str(config)]):
        main()
    table = shown(config.with_name("subjects-table.md"))
    assert list(table) == ["anatomy", "high school physics", "virology", "rivers"]
    assert set(table) - {"rivers"} <= SUBJECTS.keys()
    assert table["virology"] == ["no_search 6 0.0 (too few)", "none 6 100.0 (too few)"]


def test_an_unfinished_baseline_is_refused(config: Path) -> None:
    (config.parent / "runs/eval-radio-mmlu-mmlu-no_search/manifest.json").unlink()
    with (
        patch.object(sys, "argv", ["mmlu", str(config)]),
        pytest.raises(UserError, match="no finished run of no_search"),
    ):
        main()
