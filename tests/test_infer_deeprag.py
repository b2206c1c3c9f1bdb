"""METHOD=deeprag end to end with a scripted model and a toy retriever: decisions, roles, limits, records."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from helpers_methods import QUESTION, runtime_for
from helpers_train import tokenizer_folder

from src_core.chat_tokenizer import ChatTokenizer
from src_core.protocols.deeprag import SEARCH
from src_core.scripted import ScriptedModel
from src_core.types import DirectAnswer, Finish, Search, Status, Trajectory
from src_infer.episode import Limits
from src_infer.methods import load_method
from src_infer.runtime import Runtime

WHO, WHERE = "Who wrote Emma?", "Where was Jane Austen born?"
ENDS = (
    "So the final answer is: <answer long>In Steventon.</answer long><answer short>Steventon</answer short>"
)


def script(folder: Path, replies: list[str], *, likely: dict[str, list[str]] | None = None) -> ScriptedModel:
    """A model that gives `replies` in order. With `likely` it scores tokens: for each end of a prompt the
    continuations that are likely.
    """
    rows: list[dict[str, Any]] = [{"when": "", "replies": replies}]
    rows += [{"when": when, "replies": [], "likely": texts} for when, texts in (likely or {}).items()]
    path = folder / "script.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    tokenizer = ChatTokenizer(tokenizer_folder(folder / "qwen", "qwen")) if likely is not None else None
    return ScriptedModel(path, tokenizer=tokenizer)


def runtime(model: ScriptedModel, limits: Limits | None = None, **settings: Any) -> Runtime:
    method = load_method("deeprag", settings)
    made = runtime_for(model, limits=limits)
    policy = replace(made.policy, tokenizer=lambda: model._tokenizer)
    return replace(made, settings=method.settings, policy=policy)


def play(made: Runtime) -> Trajectory:
    return asyncio.run(load_method("deeprag").answer(QUESTION, made))


def test_the_model_writes_its_decisions_line_by_line(tmp_path: Path) -> None:
    replies = [f" {WHO}", f"{SEARCH}\ninvented", " Jane Austen", f"Follow up: {WHERE}"]
    model = script(tmp_path, [*replies, "Intermediate answer: Steventon", ENDS])
    row = play(runtime(model))
    assert (row.answer, row.status) == ("Steventon", Status.FINISHED)
    first, second, end = row.steps
    assert first.action == Search(WHO)
    assert first.observation == "[1] Title: Emma Text: Emma is a novel by Jane Austen."
    assert first.conclusion == "Jane Austen"
    assert second.action == DirectAnswer(WHERE, "Steventon")
    assert (end.action, end.thought) == (Finish("Steventon"), "In Steventon.")
    assert [step.n for step in row.steps] == [1, 2, 3]
    assert row.provenance["decisions"] == [
        {"n": 1, "search": None, "direct": None, "chosen": "search"},
        {"n": 2, "search": None, "direct": None, "chosen": "direct"},
    ]
    assert (row.usage.calls, len(model.calls)) == (6, 6)
    assert sum(step.usage.calls for step in row.steps) == 6
    assert model.calls[-1][-1]["content"] == (
        f"Follow up: {WHO}\n{SEARCH}\nContext:\n{first.observation}\nIntermediate answer: Jane Austen\n"
        f"Follow up: {WHERE}\nIntermediate answer: Steventon\n"
    )
