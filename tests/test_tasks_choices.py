"""Multiple choice: what is asked, and which choice a reply names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.types import Question
from src_tasks.choices import asked_text, choice_accuracy, gold_choices, read_choice

TOWNS = ("Orrin", "Velby", "the Dunmark", "New Velby")


def test_a_question_is_asked_with_its_lettered_choices() -> None:
    assert asked_text(Question("i", "Which?", choices=TOWNS[:2])) == "Which?\nA. Orrin\nB. Velby"
    assert asked_text(Question("i", "Which?")) == "Which?"


@pytest.mark.parametrize(
    ("reply", "at"),
    [
        *((text, 1) for text in ("B", "b", " (B) ", "B.", "B)", "[B]", "**B**", '"B"', "B:")),
        *((text, 1) for text in ("B. Velby", "(B) Velby", "b) velby.", "B: Velby", "B - Velby", "[B] Velby")),
        *((text, 1) for text in ("Velby", "velby.", "The answer is B", "the correct answer is: (B)")),
        *((text, 1) for text in ("Answer: B", "answer:Velby", "So the answer is Velby.", "Option B")),
        ("B. Velby, since it has the bridges", 1),
        ("Dunmark", 2),
        ("New Velby", 3),
        ("A", 0),
        ("a", 0),
    ],
)
def test_a_reply_that_names_one_choice(reply: str, at: int) -> None:
    assert read_choice(reply, TOWNS) == at


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "  ",
        "E",
        "Paris",
        "A or B",
        "A, B",
        "B. Orrin",
        "(A) Velby",
        "Orrin and Velby",
        "I do not know",
        "AB",
    ],
)
def test_a_reply_that_names_none_or_several(reply: str) -> None:
    assert read_choice(reply, TOWNS) is None


def test_letters_that_are_choices_themselves() -> None:
    assert read_choice("B", ("B", "A", "C")) is None, "the text of the first, the letter of the second"
    assert read_choice("A", ("A", "B", "C")) == 0
    assert read_choice("(A) B", ("B", "A", "C")) == 0


def test_what_normal_forms_confuse_is_told_apart_by_its_text() -> None:
    assert read_choice("-1", ("1", "-1")) == 1
    assert read_choice("1", ("1", "-1")) == 0
    assert read_choice("1.", ("1", "-1")) is None
    assert read_choice("Paris", ("Paris", "paris", "Rome")) is None, "two choices of one text"


def test_an_initial_is_no_letter() -> None:
    writers = ("T. S. Eliot", "D.H. Lawrence", "A. Smith", "C. S. Lewis")
    assert read_choice("D. H. Lawrence", writers) is None
    assert read_choice("A. Smith", writers) == 2
    assert read_choice("A. T. S. Eliot", writers) == 0
    assert read_choice("B-cells", writers) is None
    assert read_choice("U.S. Army.", ("US Army", "Navy")) == 0
    assert read_choice("(B) because of its bridges", TOWNS) == 1
    assert read_choice("B. Orrin has the bridges", TOWNS) is None


def test_accuracy() -> None:
    golds = gold_choices(("Velby", "New Velby"), TOWNS)
    assert golds == {1, 3}
    assert [choice_accuracy(at, golds) for at in (0, 1, 3, None)] == [0.0, 1.0, 1.0, 0.0]
    with pytest.raises(ValueError, match="at least one right choice"):
        choice_accuracy(1, frozenset())


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=2, max_size=6), st.data()
)
def test_any_text_is_read_and_a_letter_never_names_another_choice(
    choices: list[str], data: st.DataObject
) -> None:
    assert read_choice(data.draw(st.text()), choices) in (None, *range(len(choices)))
    at = data.draw(st.integers(0, len(choices) - 1))
    assert read_choice(f"({'ABCDEF'[at]})", choices) in (None, at)
