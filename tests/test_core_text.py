"""Prompts and their slots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.text import PromptError, fill, fill_some, nearest, slots_in


def test_braces_that_are_text_stay() -> None:
    prompt = 'Write {"answer": "…", "list": [{}]} or \\boxed{Norway} or {{name}}: {question}'
    assert (
        fill(prompt, question="{x}")
        == 'Write {"answer": "…", "list": [{}]} or \\boxed{Norway} or {name}: {x}'
    )
    assert slots_in(prompt) == ["question"]
    assert fill("\\boxed{answer}", answer="Oslo") == "\\boxedOslo"


@pytest.mark.parametrize(
    ("prompt", "values", "words"),
    [
        ("Answer: {q}", {"question": "x"}, ["given for {q}; question=… is given"]),
        ("Answer: {q} {q}", {}, ["no value is given for {q}; give"]),
        ("Answer", {"a": "", "b": ""}, ["a=…, b=… are given, but no slot"]),
        ("Answer {{a}}", {"a": ""}, ["a=… is given, but no slot"]),
    ],
)
def test_a_slot_and_a_value_that_do_not_match_are_named(
    prompt: str, values: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(PromptError) as raised:
        fill(prompt, **values)
    assert all(word in str(raised.value) for word in words)


def test_offered_values_may_be_left_out_but_a_slot_needs_one() -> None:
    assert fill_some("{a}", a="x", b="y") == "x"
    with pytest.raises(PromptError, match="no value is given for"):
        fill_some("{a} {c}", a="x", b="y")


@given(st.text(), st.text())
def test_what_is_in_a_value_is_never_a_slot(first: str, second: str) -> None:
    assert fill("{a}|{b}", a=first + "{b}{c}", b=second) == f"{first}{{b}}{{c}}|{second}"


def test_the_nearest_name_is_as_near_as_is_asked_for() -> None:
    known = ("qwen3:8b", "llama3.1")
    assert nearest("qwen3", known, cutoff=0.6) == "qwen3:8b"
    assert nearest("qwen3", known, cutoff=0.8) == ""
    assert nearest("x", (), cutoff=0.1) == ""
