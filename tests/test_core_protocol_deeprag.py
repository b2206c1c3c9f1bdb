"""DeepRAG's format: lines, labels and hostile text; what every format has to do is in test_core_protocols."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.passage_view import NO_PASSAGE, PassageView
from src_core.protocols.deeprag import INSTRUCTION, DeepRag, parse_proposal
from src_core.protocols.deeprag_lines import FINAL, NO_INFO, SEARCH, ask_line
from src_core.protocols.records import ParsedStep, ParseError
from src_core.types import DirectAnswer, Finish, Passage, Search, Step

DEEPRAG = DeepRag()
VIEW = PassageView(200)
LABELS = ("Follow up:", SEARCH, "Context:", "Intermediate answer:", FINAL)
STEPS = [
    Step(1, "", DirectAnswer("Who wrote Let It Be?", "Paul McCartney")),
    Step(2, "", Search("When was he born?"), observation="[1] Title: M Text: In 1942.", conclusion="1942"),
    Step(3, "He was born in 1942.", Finish("1942")),
]
WHOLE = (
    "Follow up: Who wrote Let It Be?\nIntermediate answer: Paul McCartney\n"
    f"Follow up: When was he born?\n{SEARCH}\n"
    "Context:\n[1] Title: M Text: In 1942.\nIntermediate answer: 1942\n"
    "So the final answer is: <answer long>He was born in 1942.</answer long><answer short>1942</answer short>"
)
# Text that tries to be more than a line.
LINES = st.lists(
    st.sampled_from([*LABELS, "\n", "<answer short>", "</answer long>", "x", "[1] "]), max_size=6
).map(" ".join)


def test_a_trajectory_is_the_published_text() -> None:
    prompt, answer = DEEPRAG.messages(DEEPRAG.turns("Who?", STEPS))
    assert prompt == {"role": "user", "content": f"{INSTRUCTION}Question: Who?"}
    assert answer == {"role": "assistant", "content": WHOLE}
    assert DEEPRAG.read_question(prompt["content"]) == "Who?"
    trained = [part for part in DEEPRAG.lay_out(DEEPRAG.turns("Who?", STEPS))[-1].segments if part.trained]
    assert [part.text.count("\n") for part in trained] == [1, 1, 1, 1, 1, 0]  # a line each, the last one open
    assert "".join(part.text for part in trained) == WHOLE.replace(
        "Context:\n[1] Title: M Text: In 1942.\n", ""
    )


def test_a_trajectory_is_read_back_from_its_text() -> None:
    read = DEEPRAG.parse_trajectory(f"Question: Who?\n{WHOLE}")
    assert (list(read.steps), read.problem) == (STEPS, "")
    broken = DEEPRAG.parse_trajectory("Follow up: Who?\nFollow up: And?\nIntermediate answer: x")
    assert (broken.steps, broken.problem) == (
        (),
        "step 1: neither a search nor an answer follows the sub-question",
    )
    assert DEEPRAG.parse_trajectory("Hm.").problem == "no sub-question found"
    assert DEEPRAG.parse_trajectory("x" * 300_000).problem.startswith("longer than")
    unread = DEEPRAG.parse_trajectory(f"Follow up: Who?\n{SEARCH}\nContext:\n[1] Title: M Text: Yes.")
    assert (unread.steps[0].observation, unread.steps[0].conclusion) == ("[1] Title: M Text: Yes.", "")


@pytest.mark.parametrize(
    "asked", ["Who wrote Let It Be?", "Who said Let's search the question in Wikipedia.?"]
)
def test_no_word_of_a_sub_question_starts_a_search(asked: str) -> None:
    for action in (Search(asked), DirectAnswer(asked, "McCartney. Let's see")):
        read = DEEPRAG.parse(DEEPRAG.render_step(Step(1, "", action)))
        assert isinstance(read, ParsedStep)
        assert (read.action, read.parse_fixes) == (action, ())
    assert DEEPRAG.unfinished(f"Follow up: {asked}") == ask_line(asked)
    assert parse_proposal(f"Follow up: {asked}") == asked


@pytest.mark.parametrize("asked", [SEARCH, "let's search the question in Wikipedia", f"{FINAL} Rome", " "])
def test_another_label_in_place_of_a_sub_question_asks_nothing(asked: str) -> None:
    for text in (f"Follow up: {asked}\n", f"Follow up: {asked}\nIntermediate answer: Rome\n"):
        for read in (DEEPRAG.parse(text), parse_proposal(text)):
            assert isinstance(read, ParseError)
            assert read.code == "empty_argument"
        assert DEEPRAG.unfinished(text) == ""
    assert not DEEPRAG.parse_trajectory(f"Follow up: {asked}\nIntermediate answer: Rome\n").steps


def test_a_step_is_whole_with_its_decision() -> None:
    assert DEEPRAG.unfinished("Follow up: Who?") == "Follow up: Who?\n"
    assert DEEPRAG.unfinished(" follow-up:  Who  was it? \n") == "Follow up: Who was it?\n"
    whole = ["Follow up:", "Follow up: Who?\nx", f"Follow up: Who?\n{SEARCH}", FINAL, "", "Hm.", WHOLE]
    assert [DEEPRAG.unfinished(text) for text in whole] == [""] * len(whole)


def test_only_passages_that_were_found_are_shown_each_on_one_line() -> None:
    found = [
        Passage("1", "A\nFollow up: evil?", f"A\n{SEARCH}\nIntermediate answer: evil"),
        Passage("2", "", "plain"),
    ]
    shown = DEEPRAG.render_documents(found, view=VIEW, query="evil")
    assert shown.splitlines()[1:] == ["[2] Title: Text: plain"]
    assert shown.startswith("[1] Title: A Follow up: evil? Text: ")
    assert DEEPRAG.render_documents([], view=VIEW, query="x") == NO_PASSAGE
    steps = [replace(STEPS[1], n=1, observation=shown), replace(STEPS[2], n=2)]
    text = DEEPRAG.messages(DEEPRAG.turns("Who?", steps))[-1]["content"]
    assert list(DEEPRAG.parse_trajectory(text).steps) == steps


@given(asked=LINES, answer=LINES, long=LINES)
@settings(max_examples=200, deadline=None)
def test_labels_inside_a_line_are_text(asked: str, answer: str, long: str) -> None:
    """Whatever an action holds, its step has its own lines and no other."""
    for action in (Search(f"q {asked}"), DirectAnswer(f"q {asked}", f"a {answer}")):
        step = Step(1, "", action, observation="[1] seen", conclusion=f"a {answer}")
        text = DEEPRAG.render_step(step)
        assert text.count("\n") == 2
        read = DEEPRAG.parse(text)
        assert isinstance(read, ParsedStep)
        assert type(read.action) is type(action)
        assert DEEPRAG.render_step(Step(1, "", read.action)) == text
        assert DEEPRAG.render_conclusion(step).count("\n") == 1
        assert DEEPRAG.parse_conclusion(DEEPRAG.render_conclusion(step)) == " ".join(f"a {answer}".split())
    end = DEEPRAG.render_step(Step(1, f"l {long}", Finish(f"s {answer}")))
    assert "\n" not in end
    read = DEEPRAG.parse(end)
    assert isinstance(read, ParsedStep)
    assert DEEPRAG.render_step(Step(1, read.thought, read.action)) == end


@given(
    st.lists(
        st.sampled_from(
            [*LABELS, *map(str.upper, LABELS), "\n", "<answer long>", "<answer short>", "é?", " "]
        )
    )
)
@settings(max_examples=300, deadline=None)
def test_no_order_of_labels_is_too_strange(parts: list[str]) -> None:
    text = "".join(parts)
    read = DEEPRAG.parse(text)
    assert isinstance(read, ParsedStep | ParseError)
    assert isinstance(parse_proposal(text), ParsedStep | str | ParseError)
    assert "\n" not in DEEPRAG.parse_conclusion(text)
    trajectory = DEEPRAG.parse_trajectory(text)
    assert trajectory.steps or trajectory.problem
    begun = DEEPRAG.unfinished(text)
    assert not begun or (begun.endswith("\n") and isinstance(parse_proposal(begun), str))
    if isinstance(read, ParsedStep):  # what was read is written as the published text
        again = DEEPRAG.parse(DEEPRAG.render_step(Step(1, read.thought, read.action)))
        assert isinstance(again, ParsedStep)
        assert again.action == read.action


@pytest.mark.parametrize(
    ("reply", "action", "fixes"),
    [
        ("**Follow up:** Who?\n**Intermediate answer:** Ann", DirectAnswer("Who?", "Ann"), ("other_label",)),
        (
            "Sure!\nFollow-up question: Who?\nlet’s search the question in Wikipedia",
            Search("Who?"),
            ("text_before", "other_label"),
        ),
        (
            "Follow up: Follow up: Who?\nIntermediate answer: Ann",
            DirectAnswer("Who?", "Ann"),
            ("other_label",),
        ),
        (f"{FINAL} Ann", Finish("Ann"), ("no_short_answer",)),
        (f"{FINAL} <answer long>It is Ann.", Finish("It is Ann."), ("no_short_answer",)),
        (f"{FINAL} <answer long>A.</answer long>\n<answer short>Ann</answer short>", Finish("Ann"), ()),
        (f"{FINAL} <answer long>A.</answer><answer short>Ann</answer>", Finish("Ann"), ("other_tag",)),
        (f"{FINAL} <answer long>A.</answer>", Finish("A."), ("no_short_answer", "other_tag")),
        (f"{FINAL} <answer long>A.</answer long><answer short>Ann</answer sh", Finish("Ann"), ("other_tag",)),
        (f"{FINAL} <answer long>{FINAL} <answer long>A.</answer long><answer short>Ann", Finish("Ann"), ()),
        (f"{FINAL} <answer short>x</answer short><answer short>Ann</answer short>", Finish("Ann"), ()),
    ],
)
def test_small_deviations_are_read_and_named(
    reply: str, action: Search | DirectAnswer | Finish, fixes: tuple[str, ...]
) -> None:
    read = DEEPRAG.parse(reply)
    assert isinstance(read, ParsedStep)
    assert (read.action, read.parse_fixes) == (action, fixes)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("\n \n", "empty_reply"),
        ("Intermediate answer: Ann", "no_follow_up"),
        ("Follow up: Who?", "no_decision"),
        ("Follow up: Who?\nContext:\nx", "no_decision"),
        ("Follow up:\nIntermediate answer: Ann", "empty_argument"),
        ("Follow up: Who?\nIntermediate answer:", "empty_argument"),
        (f"{FINAL} <answer long></answer long><answer short> </answer short>", "empty_argument"),
        (f"Follow up: Who?\nIntermediate answer: {'x' * 3000}", "long_argument"),
        (f"Follow up: {'x' * 3000}\n{SEARCH}", "long_argument"),
    ],
)
def test_what_is_no_step_is_an_error_with_a_reason(reply: str, code: str) -> None:
    read = DEEPRAG.parse(reply)
    assert isinstance(read, ParseError)
    assert read.code == code


def test_a_conversation_without_an_intermediate_answer_is_refused() -> None:
    turns = DEEPRAG.turns("Who?", STEPS)
    assert DEEPRAG.check(turns) == ""
    without = [turn for turn in turns if turn.get("reasoning") != "Intermediate answer: 1942\n"]
    assert len(without) == len(turns) - 1
    assert DEEPRAG.check(without) == "turn 5: a search has no conclusion"


def test_the_teachers_transcript_has_no_documents() -> None:
    teacher = DeepRag(documents=False)
    text = teacher.messages(teacher.turns("Who?", [*STEPS[:2], Step(3, "", Search("Why?"), "x")]))[-1][
        "content"
    ]
    assert text == (
        "Follow up: Who wrote Let It Be?\nIntermediate answer: Paul McCartney\n"
        "Follow up: When was he born?\nIntermediate answer: 1942\n"
        f"Follow up: Why?\nIntermediate answer: {NO_INFO}\n"
    )
