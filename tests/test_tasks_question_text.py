"""When two texts ask the same question."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_tasks.question_text import question_key, words_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Who wrote the opera?", "who wrote opera"),
        ("Ana's mill-pond", "ana mill pond"),
        ("A  'B'-c?", "a b C"),
        ("Caf\u00e9?", "Cafe\u0301"),
        ("and/or", "and or"),
        ("Straße", "STRASSE"),
    ],
)
def test_two_spellings_of_one_question(one: str, other: str) -> None:
    assert question_key(one) == question_key(other)


def test_another_word_is_another_question() -> None:
    assert question_key("Where was X born?") != question_key("Where was Y born?")
    assert question_key("O'Neill") == "oneill"
    assert words_of("The The") == ["the", "the"], "articles stay where nothing else is there"


@given(st.text())
def test_a_key_is_its_own_key(text: str) -> None:
    assert question_key(question_key(text)) == question_key(text) or not text.isascii()
