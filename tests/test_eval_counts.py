"""Searches and tokens of every method in the scores are those that retriever and model really saw, also where
a method records no step for them (DeepRAG's evaluator counts 0 there, reference deeprag.md section 11.3).
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from helpers_methods import (
    ASKED,
    CASES,
    FROM_PASSAGES,
    QUESTION,
    WORLD,
    Case,
    runtime_for,
    script,
)
from helpers_runs import finished

from src_core.types import Passage, Question, Search, Status, Step, Trajectory, to_json
from src_eval.scoring import score_row, score_run
from src_infer.metering import MeteredModel, metered, with_all_searches
from src_infer.methods import load_method
from src_retrieval.toy import ToyRetriever
from src_tasks.scores import score

ONE_SEARCH = Case("naive_rag", [(FROM_PASSAGES, ["Steventon"])], [ASKED], calls=1)
EACH = {**CASES, "naive_rag": ONE_SEARCH}


class Counting(ToyRetriever):
    """Counts the searches that it answers."""

    calls = 0

    async def search(self, query: str, top_n: int) -> list[Passage]:
        self.calls += 1
        return await super().search(query, top_n)


@pytest.mark.parametrize("case", EACH.values(), ids=EACH)
def test_the_scores_count_what_retriever_and_model_saw(case: Case, tmp_path: Path) -> None:
    model = script(tmp_path / "s.jsonl", case.rows, unsure=case.unsure)
    retriever = Counting(WORLD)
    made = load_method(case.method, case.settings)
    runtime = replace(runtime_for(MeteredModel(model), retriever=retriever), settings=made.settings)

    async def run() -> Trajectory:
        with metered() as meter:
            row = await made.run(QUESTION, runtime)
        return with_all_searches(replace(row, usage=meter.usage), meter.searches)

    row = asyncio.run(run())
    metrics = score_row(orjson.loads(to_json(row)), verdicts={}).metrics
    assert metrics["searches"] == score(row)["searches"] == retriever.calls == len(case.queries)
    assert metrics["searches_right" if metrics["em"] else "searches_wrong"] == retriever.calls
    assert metrics["calls"] == len(model.calls) == case.calls
    assert metrics["tokens"] == row.usage.total_tokens > 0


TEXT_ONLY = '''
from src_core.types import Status, Trajectory


async def run(question, runtime):
    """Searches twice and returns a text: no step."""
    for query in (question.question, "keeper"):
        shown = runtime.show(await runtime.retrieve(query), query)
    return Trajectory(question, (), await runtime.ask("{shown}", shown=shown), Status.FINISHED)
'''


def test_a_method_that_returns_a_text_has_its_searches_and_tokens(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TEXT_ONLY)
    questions = [{"question": f"Who keeps item {n}?", "answers": ["Ada"]} for n in range(2)]
    passages = [{"id": "p", "contents": "Item 0\nThe keeper of item 0 is Ada, who keeps item 1."}]
    replies = [{"when": "Ada", "replies": ["Ada", "Bo"], "anywhere": True}]
    for name, rows in (("q", questions), ("c", passages), ("s", replies)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = f"scripted:{tmp_path}/s.jsonl"
    settings = [f"method={tmp_path}/mine.py", f"questions={tmp_path}/q.jsonl", f"runs_dir={tmp_path}"]
    settings += [f"retriever=toy:{tmp_path}/c.jsonl", f"agent.url={model}", f"reader.url={model}"]
    done = finished("src_infer.run", "configs/infer/gpu.yaml", *settings, "run_name=r", "in_flight=1")
    assert done.returncode == 0, done.stderr
    metrics = score_run(tmp_path / "r").run.metrics
    assert (metrics["searches"].mean, metrics["searches"].n) == (2.0, 2)
    assert (metrics["searches_right"].n, metrics["searches_wrong"].n) == (1, 1)
    assert metrics["tokens"].mean > 0
    assert " 2.00 " in done.stdout  # the table of the run says the same


def test_repeated_queries_and_damaged_notes_are_no_searches() -> None:
    asked = Question("id", "Q?", ("a",))
    steps = (Step(1, "", Search("q")), Step(2, "", Search("q"), repeated=True))
    row = Trajectory(asked, steps, "a", Status.FINISHED)
    assert with_all_searches(row, 1) is row
    assert with_all_searches(row, 3).searches == 4  # two steps, and two searches without one
    damaged: list[Any] = ["7", -1, None, 2.5]
    for value in damaged:
        assert replace(row, provenance={"searches_without_step": value}).searches == 2
