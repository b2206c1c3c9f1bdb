"""Steps as text: what is written is read back; what models really write is read or refused with a code."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.literal import LiteralError, read_object
from src_core.protocols.action_text import render_action
from src_core.protocols.rearag import parse_step, render_step
from src_core.protocols.records import MAX_ARGUMENT, MAX_REPLY, ParsedStep, ParseError
from src_core.types import Action, Finish, Search

ANY_TEXT = st.text(
    alphabet=st.one_of(
        st.characters(), st.characters(categories=["Cs"]), st.sampled_from("'\"\\{}[]`,:\n\t nxuU0*_")
    ),
    max_size=120,
)
ARGUMENT = ANY_TEXT.map(lambda text: " ".join(text.split())).filter(bool)
THOUGHT = ANY_TEXT.map(str.strip).filter(
    lambda text: not any(word in text.lower() for word in ("thought", "action", "observation"))
)
ACTION: st.SearchStrategy[Action] = st.one_of(ARGUMENT.map(Search), ARGUMENT.map(Finish))


@given(n=st.integers(1, 9999), thought=THOUGHT, action=ACTION, legacy=st.booleans())
@settings(max_examples=400, deadline=None)
def test_a_written_step_is_read_back_whole(n: int, thought: str, action: Action, legacy: bool) -> None:
    read = parse_step(render_step(n, thought, action, legacy=legacy))
    assert isinstance(read, ParsedStep)
    assert (read.n, read.thought, read.action) == (n, thought, _as_read(action))
    assert set(read.parse_fixes) <= {"single_quotes"}
    assert legacy or not read.parse_fixes


@given(thought=THOUGHT, action=ACTION)
@settings(max_examples=200, deadline=None)
def test_a_schema_constrained_reply_is_read_back_whole(thought: str, action: Action) -> None:
    key = "query" if isinstance(action, Search) else "answer"
    value = action.query if isinstance(action, Search) else action.answer
    reply = json.dumps({"thought": thought, "function": action.function, "parameters": {key: value}})
    read = parse_step(reply)
    assert isinstance(read, ParsedStep)
    assert (read.n, read.thought, read.action) == (None, thought, _as_read(action))


@given(action=ACTION, tail=ANY_TEXT)
@settings(max_examples=200, deadline=None)
def test_text_after_the_observation_label_changes_nothing(action: Action, tail: str) -> None:
    step = render_step(2, "x", action)
    read = parse_step(f"{step}\nObservation 2: {tail}")
    assert isinstance(read, ParsedStep)
    assert read.action == _as_read(action)


def _as_read(action: Action) -> Action:
    """Escaped surrogate pairs come back as the one character they stand for."""
    value = action.query if isinstance(action, Search) else action.answer
    joined = value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return Search(joined) if isinstance(action, Search) else Finish(joined)


def test_the_step_is_written_as_the_training_data_hold_it() -> None:
    action = '{"function": "finish", "parameters": {"answer": "Paris"}}'
    expected = f"Thought 3: So Paris.\nAction 3: \n```\n{action}\n```"
    assert render_step(3, "So Paris.", Finish("Paris")) == expected
    assert (
        render_action(Search("Où?"), legacy=True) == "{'function': 'search', 'parameters': {'query': 'Où?'}}"
    )


S, F = Search, Finish
READ: dict[str, tuple[str, Action, int | None, str]] = {
    "python dict, as in the release": (
        "Thought 1: I need X.\nAction 1: \n```\n"
        "{'function': 'search', 'parameters': {'query': 'Who is X?'}}\n```",
        S("Who is X?"),
        1,
        "I need X.",
    ),
    "apostrophe inside single quotes": (
        "Thought 1: t\nAction 1:\n```\n"
        "{'function': 'search', 'parameters': {'query': 'What is Ed Wood's job?'}}\n```",
        S("What is Ed Wood's job?"),
        1,
        "t",
    ),
    "double quotes around a name inside double quotes": (
        'Thought 1: t\nAction 1: {"function": "search", "parameters": {"query": "Who wrote "Emma" first?"}}',
        S('Who wrote "Emma" first?'),
        1,
        "t",
    ),
    "mixed quotes": (
        """Thought 2: t\nAction 2:\n```\n{'function': "search", "parameters": {'query': "Ed's film"}}\n```""",
        S("Ed's film"),
        2,
        "t",
    ),
    "no fence": (
        'Thought 1: t\nAction 1: {"function": "finish", "parameters": {"answer": "no"}}',
        F("no"),
        1,
        "t",
    ),
    "json fence": (
        'Thought 1: t\nAction 1:\n```json\n{"function": "finish", "parameters": {"answer": "a"}}\n```',
        F("a"),
        1,
        "t",
    ),
    "fence never closed, brace missing": (
        'Thought 1: t\nAction 1:\n```\n{"function": "finish", "parameters": {"answer": "a"}',
        F("a"),
        1,
        "t",
    ),
    "bold labels": (
        "**Thought 1:** I **know** it.\n**Action 1:**\n```\n"
        '{"function": "finish", "parameters": {"answer": "a"}}\n```',
        F("a"),
        1,
        "I **know** it.",
    ),
    "bold numbers outside the colon": (
        '**Thought 1**: t\n### Action 1:\n{"function": "finish", "parameters": {"answer": "a"}}',
        F("a"),
        1,
        "t",
    ),
    "a thought that begins in bold": (
        'Thought 1: **Paris** it is.\nAction 1: {"function": "finish", "parameters": {"answer": "Paris"}}',
        F("Paris"),
        1,
        "**Paris** it is.",
    ),
    "invented observation and further steps": (
        "Thought 1: a\nAction 1:\n```\n{'function': 'search', 'parameters': {'query': 'first?'}}\n```\n"
        "Observation 1: made up\nThought 2: b\nAction 2:\n```\n"
        "{'function': 'finish', 'parameters': {'answer': 'wrong'}}\n```",
        S("first?"),
        1,
        "a",
    ),
    "further step without an observation": (
        "Thought 1: a\nAction 1: {'function': 'search', 'parameters': {'query': 'q'}}\nThought 2: b\n"
        "Action 2: {'function': 'finish', 'parameters': {'answer': 'wrong'}}",
        S("q"),
        1,
        "a",
    ),
    "number as answer": (
        "Thought 4: t\nAction 4: {'function': 'finish', 'parameters': {'answer': 1959}}",
        F("1959"),
        4,
        "t",
    ),
    "ReAct brackets": ("Thought 1: t\nAction 1: search[Ed Wood (film)]", S("Ed Wood (film)"), 1, "t"),
    "ReAct capitals": ("Thought 1: t\nAction 1: Finish[yes]", F("yes"), 1, "t"),
    "function call": ('Thought 1: t\nAction 1: search("Who is X?")', S("Who is X?"), 1, "t"),
    "function call with a keyword": ("Thought 1: t\nAction 1: `search(query='Who?')`", S("Who?"), 1, "t"),
    "colon after the function": ("Thought 1: t\nAction 1: finish: 1959", F("1959"), 1, "t"),
    "name and arguments": (
        'Thought 1: t\nAction 1: {"name": "search", "arguments": {"query": "q"}}',
        S("q"),
        1,
        "t",
    ),
    "OpenAI nesting": (
        'Action: {"function": {"name": "search", "arguments": {"query": "q"}}}',
        S("q"),
        None,
        "",
    ),
    "flat": ('Thought 1: t\nAction 1: {"function": "search", "query": "q"}', S("q"), 1, "t"),
    "escaped quotes": (
        r"Thought 1: t" + "\n" + r'Action 1: {"function": "search", "parameters": {"query": "a \"b\", c"}}',
        S('a "b", c'),
        1,
        "t",
    ),
    "escaped apostrophe": (
        "Thought 1: t\nAction 1: {'function': 'search', 'parameters': {'query': 'Ed Wood\\'s, or'}}",
        S("Ed Wood's, or"),
        1,
        "t",
    ),
    "surrogate pair escapes": (
        'Thought 1: t\nAction 1: {"function": "search", "parameters": {"query": "\\ud83c\\udfac film"}}',
        S("\U0001f3ac film"),
        1,
        "t",
    ),
    "no-break blank as Python writes it": (
        "Thought 1: t\nAction 1: {'function': 'search', 'parameters': {'query': '10\\xa0km'}}",
        S("10 km"),
        1,
        "t",
    ),
    "full-width colons": (
        'Thought 1：想\nAction 1：{"function": "finish", "parameters": {"answer": "北京"}}',
        F("北京"),
        1,
        "想",
    ),
    "full-width digits": (
        'Thought １: t\nAction １: {"function": "finish", "parameters": {"answer": "a"}}',
        F("a"),
        1,
        "t",
    ),
    "no thought label": (
        'I know.\nAction 1: {"function": "finish", "parameters": {"answer": "a"}}',
        F("a"),
        1,
        "I know.",
    ),
    "no numbers": (
        'Thought: t\nAction: {"function": "finish", "parameters": {"answer": "a"}}',
        F("a"),
        None,
        "t",
    ),
    "carriage returns": (
        'Thought 1: t\r\nAction 1: \r\n```\r\n{"function": "finish", "parameters": {"answer": "a"}}\r\n```',
        F("a"),
        1,
        "t",
    ),
    "upper case and blanks": (
        'THOUGHT 1 : t\nACTION 1 : {"function": " Finish ", "parameters": {"answer": " a  b "}}',
        F("a b"),
        1,
        "t",
    ),
    "text after the object": (
        'Thought 1: t\nAction 1: {"function": "finish", "parameters": {"answer": "a"}} I am done {really}.',
        F("a"),
        1,
        "t",
    ),
    "trailing comma": (
        "Thought 1: t\nAction 1: {'function': 'finish', 'parameters': {'answer': 'a',},}",
        F("a"),
        1,
        "t",
    ),
    "the word action inside the thought": (
        'Thought 1: The action: take it.\nAction 1: {"function": "finish", "parameters": {"answer": "a"}}',
        F("a"),
        1,
        "The action: take it.",
    ),
    "code as a query stays text": (
        "Thought 1: t\nAction 1: "
        "{'function': 'search', 'parameters': {'query': '__import__(\"os\").getcwd()'}}",
        S('__import__("os").getcwd()'),
        1,
        "t",
    ),
}


@pytest.mark.parametrize("name", READ)
def test_reply_is_read(name: str) -> None:
    reply, action, n, thought = READ[name]
    read = parse_step(reply)
    assert isinstance(read, ParsedStep), read
    assert (read.action, read.n, read.thought) == (action, n, thought)


FIXES = {
    "no fence": "no_fence",
    "python dict, as in the release": "single_quotes",
    "apostrophe inside single quotes": "inner_quote",
    "fence never closed, brace missing": "closed_brace",
    "invented observation and further steps": "dropped_text_after_step",
    "further step without an observation": "dropped_text_after_step",
    "number as answer": "number_as_text",
    "ReAct brackets": "call_style",
    "name and arguments": "other_key_for_function",
    "flat": "flat_parameters",
    "no thought label": "no_thought_label",
    "no numbers": "no_step_number",
}


@pytest.mark.parametrize("name", FIXES)
def test_repair_is_named(name: str) -> None:
    read = parse_step(READ[name][0])
    assert isinstance(read, ParsedStep)
    assert FIXES[name] in read.parse_fixes


REFUSED = {
    "": "no_action",
    "I think the answer is Paris.": "no_action",
    "Thought 1: x\nObservation 1: y\nAction 1: search[z]": "no_action",
    "Observation: x": "no_action",
    "Thought 1: t\nAction 1:": "no_object",
    "Thought 1: t\nAction 1: look it up": "no_object",
    "Action 1: search Paris": "no_object",
    "Action 1: {": "unknown_function",
    "Action 1: {}": "unknown_function",
    "Action 1: {{}}": "bad_object",
    "Action 1: {'function': 'search', 'parameters': {'query': 'never closed": "bad_object",
    "Action 1: {function: search}": "bad_object",
    "Action 1: {'function': search}": "bad_object",
    "Action 1: {'function': ['search']}": "bad_object",
    "Action 1: {'function' 'search'}": "bad_object",
    "Action 1: {'a': 1 'b': 2}": "bad_object",
    "Action 1: {'a': '\\": "bad_object",
    "Action 1: {'a': 0x10}": "bad_object",
    "Action 1: {'a': 99999999999999999999999}": "bad_object",
    "Action 1: " + "{'a': " * 50: "bad_object",
    "Action 1: {'function': __import__('os').system('true')}": "bad_object",
    'Action 1: search("Paris"': "bad_object",
    "Action 1: search[Paris": "bad_object",
    "Action 1: {'function': 'lookup', 'parameters': {'query': 'x'}}": "unknown_function",
    "Action 1: {'function': None, 'parameters': {'query': 'x'}}": "unknown_function",
    "Action 1: {'function': 'search searching', 'parameters': {'query': 'x'}}": "unknown_function",
    "Action 1: {'function': 'search', 'parameters': {'answer': 'x'}}": "bad_argument",
    "Action 1: {'function': 'finish', 'parameters': {'answer': None}}": "bad_argument",
    "Action 1: {'function': 'finish', 'parameters': {'answer': True}}": "bad_argument",
    "Action 1: {'function': 'search', 'parameters': 'x'}": "bad_argument",
    "Action 1: {'function': 'search', 'parameters': {'query': {'query': 'x'}}}": "bad_argument",
    "Action 1: {'function': 'search', 'parameters': {'query': ''}}": "empty_argument",
    "Action 1: {'function': 'search', 'parameters': {'query': ' \\n\\t '}}": "empty_argument",
    "Action 1: search[]": "empty_argument",
    "Action 1: {'function': 'search', 'parameters': {'query': '"
    + "x" * (MAX_ARGUMENT + 1)
    + "'}}": "long_argument",
    "x" * MAX_REPLY + "\nAction 1: search[too late]": "no_action",
}


@pytest.mark.parametrize(("reply", "code"), REFUSED.items(), ids=[f"{i:02d}" for i in range(len(REFUSED))])
def test_reply_is_refused_with_its_code(reply: str, code: str) -> None:
    read = parse_step(reply)
    assert isinstance(read, ParseError), read
    assert read.code == code
    assert read.message
    assert "\n" not in read.message


def test_a_long_reply_is_cut_not_refused() -> None:
    read = parse_step(render_step(1, "t", Search("q")) + "\n" + "x" * MAX_REPLY)
    assert isinstance(read, ParsedStep)
    assert "cut_long_reply" in read.parse_fixes


def test_the_literal_reader_takes_the_first_object_and_its_repairs() -> None:
    value, fixes = read_object("{'a': 'it's', \"b\": -1.5, 'c': {'d': null}, 'e': True} and {more}")
    assert value == {"a": "it's", "b": -1.5, "c": {"d": None}, "e": True}
    assert fixes == ("single_quotes", "inner_quote")
    with pytest.raises(LiteralError):
        read_object("no object")
