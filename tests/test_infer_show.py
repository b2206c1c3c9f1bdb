"""What a run prints on the terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from helpers_chains import chain
from rich.console import Console

from src_core.types import DirectAnswer, Question, Search, Status, Step, Trajectory
from src_infer.describe import described
from src_infer.methods import method_names
from src_infer.show import outcome_lines, step_lines, tokens_text, totals_table
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
    Console(file=out, width=200).print(totals_table(totals(rows), width=200))
    assert ("~100.0" in out.getvalue()) is few
    assert ("~ too few: a share of fewer than 20 questions says little" in out.getvalue()) is few
    assert "100.0" in out.getvalue()


@pytest.mark.parametrize("width", [60, 80])
def test_the_figures_of_a_row_stay_on_its_line_in_a_narrow_terminal(width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width).print(totals_table(totals([chain()]), width=width))
    lines = out.getvalue().splitlines()
    (row,) = (line for line in lines if line.startswith("all "))
    assert row.split() == ["all", "1", "~100.0", "~100.0", "-", "2.00", "2.00", "-", "400", "0.0"], (
        out.getvalue()
    )
    assert "…" not in out.getvalue()
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("name", method_names())
def test_each_method_is_described_with_its_settings(name: str) -> None:
    first, second, *rest = described(name)
    assert first.startswith(f"{name}: ")
    assert second.startswith(("Its settings", "It has no settings"))
    kinds = [line.partition("    ")[2] for line in rest if line.startswith("  method_settings.")]
    begin = ("whole number", "number", "text", "true or false", "one of ")
    assert [kind for kind in kinds if not kind.startswith(begin)] == []


def test_the_tokens_of_a_run_are_a_sentence() -> None:
    counts = {"calls": 32, "prompt": 12_345, "completion": 678}
    assert tokens_text(counts) == "32 model calls with 12,345 tokens read and 678 written"
    assert tokens_text({"calls": 1, "prompt": 2, "completion": 3}).startswith("1 model call with 2")


def test_a_question_without_an_answer_says_so() -> None:
    row = Trajectory(Question("1", "Who?", answers=("noanswer",)), (), "unknown", Status.FINISHED)
    assert "Gold: no answer (unanswerable)" in [line.plain for line in outcome_lines(row)]
