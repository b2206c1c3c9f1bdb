"""MMLU's subjects, their categories in two groupings, and its files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from src_core.types import Question
from src_tasks.choices import asked_text, letters_of, plain_text
from src_tasks.mmlu import SUBJECTS, Category, Grouping, category_of, subject_name
from src_tasks.readers.sources import read_questions

PUBLISHED = Path(__file__).resolve().parents[2] / "shared/data/mmlu/val"


def counts(grouping: Grouping) -> list[int]:
    found = Counter(category_of(subject, grouping) for subject in SUBJECTS)
    return [found[category] for category in Category]


def test_both_groupings_have_the_published_sizes() -> None:
    assert len(SUBJECTS) == 57
    assert counts(Grouping.USUAL) == [18, 13, 12, 14]
    assert counts(Grouping.RADIO) == [19, 13, 12, 13]


def test_radio_counts_anatomy_as_stem() -> None:
    moved = {s for s in SUBJECTS if category_of(s) is not category_of(s, Grouping.RADIO)}
    assert moved == {"anatomy"}


@pytest.mark.parametrize(
    "written", ["high_school_us_history", "High School US History", "high school us history"]
)
def test_a_subject_in_any_spelling(written: str) -> None:
    assert subject_name(written) == "high school us history"
    assert category_of(written) is Category.HUMANITIES
    assert category_of("river ecology") is None


def test_the_published_tables_and_flashrags_rows_are_the_same_questions(tmp_path: Path) -> None:
    tables = tmp_path / "val"
    tables.mkdir()
    (tables / "world_religions_val.csv").write_text(
        '"Which, if any, is a river?",Aare,Bern,"Thun, the town",Olten,A\n', encoding="utf-8"
    )
    row = {
        "id": "val_0",
        "question": "Which, if any, is a river?",
        "golden_answers": [0],
        "choices": ["Aare", "Bern", "Thun, the town", "Olten"],
        "metadata": {"subject": "world_religions"},
    }
    (tmp_path / "flashrag.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    published = read_questions(tables)[0]
    flashrag = read_questions(tmp_path / "flashrag.jsonl")[0]
    assert published.answers == flashrag.answers == ("Aare",)
    assert published.id == flashrag.id
    assert subject_name(published.group) == subject_name(flashrag.group) == "world religions"


def test_a_question_and_its_choices_come_apart_again() -> None:
    choices = ("Aare", "B. Bern")
    asked = asked_text(Question("i", "Which?\nA. river", choices=choices))
    assert plain_text(asked, choices) == "Which?\nA. river"
    assert plain_text("Which?", ()) == "Which?"
    assert letters_of(choices) == "AB"


@pytest.mark.published
def test_every_published_subject_is_known() -> None:
    questions = read_questions(PUBLISHED)
    assert len(questions) > 1_500
    assert {subject_name(question.group) for question in questions} == SUBJECTS.keys()
    assert all(question.answers and len(question.choices) == 4 for question in questions)
