"""An evaluation that is killed and started again at once: nothing is lost, doubled or failed, or runs on."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from helpers_llm import FakeLLM, step_for, write_items
from helpers_runs import Run

KILLS = 4
ITEMS = 14
METHODS = ("rearag", "naive_rag")


async def slow_step(body: dict[str, Any]) -> str:
    await asyncio.sleep(0.02)
    return step_for(body)


def still_running(folder: Path) -> list[str]:
    """The commands of runs below `folder` that are running."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if "src_infer.run" in command and str(folder) in command:
            found.append(command)
    return found


@pytest.mark.parametrize("kills", [KILLS, pytest.param(22, marks=pytest.mark.slow)])
def test_killed_again_and_again_every_question_is_there_once(kills: int, tmp_path: Path) -> None:
    draw = random.Random(7)
    count = ITEMS * max(1, kills // KILLS)
    questions, corpus = write_items(tmp_path, count)

    async def whole() -> None:
        async with FakeLLM(slow_step) as server:
            url = f"{server.url}"
            servers = f"servers=[agent.url={url}, reader.url={url}, 'retriever=toy:{corpus}', in_flight=2]"
            given = [
                "configs/eval/smoke.yaml",
                "infer=configs/infer/gpu.yaml",
                f"runs_dir={tmp_path}/runs",
                "name=k",
            ]
            given += [
                f"methods=[{', '.join(METHODS)}]",
                f"datasets=[{{name: items, path: {questions}}}]",
                servers,
            ]
            for number in range(kills):
                run = Run("src_eval.run", given)
                await server.requests(draw.randrange(1, 20))
                assert run.returncode is None, "finished before it was killed: give it more items"
                run.send_signal(signal.SIGKILL if number % 2 else signal.SIGTERM)
                _, err = await asyncio.wait_for(run.communicate(), 60)
                assert b"in use by another process" not in err
            for _ in range(100):
                if not still_running(tmp_path):
                    break
                await asyncio.sleep(0.1)
            assert still_running(tmp_path) == []
            last = Run("src_eval.run", given)
            out, err = await asyncio.wait_for(last.communicate(), 300)
            assert last.returncode == 0, (out, err)

    asyncio.run(whole())
    for method in METHODS:
        folder = tmp_path / f"runs/eval-k-items-{method}"
        rows = [json.loads(line) for line in (folder / "trajectories.jsonl").read_text().splitlines()]
        assert len({row["question"]["id"] for row in rows}) == len(rows) == count
        assert {row["status"] for row in rows} == {"finished"}
        assert not (folder / "failed.jsonl").exists()
