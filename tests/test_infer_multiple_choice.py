"""The method multiple_choice: passages or none, and the letter by grammar, log-probability or text."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers_methods import QUESTION, runtime_for, script

from src_core.errors import UserError
from src_core.llm import Completion, Token
from src_core.scripted import ScriptedModel
from src_core.types import NO_USAGE, Status, Trajectory
from src_infer.methods import load_method
from src_infer.methods.multiple_choice import letter_logprobs, likeliest_letter
from src_tasks.choices import asked_text, read_choice

CHOICES = ("Bath", "Steventon", "Oxford", "York")
ASKED = replace(QUESTION, choices=CHOICES)
CLOSED = "Choose the correct answer of this multiple-choice question. Reply"
OPEN = "the passages above may help"


def answered(
    tmp_path: Path, when: str, reply: str, row: dict[str, Any] | None = None, **settings: Any
) -> Any:
    """The trajectory of one question, and the model that was asked."""
    path = tmp_path / "script.jsonl"
    path.write_text(json.dumps({"when": when, "replies": [reply], **(row or {})}) + "\n", encoding="utf-8")
    model = ScriptedModel(path)
    method = load_method("multiple_choice", settings)
    runtime = replace(runtime_for(model), settings=method.settings)
    question = replace(ASKED, question=asked_text(ASKED))
    return asyncio.run(method.answer(question, runtime)), model


def test_the_query_is_the_question_and_the_model_sees_passages_and_choices(tmp_path: Path) -> None:
    row, model = answered(tmp_path, OPEN, "B")
    assert [step.action.query for step in row.steps] == [QUESTION.question]
    assert (row.answer, row.status, row.searches) == ("B", Status.FINISHED, 1)
    prompt = model.calls[0][-1]["content"]
    assert prompt.index("[1] ") < prompt.index("A. Bath") < prompt.index("D. York")


def test_without_a_search_there_are_no_passages(tmp_path: Path) -> None:
    row, model = answered(tmp_path, CLOSED, "B", search=False)
    assert (row.answer, row.steps) == ("B", ())
    assert "[1]" not in model.calls[0][-1]["content"]


def test_the_choices_can_be_part_of_the_query(tmp_path: Path) -> None:
    row, _ = answered(tmp_path, OPEN, "B", query_with_choices=True)
    assert row.steps[0].action.query.endswith("D. York")


def test_the_likeliest_letter_wins_over_what_was_generated(tmp_path: Path) -> None:
    likeliest = {"The": 0.5, " B": 0.2, "B": 0.1, "A": 0.15, "Z": 0.05}
    row, _ = answered(tmp_path, OPEN, "The answer", {"likeliest": likeliest}, answer="logprob")
    assert row.answer == "B"
    assert row.provenance["letters"] == pytest.approx({"A": math.log(0.15), "B": math.log(0.3)})


def test_a_server_without_log_probabilities_leaves_the_reply(tmp_path: Path) -> None:
    row, _ = answered(tmp_path, OPEN, "the answer is B", answer="logprob")
    assert (row.answer, row.provenance["letters"]) == ("the answer is B", {})
    assert read_choice(row.answer, CHOICES) == 1


def test_hostile_tokens_are_no_letters() -> None:
    def of(*pairs: tuple[str, float]) -> dict[str, float]:
        return letter_logprobs(Completion("x", "stop", NO_USAGE, tokens=(Token("x", -1.0, pairs),)), "ABCD")

    assert of() == of(("AB", -1.0), ("", -1.0), ("E", -0.1), ("<|A|>", 0.0)) == {}
    assert likeliest_letter(of()) == ""
    assert likeliest_letter(of(("C", -2.0), ("\nD ", -1.0))) == "D"
    assert letter_logprobs(Completion("x", "stop", NO_USAGE), "ABCD") == {}


def test_a_question_without_choices_is_refused_and_recorded(tmp_path: Path) -> None:
    model = script(tmp_path / "s.jsonl", [])
    method = load_method("multiple_choice", {})
    runtime = replace(runtime_for(model), settings=method.settings)
    row: Trajectory = asyncio.run(method.answer(QUESTION, runtime))
    assert (row.status, row.error) == (Status.REFUSED, "the question has no choices")
    assert model.calls == []


class NoGrammar:
    """A reader whose server has no field for a grammar."""

    async def chat(self, *_: object, constraint: object = None, **__: object) -> Completion:
        if constraint is not None:
            raise UserError(
                "engine=openai has no field for a grammar; set constrain to json_schema, auto or off"
            )
        return Completion("(B)", "stop", NO_USAGE)


def test_a_server_without_a_grammar_is_told_what_to_set(tmp_path: Path) -> None:
    question = replace(ASKED, question=asked_text(ASKED))

    def run(**settings: str) -> Trajectory:
        method = load_method("multiple_choice", dict(settings))
        base = runtime_for(script(tmp_path / "s.jsonl", []))
        runtime = replace(base, reader=NoGrammar(), settings=method.settings)
        return asyncio.run(method.answer(question, runtime))

    with pytest.raises(UserError, match=r"set method_settings\.answer to logprob or text"):
        run()
    assert run(answer="text").answer == "(B)"
