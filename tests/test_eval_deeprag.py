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
from helpers_trees import GOLD, facts, knows, tree_reply

from src_core.jsonl import read_jsonl
from src_core.page_tree import page_tree
from src_core.types import to_json, trajectory_from_json
from src_eval.report.report_page import write_report
from src_eval.report.run_files import read_scored_run
from src_eval.scoring import score_run

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
    searches = {name: float(rows[name, "searches"]["mean"]) for name in em}
    assert searches["never"] == 0 < searches["adaptive"] < searches["always"]
    assert rows["always", "searches_right"]["mean"] == rows["always", "searches"]["mean"]
    assert rows["always", "searches_wrong"]["mean"] == ""  # none is wrong
    assert float(rows["never", "tokens"]["mean"]) > 0


def test_the_front_and_the_boundary_are_those_of_the_decisions(home: Path) -> None:
    pareto = table(home / "pareto.csv")
    assert pareto["never"]["front"] == pareto["adaptive"]["front"] == "yes"
    assert pareto["always"]["front"] == "beaten by adaptive"
    with (home / "boundary.csv").open(encoding="utf-8", newline="") as file:
        found = {(row["method"], row["level"]): row for row in csv.DictReader(file)}
    assert {method for method, _ in found} == {"adaptive", "always"}
    for level in ("question", "sub-question"):  # it searches just what it does not know
        assert found["adaptive", level]["MCC"].startswith("1.000 [1.000")
        assert found["adaptive", level]["TP/FP/FN/TN"].split("/")[1:3] == ["0", "0"]
        assert found["always", level]["MCC"] == "0.000 [0.000, 0.000] (d)"
    part = found["adaptive", "sub-question"]
    asked = sum(map(int, part["TP/FP/FN/TN"].split("/")))
    assert asked == sum(facts(item) for item in range(ITEMS)) == int(part["n"])


def test_the_page_has_figure_tables_and_links_and_the_rows_have_trees(home: Path) -> None:
    page = (home / "index.html").read_text(encoding="utf-8")
    for heading in ("Right answers against searches", "Knowledge boundary"):
        assert f"<h2>{heading}</h2>" in page
    assert page.count("<path class=curve") == 1  # one method, one model
    for name in ("adaptive", "never", "always"):
        assert f'<a href="../eval-t-items-{name}/report.html">{name}</a>' in page
    rows = list(read_jsonl(home.parent / "eval-t-items-adaptive/trajectories.jsonl"))
    trees = [page_tree(trajectory_from_json(to_json(row))) for row in rows]
    assert len(trees) == ITEMS
    for row, tree in zip(rows, trees, strict=True):
        assert tree is not None
        left = [node for node in tree["nodes"] if node.get("lost") == "not taken"]
        assert len(left) == len(row["provenance"]["decisions"])
        assert tree["nodes"][-1]["answer"] == row["answer"]


def test_an_exploration_has_a_report_with_its_trees(home: Path) -> None:
    folder = home.parent / "trees"
    score_run(folder)
    run = read_scored_run(folder)
    assert len(run.trajectories) == ITEMS
    assert write_report(home / "trees.html", [run]) > 0
    drawn = [page_tree(row) for row in run.trajectories]
    assert all(tree and any(node.get("won") for node in tree["nodes"]) for tree in drawn)
