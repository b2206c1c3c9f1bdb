"""20,000 hostile replies: the parser returns its own values, raises nothing, and takes time in proportion."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.protocols.rearag import parse_step, render_step
from src_core.protocols.records import MAX_REPLY, ParsedStep, ParseError
from src_core.types import Finish, Search

REPLIES = 20_000
CPU_SECONDS_PER_REPLY = 0.25  # of 20,000 characters; a quadratic reader needs seconds
FRAGMENTS = (
    "Thought 1:", "Action 1:", "Action:", "\nAction 2: \n```\n", "\nObservation 1:", "**Action 3:**",
    "```json\n", "```", "{", "}", "{'", '{"', "':", '":', ",", "'", '"', "\\", "\\u", "\\ud83d", "\\x",
    "\\U0011ffff", "\n", "\r", "\x00", "\x1b[31m", "\u2028", "\ud800", "\udfff", "\u202e", "😀", "ﷺ", "٣",
    "１", "：", "[", "]", "(", ")", "search", "finish", "search[", "search(", "finish: ",
    "{'function': 'search', 'parameters': {'query': ", '{"function": "finish", "parameters": {"answer": ',
    "{'function': {'name': 'search', 'arguments': '{}'}}", '{"thought": 1}', '"thought"',
    "{'type': 'search'}",    '{"thought": "t", "function": "search", "parameters": {"query": "q"}}',
    "{'name': 'finish', 'arguments': []}",
    "{'function': 'search', 'parameters': None}", "__import__('os').system('true')", "eval(input())",
    "{**{}}",
    "lambda: 0", "f'{1}'", "1e999", "-", "0x1F", "NaN", "9" * 30, "true", "None", " ", "\t", "   ", "\u3000",
    "%s%n", "{0.__class__}", "{{", "}}", "<|user|>", "A" * 300,
)  # fmt: skip


HEADS = (
    "",
    "Action",
    "Action 1: ",
    "Action 1: {",
    "Action 1: {'function': '",
    'Action 1: search("',
    '{"thought": "',
    "Thought 1: t\nAction 1: \n```\n",
    "Thought 1: t\nAction 1: \n```\n{'function': 'search', 'parameters': {'query': '",
    render_step(1, "t", Search("Who wrote the opera's libretto?")),
    render_step(2, "t", Finish("Boito's"), legacy=True),
)


def hostile_reply(draw: random.Random) -> str:
    """One reply: a plausible beginning, fragments in random order, some repeated often, then damage."""
    parts = [draw.choice(HEADS[7:] if draw.random() < 0.7 else HEADS)]
    parts += [draw.choice(FRAGMENTS) * _times(draw) for _ in range(draw.randint(0, 12))]
    if draw.random() < 0.3:
        parts.append("".join(chr(draw.randrange(0x110000)) for _ in range(draw.randint(1, 20))))
    text = "".join(parts)
    for _ in range(draw.choice((0, 0, 1, 3))):
        at = draw.randrange(len(text) + 1)
        text = text[:at] + chr(draw.randrange(0x300)) + text[at + draw.randint(0, 2) :]
    return text


def _times(draw: random.Random) -> int:
    return draw.choice((1, 1, 1, 1, 1, 1, 2, 3, 8, 60)) if draw.random() < 0.98 else 900


def check(text: str) -> bool:
    """Whether `text` was read as a step; anything but the two result types fails."""
    read = parse_step(text)
    if isinstance(read, ParseError):
        assert read.code
        return False
    assert isinstance(read, ParsedStep)
    assert isinstance(read.action, Search | Finish)
    argument = read.action.query if isinstance(read.action, Search) else read.action.answer
    assert argument.strip() == argument != ""
    return True


def test_20000_hostile_replies_raise_nothing() -> None:
    draw = random.Random(20_000)
    read = sum(check(hostile_reply(draw)) for _ in range(REPLIES))
    assert 0 < read < REPLIES  # the mixture reaches both sides


@given(st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=10)), max_size=25).map("".join))
@settings(max_examples=500, deadline=None)
def test_generated_replies_raise_nothing(text: str) -> None:
    check(text)


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(
                    ["function", "name", "type", "parameters", "arguments", "query", "answer", "thought"]
                ),
                inner,
                max_size=4,
            ),
        ),
        max_leaves=12,
    ),
    st.sampled_from(["", "Action 1: ", "Thought 1: t\nAction 1:\n```\n"]),
)
@settings(max_examples=500, deadline=None)
def test_near_miss_objects_raise_nothing(value: object, head: str) -> None:
    check(f"{head}{value!r}")


ADVERSARIAL = {
    "blanks": " ",
    "tabs and blanks": " \t",
    "lines of blanks": "  \n",
    "label with blanks": "Action ",
    "labels": "Action 1:\n",
    "action with many blanks": None,
    "marks": "*",
    "single quotes": "'",
    "double quotes": '"',
    "quotes and blanks": "' ",
    "quotes far apart": "'" + " " * 99,
    "open braces": "{",
    "pairs": "{}",
    "nested": '{"a":',
    "nested lists": "[",
    "commas": ",",
    "keys": "'a':1,",
    "backslashes": "\\",
    "escapes": "\\u",
    "hex escapes": "\\ud83d",
    "fences": "```",
    "calls": "search[",
    "words": "a",
    "digits": "9",
    "observation": "Observation 1:",
    "surrogates": "\ud800",
}


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_time_is_linear_in_hostile_text(name: str) -> None:
    piece = ADVERSARIAL[name] or " "
    tail = "" if ADVERSARIAL[name] else "1"
    for head in HEADS:
        text = (head + piece * MAX_REPLY)[: MAX_REPLY - len(tail)] + tail
        begun = time.process_time()
        check(text)
        assert time.process_time() - begun < CPU_SECONDS_PER_REPLY, head
