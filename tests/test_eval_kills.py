"""An evaluation that is killed again and again: the same command ends it; nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest
from helpers_llm import PATIENCE, FakeLLM, step_for, write_items
from helpers_runs import Run

ITEMS = 30
METHODS = ("rearag", "naive_rag")


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The whole rows of a run; a kill may leave a torn line behind them."""
    path = folder / "trajectories.jsonl"
    lines = path.read_bytes().rpartition(b"\n")[0].splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("kills", [6, pytest.param(22, marks=pytest.mark.slow)])
def test_kills_of_an_evaluation_lose_nothing_and_double_nothing(tmp_path: Path, kills: int) -> None:
    draw = random.Random(22)
    questions, corpus = write_items(tmp_path, ITEMS)

    async def slow(body: dict[str, Any]) -> str:
        await asyncio.sleep(0.01)
        return step_for(body)

    async def run() -> int:
        async with FakeLLM(slow) as server:
            servers = [f"agent.url={server.url}", f"reader.url={server.url}", f"retriever=toy:{corpus}"]
            command = [
                *("configs/eval/smoke.yaml", "infer=configs/infer/gpu.yaml", f"runs_dir={tmp_path / 'runs'}"),
                *("name=k", "expected=", f"methods=[{', '.join(METHODS)}]"),
                f"datasets=[{{name: items, path: {questions}, n: {ITEMS}}}]",
                f"servers=[{', '.join([*servers, 'in_flight=2'])}]",
            ]
            killed = 0
            for turn in range(kills):
                evaluation = Run("src_eval.run", command)
                if turn % 5:
                    await server.requests(draw.randrange(1, 6))
                else:  # while folders and locks are made
                    await asyncio.sleep(draw.uniform(0, 0.8))
                killed += evaluation.returncode is None
                evaluation.kill()
                await evaluation.communicate()
            last = Run("src_eval.run", command)
            _, err = await asyncio.wait_for(last.communicate(), PATIENCE)
            assert last.returncode == 0, err.decode()
            return killed

    assert asyncio.run(run()) == kills, "it ended before it was killed: give it more items"
    for method in METHODS:
        rows = rows_of(tmp_path / f"runs/eval-k-items-{method}")
        asked = [row["question"]["question"] for row in rows]
        assert len(asked) == len(set(asked)) == ITEMS, method
        assert {row["status"] for row in rows} == {"finished"}, method
