"""Published conversation files: read from any layout, and refused where the structure is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers_chains import chain
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.conversations import as_conversation, plain_protocol, read_conversations, without_nulls
from src_core.errors import UserError
from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import PromptStyle
from src_core.rowfiles import RawRow

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


TURNS = [
    {"role": "user", "content": "Question: Who?"},
    {"role": "assistant", "reasoning": "SAY Ann"},
]


@pytest.mark.parametrize("name", [0, "", False, [], {}, 3, ["chat"]])
def test_only_a_row_without_a_format_has_the_default_one(name: object) -> None:
    found = as_conversation(RawRow("line 1", {"format": name, "messages": TURNS}), default_format="chat")
    assert "format" in found.problem
    assert not as_conversation(RawRow("", {"format": None, "messages": TURNS}), default_format="chat").problem


def test_a_row_does_not_choose_what_code_is_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap.py"
    trap.write_text(f"from pathlib import Path\nPath({str(tmp_path / 'run')!r}).touch()\n")
    row = {"format": str(trap), "messages": TURNS}
    assert "names the file" in as_conversation(RawRow("line 1", row)).problem
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(row) + "\n")
    assert [each.problem.partition(" ")[0] for each in read_conversations(rows)] == ["a"]
    assert not (tmp_path / "run").exists()


def test_rows_name_the_format_of_a_file_that_the_settings_name(tmp_path: Path) -> None:
    file = "tests/data/toy_protocol.py"
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({**row, "messages": TURNS}) + "\n" for row in ({}, {"format": "toy"})))
    assert [(each.format, each.problem) for each in read_conversations(rows, default_format=file)] == [
        ("toy", ""),
        ("toy", ""),
    ]
    with pytest.raises(UserError, match="no format 'nope'"):
        read_conversations(rows, default_format="nope")
