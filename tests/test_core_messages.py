"""Published conversation files: read from any layout, and refused where the structure is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers_chains import chain
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.conversations import plain_protocol, read_conversations, without_nulls
from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import PromptStyle

PUBLISHED = ReaRag(PromptStyle(legacy_actions=True)).turns('What\'s "this"?', chain().steps)


def test_published_conversations_pass_with_null_keys_as_array_and_lines(tmp_path: Path) -> None:
    keys = ("role", "content", "reasoning")
    nulled = {"messages": [{key: turn.get(key) for key in keys} for turn in PUBLISHED]}
    (tmp_path / "a.json").write_text(json.dumps([nulled, nulled], indent=2))
    (tmp_path / "b.jsonl").write_text(json.dumps(nulled) + "\n\n" + json.dumps({"x": 1}) + "\nnonsense\n")
    whole = list(read_conversations(tmp_path / "a.json"))
    assert [(row.problem, row.messages) for row in whole] == [("", PUBLISHED)] * 2
    lines = list(read_conversations(tmp_path / "b.jsonl"))
    assert [bool(row.problem) for row in lines] == [False, True, True]


@pytest.mark.parametrize(
    ("at", "change"),
    [
        (0, {"role": "assistant"}),
        (0, {"content": None}),
        (1, {"role": "user"}),
        (1, {"reasoning": None}),
        (1, {"reasoning": "Thought 1: I would rather not."}),
        (1, {"reasoning": PUBLISHED[1]["reasoning"].replace("1:", "2:")}),
        (1, {"reasoning": PUBLISHED[1]["reasoning"].partition("\n")[2]}),
        (1, {"reasoning": PUBLISHED[5]["reasoning"].replace("3:", "1:")}),
        (2, {"content": ""}),
        (2, {"role": "user"}),
        (5, {"reasoning": PUBLISHED[3]["reasoning"].replace("2:", "3:")}),
        (5, {"role": "observation"}),
    ],
)
def test_a_damaged_published_conversation_is_refused(at: int, change: dict[str, Any]) -> None:
    turns = [dict(turn) for turn in PUBLISHED]
    turns[at].update(change)
    assert plain_protocol("rearag").check(without_nulls(turns))
    assert plain_protocol("rearag").check(PUBLISHED[:at])


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "content", "reasoning", "x"]) | st.text(), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(JSON_VALUES)
def test_the_structural_check_takes_any_value(value: Any) -> None:
    assert plain_protocol("rearag").check(value)
