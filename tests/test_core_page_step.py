"""A step as the pages hold it: nothing is lost, nothing empty is kept, and it is JSON."""

from __future__ import annotations

import math

from src_core.html_page import PARTS, fill_page
from src_core.page_step import page_number, page_scores, page_step
from src_core.types import DirectAnswer, Finish, Passage, Search, Step, Usage


def test_every_field_of_a_step_is_there() -> None:
    step = Step(
        2,
        "Who?",
        Search("Who composed Aida?"),
        "It was Verdi.",
        (Passage("p1", "Aida", "Aida\nBy Verdi."),),
        reply="{}",
        parse_fixes=("no_fence",),
        parse_failures=1,
        repeated=True,
        usage=Usage(2, 100, 20),
        seconds=1.23456,
        think="Hm.",
        conclusion="Verdi.",
    )
    assert page_step(step, ["p1"]) == {
        "n": 2,
        "thought": "Who?",
        "function": "search",
        "argument": "Who composed Aida?",
        "think": "Hm.",
        "observation": "It was Verdi.",
        "conclusion": "Verdi.",
        "passages": ["p1"],
        "reply": "{}",
        "parse_fixes": ["no_fence"],
        "parse_failures": 1,
        "repeated": True,
        "usage": [2, 100, 20],
        "seconds": 1.2346,
    }


def test_what_is_empty_is_left_out_and_a_clean_reply_too() -> None:
    bare = page_step(Step(1, "", Finish("Rome"), reply='{"answer": "Rome"}', seconds=math.nan))
    assert bare == {"n": 1, "thought": "", "function": "finish", "argument": "Rome"}


def test_a_direct_answer_has_its_sub_question() -> None:
    fields = page_step(Step(1, "I know.", DirectAnswer("Which country?", "Italy")))
    assert (fields["function"], fields["sub_question"], fields["argument"]) == (
        "direct_answer",
        "Which country?",
        "Italy",
    )


def test_scores_keep_their_names_and_those_that_are_no_numbers_are_left_out() -> None:
    scores = {"retrieval": 0.83126, "rerank": math.inf, "other": math.nan}
    assert page_scores(Passage("p", "", "x", scores)) == {"retrieval": 0.8313}
    assert [page_number(value) for value in (None, -math.inf, 2.0)] == [None, None, 2.0]


def test_a_page_holds_the_shared_parts_before_its_own() -> None:
    page = fill_page("{{style}}|{{script}}", title="", style="own{}", script="own();", data=0).decode()
    style, script = page.split("own{}|")
    assert style == (PARTS / "parts.css").read_text("utf-8")
    assert script == (PARTS / "parts.js").read_text("utf-8") + "own();"
