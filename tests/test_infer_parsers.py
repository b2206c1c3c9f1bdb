"""Reading other notations: sentences, stated answers, boxes and tags, in friendly and in hostile text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.protocols.parsers import (
    Tag,
    Tagged,
    boxed_answer,
    first_sentence,
    first_tagged,
    stated_answer,
    without_think_marks,
)
from src_core.think import join_think, split_think
from src_infer.methods.searchain import parse as parse_chain
from src_infer.methods.self_ask import parse as parse_follow_up

TAG = Tag("<s>", "</s>")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("One. Two.", "One."),
        ("It was J. R. R. Tolkien. He", "It was J. R. R. Tolkien."),
        ("Mr. Smith lived in St. Ives! Yes", "Mr. Smith lived in St. Ives!"),
        ("It cost 3.5 crowns. And", "It cost 3.5 crowns."),
        ('He said "no." Then', 'He said "no."'),
        ("no end\nat all", "no end at all"),
        ("Vitamin C. It", "Vitamin C. It"),  # an initial for all we know
        (" \n", ""),
    ],
)
def test_the_first_sentence(text: str, sentence: str) -> None:
    assert first_sentence(text) == sentence


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So the answer is: Paris. It is", "Paris"),
        ("so the final answer is **J. S. Bach**.", "J. S. Bach"),
        ('The answer: "no"', "no"),
        ("I look.\nFinal answer: 1912", "1912"),
        ("Answer: Emma\nSo the answer is: Oslo", "Oslo"),
        ("Intermediate answer: Oslo", ""),
        ("The answer is not known yet.", ""),
        ("The answer is still open. So the answer is Rome", "Rome"),
        ("the answer is:\nRome", ""),
        ("nothing", ""),
    ],
)
def test_a_stated_answer(text: str, answer: str) -> None:
    assert stated_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so \\boxed{Oslo}.", "Oslo"),
        ("\\boxed{a} then \\boxed{b}", "b"),
        ("\\boxed{\\text{New York}}", "New York"),
        ("\\boxed{f{x}y}", "f{x}y"),
        ("\\boxed{open", ""),
        ("\\boxed{}", ""),
        ("none", ""),
    ],
)
def test_a_boxed_answer(text: str, answer: str) -> None:
    assert boxed_answer(text) == answer


def test_tags_and_think_blocks() -> None:
    assert first_tagged("a<s>b</s>c<s>d</s>", TAG) == Tagged("a", "b")
    assert first_tagged("a<s>b", TAG) == Tagged("a", "b")
    assert first_tagged("a</s>b", TAG) is None
    assert join_think("why", "<s>q", compact=True) == "<think>why</think>\n<s>q"
    assert join_think("why <s>q", "", compact=True) == "<think>why <s>q"
    assert join_think("why", "<s>q") == "<think>\nwhy\n</think>\n\n<s>q"
    assert without_think_marks("<think>a\n b</think> c") == "a b c"


@given(st.text("ab \n", max_size=20), st.text("cd \n", max_size=20))
def test_a_think_block_that_was_split_off_can_be_put_back(think: str, said: str) -> None:
    split = split_think(join_think(think, said))
    assert (split.think, split.text.strip()) == (think.strip() if think else "", said.strip())


@given(st.text(st.sampled_from("the answer is:\\boxed{}<s>/[Query1]. \n*\t?Follow up"), max_size=400))
@settings(max_examples=200, deadline=None)
def test_no_text_is_too_strange_to_be_read(text: str) -> None:
    for read in (first_sentence, stated_answer, boxed_answer, without_think_marks):
        assert isinstance(read(text), str)
    first_tagged(text, TAG)
    for parse in (parse_chain, parse_follow_up):
        parse(text, ("search", "finish"))


@pytest.mark.parametrize(
    "unit", ["the answer is ", "\\boxed{", "Mr. ", "[ ", "* ", "follow up ", "{}", " \t", "<s>"]
)
def test_long_text_is_read_in_no_time(unit: str) -> None:
    text = (unit * 100_000)[:200_000]
    begun = time.process_time()
    test_no_text_is_too_strange_to_be_read.hypothesis.inner_test(text)
    assert time.process_time() - begun < 1.0
