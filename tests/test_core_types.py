"""Records survive JSON; answers are matched by the reference's rules; the renderer's keys are exact."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import PromptStyle
from src_core.types import (
    Finish,
    Passage,
    Question,
    Search,
    Status,
    Step,
    Trajectory,
    Usage,
    question_id,
    to_json,
    trajectory_from_json,
)
from src_tasks.metrics import exact_match, token_f1

TEXT = st.text(max_size=30)
WILD = st.text(alphabet=st.one_of(st.characters(), st.characters(categories=["Cs"])), max_size=30)
COUNT = st.integers(0, 2**40)
SECONDS = st.floats(0, 1e6, allow_nan=False)


def trajectories(text: st.SearchStrategy[str]) -> st.SearchStrategy[Trajectory]:
    """Trajectories whose every text field is drawn from `text`."""
    usage = st.builds(Usage, COUNT, COUNT, COUNT)
    named = st.dictionaries(text, st.floats(-10, 10), max_size=2)
    passage = st.builds(Passage, text, text, text, named)
    action = st.one_of(st.builds(Search, text), st.builds(Finish, text))
    texts = st.lists(text, max_size=3).map(tuple)
    step = st.builds(
        Step,
        st.integers(1, 99),
        text,
        action,
        st.none() | text,
        st.lists(passage, max_size=2).map(tuple),
        text,
        texts,
        st.integers(0, 9),
        st.booleans(),
        usage,
        SECONDS,
    )
    data = st.dictionaries(text, st.one_of(text, st.integers(-9, 9), st.lists(text, max_size=2)), max_size=3)
    question = st.builds(Question, text, text, texts, texts, texts, text, data)
    return st.builds(
        Trajectory,
        question,
        st.lists(step, max_size=3).map(tuple),
        text,
        st.sampled_from(Status),
        usage,
        SECONDS,
        st.none() | text,
        data,
    )


@given(trajectories(TEXT))
@settings(max_examples=60, deadline=None)
def test_a_trajectory_survives_json(trajectory: Trajectory) -> None:
    line = to_json(trajectory)
    assert b"\n" not in line
    assert trajectory_from_json(line) == trajectory


@given(trajectories(WILD))
@settings(max_examples=60, deadline=None)
def test_lone_surrogates_are_replaced_not_fatal(trajectory: Trajectory) -> None:
    line = to_json(trajectory)
    assert b"\n" not in line
    again = trajectory_from_json(line)
    assert to_json(again) == line
    assert again.answer == trajectory.answer.encode("utf-8", "replace").decode("utf-8")
    assert (again.status, again.usage, len(again.steps)) == (
        trajectory.status,
        trajectory.usage,
        len(trajectory.steps),
    )


@given(st.builds(Usage, COUNT, COUNT, COUNT), st.builds(Usage, COUNT, COUNT, COUNT))
def test_usage_adds_and_subtracts(a: Usage, b: Usage) -> None:
    assert a + b - b == a
    assert (a + b).total_tokens == a.total_tokens + b.total_tokens


def test_only_boundary_errors_are_tried_again() -> None:
    assert {status for status in Status if status.retryable} == {Status.MODEL_ERROR, Status.RETRIEVER_ERROR}


def test_the_question_id_depends_on_text_and_answers_only() -> None:
    assert question_id(" Who? ", ("b", "a")) == question_id("Who?", ("a", "b"))
    assert question_id("Who?", ("a",)) != question_id("Who?", ("a", "b"))
    assert len(question_id("\ud800", ())) == 16


def test_the_body_of_a_passage_is_without_its_title_line() -> None:
    assert Passage("1", "Emma", "Emma\nA novel.").text == "A novel."
    assert Passage("1", "Emma", '"Emma"\nA novel.').text == "A novel."
    assert Passage("1", "", "No title here.").text == "No title here."
    assert Passage("1", "Emma", "First line\nsecond").text == "First line\nsecond"


EXACT = [
    ("Vittorio Veneto", ["Ceneda", "Vittorio Veneto"], 1.0),
    ("the Beatles!", ["Beatles"], 1.0),
    ("a cat", ["An  CAT."], 1.0),
    ("U.S.", ["US"], 1.0),
    ("Paris", ["Lyon"], 0.0),
    ("yes", ["Yes."], 1.0),
    ("yes, it is", ["yes"], 0.0),
    ("I don't know", ["noanswer"], 1.0),
    ("The passages do not say.", ["unknown"], 1.0),
    ("Unknown", ["Cannot be determined"], 1.0),
    ("Unknown Pleasures", ["noanswer"], 0.0),
    ("", ["Paris"], 0.0),
]


@pytest.mark.parametrize(("prediction", "golds", "expected"), EXACT)
def test_exact_match(prediction: str, golds: list[str], expected: float) -> None:
    assert exact_match(prediction, golds) == expected


F1 = [
    ("Boito", ["Arrigo Boito"], 2 / 3),
    ("Arrigo Boito", ["Verdi", "Arrigo Boito"], 1.0),
    ("yes", ["no"], 0.0),
    ("yes it is", ["yes"], 0.0),
    ("unknown", ["no answer"], 1.0),
    ("unknown", ["Paris"], 0.0),
    ("Paris", ["noanswer"], 0.0),
    ("one two two", ["two two three"], 2 / 3),
    ("x", ["y"], 0.0),
    ("the", ["a"], 0.0),
    ("the", ["The"], 1.0),
]


@pytest.mark.parametrize(("prediction", "golds", "expected"), F1)
def test_token_f1(prediction: str, golds: list[str], expected: float) -> None:
    assert token_f1(prediction, golds) == pytest.approx(expected)


def test_a_metric_without_gold_answers_fails() -> None:
    for metric in (exact_match, token_f1):
        with pytest.raises(ValueError, match="gold"):
            metric("x", [])


@given(TEXT, TEXT)
def test_scores_stay_in_range_and_agree(a: str, b: str) -> None:
    assert 0.0 <= token_f1(a, [b]) <= 1.0
    assert token_f1(a, [b]) >= exact_match(a, [b])
    assert token_f1(a, [a]) == exact_match(a, [a]) == float(bool(a.strip()))


STEPS = (
    Step(1, "I need A.", Search("Who is A?"), "A is {B}."),
    Step(2, "Done.", Finish("B")),
)


def test_conversations_have_exactly_the_published_keys() -> None:
    turns = ReaRag(PromptStyle()).turns("Q{1}?", STEPS)
    assert [sorted(turn) for turn in turns] == [
        ["content", "role"],
        ["reasoning", "role"],
        ["content", "role"],
        ["reasoning", "role"],
    ]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "observation", "assistant"]
    assert turns[0]["content"] == "Question: Q{1}?\n\nReasoning process with function call:"
    assert turns[1]["reasoning"].startswith("Thought 1: I need A.\nAction 1: \n```\n{")
    assert turns[2]["content"] == "A is {B}."


@pytest.mark.parametrize("role", ["user", "observation"])
def test_observations_take_the_role_and_words_of_the_style(role: str) -> None:
    style = PromptStyle(
        system="S",
        observation_role=role,
        observation_template="Observation {n}: {observation}",
        legacy_actions=True,
    )
    messages = ReaRag(style).messages(ReaRag(style).turns("{observation} {n}", STEPS))
    assert [message["role"] for message in messages] == ["system", "user", "assistant", role, "assistant"]
    assert messages[0]["content"] == "S"
    assert messages[1]["content"].startswith("Question: {observation} {n}")
    assert messages[3]["content"] == "Observation 1: A is {B}."
    assert "{'function': 'finish'" in messages[4]["content"]


def test_published_conversations_turn_into_messages_unchanged() -> None:
    row: dict[str, Any] = json.loads(
        '{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "reasoning": "R"},'
        ' {"role": "observation", "content": "O"}]}'
    )
    assert ReaRag(PromptStyle()).messages(row["messages"]) == [
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "R"},
        {"role": "observation", "content": "O"},
    ]


OWN_SYSTEM = [
    {"role": "system", "content": "Of the file"},
    {"role": "user", "content": "Q"},
    {"role": "assistant", "reasoning": "R"},
]


@pytest.mark.parametrize("system", ["", "Of the style"])
def test_a_system_turn_of_a_conversation_stays_one_and_stands_for_that_of_the_style(system: str) -> None:
    assert ReaRag(PromptStyle(system=system)).messages(OWN_SYSTEM) == [
        {"role": "system", "content": "Of the file"},
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "R"},
    ]


@pytest.mark.parametrize("role", ["tool", "System", "", None])
def test_a_turn_of_an_unknown_role_is_an_error_that_names_it(role: str | None) -> None:
    with pytest.raises(ValueError, match=f"unknown role {role!r}"):
        ReaRag(PromptStyle()).messages([*OWN_SYSTEM, {"role": role, "content": "x"}])


def test_a_row_from_before_scores_had_names_is_read_without_its_score() -> None:
    old = {"id": "p1", "title": "Emma", "contents": "Emma\nA novel.", "score": 0.5}
    step = {"n": 1, "thought": "", "action": {"function": "search", "query": "who?"}, "passages": [old]}
    row = {
        "question": {"id": "q", "question": "who?"},
        "steps": [step],
        "answer": "",
        "status": "finished",
    }
    (passage,) = trajectory_from_json(json.dumps(row)).steps[0].passages
    assert passage == Passage("p1", "Emma", "Emma\nA novel.")
