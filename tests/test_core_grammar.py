"""The grammar admits exactly what the renderer writes, the schema what the parser reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers_gbnf import gbnf_to_regex
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.protocols.rearag import ReaRag, parse_step, render_step, step_grammar, step_schema
from src_core.protocols.records import Constrain, ParsedStep
from src_core.types import Finish, Search

ARGUMENT = (
    st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60)
    .map(lambda text: " ".join(text.split()))
    .filter(bool)
)
THOUGHTS = (
    "I need the author of Emma.",
    "It was Kurt Gödel. Now I need the place where he was born.",
    'Is it (really) "Brno"? Yes! So the capital, 1 of 2, is Prague. I\'m done.',
)


@pytest.mark.parametrize("thought", THOUGHTS)
@given(argument=ARGUMENT)
@settings(max_examples=50, deadline=None)
def test_rendered_steps_match_the_grammar(thought: str, argument: str) -> None:
    pattern = gbnf_to_regex(step_grammar(n=12))
    for action in (Search(argument), Finish(argument)):
        assert pattern.fullmatch(render_step(12, thought, action))


@pytest.mark.parametrize(
    "text",
    [
        render_step(2, "Wrong number.", Finish("a")),
        render_step(1, "No stop", Finish("a")),
        render_step(1, "One. Two. Three. Four. Five.", Finish("a")),
        render_step(1, "Two\nlines.", Finish("a")),
        render_step(1, "Braces {x}.", Finish("a")),
        render_step(1, "Empty.", Finish("")),
        render_step(1, "Legacy.", Finish("a"), legacy=True),
        render_step(1, "Trailing.", Finish("a")) + "\n",
        render_step(1, "Control.", Finish("a")).replace('"a"', '"a\x01"'),
    ],
)
def test_other_texts_do_not_match_the_grammar(text: str) -> None:
    assert gbnf_to_regex(step_grammar(n=1)).fullmatch(text) is None


@pytest.mark.parametrize(("functions", "refused"), [(("finish",), Search("a")), (("search",), Finish("a"))])
def test_a_function_that_is_not_allowed_cannot_be_written(
    functions: tuple[str, ...], refused: Search | Finish
) -> None:
    text = render_step(1, "So.", refused)
    assert gbnf_to_regex(step_grammar(n=1)).fullmatch(text)
    assert gbnf_to_regex(step_grammar(n=1, functions=functions)).fullmatch(text) is None
    schema = step_schema(functions=functions)
    assert schema["properties"]["function"] == {"const": functions[0]}


def accepts(schema: dict[str, Any], value: Any) -> bool:
    """Validate the handful of JSON-schema keywords that our schema uses; another keyword is an error."""
    known = {
        "oneOf",
        "type",
        "properties",
        "required",
        "additionalProperties",
        "const",
        "minLength",
        "maxLength",
    }
    assert set(schema) <= known
    if "oneOf" in schema:
        return sum(accepts(variant, value) for variant in schema["oneOf"]) == 1
    if "const" in schema:
        return bool(value == schema["const"])
    if schema["type"] == "string":
        return isinstance(value, str) and schema["minLength"] <= len(value) <= schema["maxLength"]
    fields = schema["properties"]
    assert schema["additionalProperties"] is False
    return (
        isinstance(value, dict)
        and set(schema["required"]) <= set(value) <= set(fields)
        and all(accepts(fields[key], inner) for key, inner in value.items())
    )


SEARCH = {"thought": "t", "function": "search", "parameters": {"query": "q"}}


@pytest.mark.parametrize(
    ("value", "good"),
    [
        (SEARCH, True),
        ({"thought": "t", "function": "finish", "parameters": {"answer": "a"}}, True),
        ({**SEARCH, "parameters": {"answer": "q"}}, False),
        ({**SEARCH, "function": "lookup"}, False),
        ({**SEARCH, "thought": ""}, False),
        ({**SEARCH, "parameters": {"query": ""}}, False),
        ({**SEARCH, "parameters": {"query": "q" * 301}}, False),
        ({**SEARCH, "more": 1}, False),
        ({key: SEARCH[key] for key in ("thought", "function")}, False),
    ],
)
def test_the_schema_admits_what_the_parser_reads(value: dict[str, Any], good: bool) -> None:
    assert accepts(step_schema(), value) is good
    if good:
        assert isinstance(parse_step(json.dumps(value)), ParsedStep)


def test_each_kind_sets_exactly_its_own_field() -> None:
    assert ReaRag().constraint(Constrain.OFF, n=1) is None
    grammar = ReaRag().constraint(Constrain.GRAMMAR, n=7, functions=("finish",))
    schema = ReaRag().constraint(Constrain.JSON_SCHEMA, n=7)
    assert grammar is not None
    assert schema is not None
    assert (grammar.grammar, grammar.schema) == (step_grammar(n=7, functions=("finish",)), None)
    assert (schema.grammar, schema.schema) == (None, step_schema())
