"""What a run prints on the terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from helpers_chains import chain
from rich.console import Console

from src_core.types import DirectAnswer, Search, Step
from src_infer.describe import described
from src_infer.methods import method_names
from src_infer.show import step_lines, totals_table
from src_tasks.scores import totals


def test_own_knowledge_is_told_from_a_search() -> None:
    direct = step_lines(Step(2, "", DirectAnswer("Where is Velby?", "in Dunmark")))
    assert direct[0].plain.startswith('Action 2 (own knowledge): {"function":')
    assert step_lines(Step(1, "", Search("Velby")))[0].plain.startswith('Action 1: {"function": "search"')


@pytest.mark.parametrize(("count", "few"), [(1, True), (19, True), (20, False)])
def test_the_means_of_few_questions_say_so(count: int, few: bool) -> None:
    row = chain()
    rows = [replace(row, question=replace(row.question, id=f"q{n}")) for n in range(count)]
    out = io.StringIO()
    Console(file=out, width=200).print(totals_table(totals(rows)))
    assert ("100.0 (too few)" in out.getvalue()) is few
    assert "100.0" in out.getvalue()


@pytest.mark.parametrize("name", method_names())
def test_each_method_is_described_with_its_settings(name: str) -> None:
    first, second, *_ = described(name)
    assert first.startswith(f"{name}: ")
    assert second.startswith(("Its settings", "It has no settings"))
