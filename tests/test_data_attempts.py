"""The cold start of R3-RAG (configs/systems/r3rag/coldstart.yaml): attempts of a question one after the other
until one is right, the first of them greedy.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from helpers_llm import FakeLLM, item_of, write_items
from helpers_runs import Run

from src_data.construction.construct import ALREADY_RIGHT

COLDSTART = "configs/systems/r3rag/coldstart.yaml"
RIGHT_AT = {0: 0, 1: 1}
"""The attempt of an item that is right; item 2 has none."""
ATTEMPTS = 4


class Teacher:
    """Answers at its first step; the requests of each item are kept."""

    def __init__(self) -> None:
        self.asked: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self.open: dict[int, int] = defaultdict(int)
        self.most_open = 0

    async def reply(self, body: dict[str, Any]) -> str:
        item = item_of(body)
        attempt = len(self.asked[item])
        self.asked[item].append(body)
        self.open[item] += 1
        self.most_open = max(self.most_open, self.open[item])
        await asyncio.sleep(0.02)
        self.open[item] -= 1
        answer = f"item-{item}" if RIGHT_AT.get(item) == attempt else "something else"
        return f"Step 1:\nThe problem analysis: It is well known.\nThe final answer: {answer}"


def constructed(folder: Path, teacher: Teacher, *more: str) -> dict[tuple[int, int], dict[str, Any]]:
    """A run over three items; its rows by item and attempt."""
    questions, corpus = write_items(folder, 3)

    async def run() -> tuple[int | None, bytes]:
        async with FakeLLM(teacher.reply) as server:
            settings = [
                f"build_conv.input_files=[{questions}]",
                f"build_conv.n_chains={ATTEMPTS}",
                f"build_conv.runtime.agent.url={server.url}",
                f"build_conv.runtime.retriever=toy:{corpus}",
                f"runs_dir={folder}/runs",
            ]
            made = Run("src_data.run", [COLDSTART, *settings, *more])
            _, err = await asyncio.wait_for(made.communicate(), 120)
            return made.returncode, err

    status, err = asyncio.run(run())
    assert status == 0, err.decode()
    lines = (folder / "runs/r3rag-coldstart/trajectories.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    found = {(int(row["question"]["question"][-2]), row["provenance"]["chain"]): row for row in rows}
    assert len(found) == len(rows) == 3 * ATTEMPTS
    return found


def temperatures(teacher: Teacher, item: int) -> list[float]:
    return [body["temperature"] for body in teacher.asked[item]]


def test_attempts_end_with_the_first_right_one_and_the_first_is_greedy(tmp_path: Path) -> None:
    teacher = Teacher()
    rows = constructed(tmp_path, teacher)
    for item, made in ((0, 1), (1, 2), (2, ATTEMPTS)):
        assert temperatures(teacher, item) == [0.0, 0.9, 0.9, 0.9][:made]
        statuses = [rows[item, attempt]["status"] for attempt in range(ATTEMPTS)]
        assert statuses == ["finished"] * made + ["refused"] * (ATTEMPTS - made)
        refused = [rows[item, attempt] for attempt in range(made, ATTEMPTS)]
        assert {row["error"] for row in refused} <= {ALREADY_RIGHT}
    assert [rows[1, attempt]["answer"] for attempt in (0, 1)] == ["something else", "item-1"]
    assert teacher.most_open == 1  # of one question; with many in flight
    assert {body["top_p"] for body in teacher.asked[2]} == {1.0}
    assert len({body["seed"] for body in teacher.asked[2]}) == ATTEMPTS


def test_a_resumed_run_makes_no_attempt_after_a_right_one_on_disk(tmp_path: Path) -> None:
    constructed(tmp_path, Teacher())
    rows = tmp_path / "runs/r3rag-coldstart/trajectories.jsonl"
    lines = rows.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["provenance"]["chain"] < 2]
    rows.write_text("".join(kept), encoding="utf-8")
    teacher = Teacher()
    again = constructed(tmp_path, teacher, "on_existing=resume_anyway")  # the server has another port
    assert {item: len(asked) for item, asked in teacher.asked.items()} == {2: 2}
    assert temperatures(teacher, 2) == [0.9, 0.9]  # the greedy attempt was the first one
    assert [again[1, attempt]["error"] for attempt in (2, 3)] == [ALREADY_RIGHT] * 2


@pytest.mark.parametrize("greedy", [True, False])
def test_without_until_right_all_attempts_are_made(tmp_path: Path, *, greedy: bool) -> None:
    teacher = Teacher()
    more = ("build_conv.until_right=false", f"build_conv.first_greedy={str(greedy).lower()}")
    rows = constructed(tmp_path, teacher, *more)
    assert {row["status"] for row in rows.values()} == {"finished"}
    assert sorted(temperatures(teacher, 0)) == [0.0 if greedy else 0.9, 0.9, 0.9, 0.9]
    assert teacher.most_open > 1
