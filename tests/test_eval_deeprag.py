"""An evaluation of DeepRAG from its runs to its page: extremes, decisions, labels of the model, trees."""

from __future__ import annotations

import asyncio
import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers_llm import FakeLLM, write_items
from helpers_runs import Run
from helpers_trees import GOLD, knows, tree_reply

ITEMS = 24


async def decided_reply(body: dict[str, Any]) -> str:
    """As `tree_reply`, with documents that hold every fact and name no item; asked for a decision it searches
    what the model does not know.
    """
    body = json.loads(re.sub(r"Every fact about item \d+\.", GOLD, json.dumps(body)))
    last = body["messages"][-1]
    now = last["content"].rpartition("Follow up:")[2] if last["role"] == "assistant" else ""
    asked = re.fullmatch(r" What is fact (\d+) of item (\d+)\?\s*", now)
    if not asked:
        return await tree_reply(body)
    if knows(int(asked[2]), int(asked[1])):
        return f"Intermediate answer: fact {asked[1]}"
    return "Let's search the question in Wikipedia."


def line(label: str, decision: str) -> dict[str, Any]:
    return {"method": "deeprag", "label": label, "settings": [f"method_settings.decision={decision}"]}


async def evaluated(folder: Path) -> str:
    """What `python -m src_eval.run` printed, after an exploration of its questions."""
    questions, corpus = write_items(folder, ITEMS)
    async with FakeLLM(decided_reply) as server:
        fixed = {
            "runs_dir": folder / "runs",
            "run_name": "trees",
            "n_sample": -1,
            "input_files": f"[{questions}]",
            "runtime.agent.url": server.url,
            "runtime.retriever": f"toy:{corpus}",
            "runtime.top_k": 1,
            "runtime.in_flight": 8,
        }
        settings = [f"{key}={value}" for key, value in fixed.items()]
        await finished("src_data.deeprag.explore", "configs/systems/deeprag/stage2-cpu.yaml", *settings)
        values = {
            "name": "t",
            "expected": "",
            "methods": [line("adaptive", "generate"), line("never", "never"), line("always", "always")],
            "datasets": [{"name": "items", "path": str(questions), "trees": str(folder / "runs/trees")}],
            "settings": [f"agent.url={server.url}", f"reader.url={server.url}", "constrain=off"],
            "servers": [f"retriever=toy:{corpus}", "in_flight=8", "top_k=1"],
            "never": "never",
            "runs_dir": str(folder / "runs"),
        }
        (folder / "t.yaml").write_text(json.dumps(values), encoding="utf-8")
        return await finished("src_eval.run", str(folder / "t.yaml"))


async def finished(module: str, *arguments: str) -> str:
    """What a command printed that has to succeed."""
    run = Run(module, arguments)
    out, err = await run.communicate()
    assert run.returncode == 0, err.decode()
    return out.decode()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deeprag")
    printed = asyncio.run(evaluated(folder))
    assert "Knowledge boundary: a question is known where never, with the same model" in printed
    return folder / "runs/eval-t"


def table(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["method"]: row for row in csv.DictReader(file)}


def test_every_cost_is_in_the_table_of_the_evaluation(home: Path) -> None:
    with (home / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = {(row["method"], row["metric"]): row for row in csv.DictReader(file)}
    columns = ["em", "f1", "searches", "searches_right", "searches_wrong", "tokens", "seconds"]
    assert [metric for method, metric in rows if method == "adaptive"] == columns
    em = {name: float(rows[name, "em"]["mean"]) for name in ("adaptive", "never", "always")}
    assert em["never"] < em["always"] == em["adaptive"] == 1.0
