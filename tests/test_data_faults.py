"""What becomes of a row when something breaks: `PYTHONPATH=. python tests/test_data_faults.py` prints the
table.

Each fault is injected into one chain of a run of the real entry point's code (mixture, loop, HTTP clients,
run directory, cleaning, export) against fake servers; a second run follows with the fault gone.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from helpers_llm import ROOT, FakeLLM, completion, item_of, step_for
from rich.console import Console

from src_core.config import load_config
from src_data.config import DataConfig
from src_data.original_keys import translate_overrides
from src_data.run import prepare, run

BROKEN = 3  # the item whose chain meets the fault
ITEMS = 6
Reply = Awaitable[str | web.StreamResponse]


@dataclass(frozen=True)
class Fault:
    """`what` breaks; the first `times` requests about the broken item meet it (a large number: all of the
    run). `after` is the status of its row after this run, `kept` whether cleaning kept it, then after a
    second run.
    """

    what: str
    where: str
    times: int
    after: str
    kept: bool
    kept_then: bool
    note: str


ALWAYS = 10_000
FAULTS = [
    Fault("HTTP 500", "teacher", 2, "finished", True, True, "retried with back-off"),
    Fault(
        "HTTP 500", "teacher", ALWAYS, "model_error", False, True, "row kept as failed, made by the next run"
    ),
    Fault("HTTP 400", "teacher", ALWAYS, "model_error", False, True, "not retried, made by the next run"),
    Fault("connection reset", "teacher", 2, "finished", True, True, "retried with back-off"),
    Fault("time-out", "teacher", 1, "finished", True, True, "retried with back-off"),
    Fault("truncated body", "teacher", 2, "finished", True, True, "half a JSON reply is retried"),
    Fault("empty reply", "teacher", 1, "finished", True, True, "the step is asked for again"),
    Fault("malformed action", "teacher", 2, "finished", True, True, "the step is asked for again"),
    Fault(
        "malformed action",
        "teacher",
        ALWAYS,
        "malformed_then_answered",
        False,
        False,
        "rejected with its reason; the model did answer, so it is not asked again",
    ),
    Fault("HTTP 500", "retriever", 2, "finished", True, True, "retried with back-off"),
    Fault(
        "HTTP 500", "retriever", ALWAYS, "retriever_error", False, True, "row kept as failed, made next time"
    ),
    Fault("connection reset", "retriever", ALWAYS, "retriever_error", False, True, "made by the next run"),
    Fault("truncated body", "retriever", 2, "finished", True, True, "retried with back-off"),
    Fault(
        "empty retrieval",
        "retriever",
        ALWAYS,
        "finished",
        True,
        True,
        "the reader is told so; cleaning decides",
    ),
]


class HangUp(web.Response):
    """Resets the connection instead of replying."""

    async def prepare(self, request: web.BaseRequest) -> Any:
        """Called by aiohttp when the reply would begin."""
        assert request.transport is not None
        request.transport.abort()
        return await super().prepare(request)


class Breaker:
    """Answers for `FakeLLM` and the fake retriever; breaks what the fault says until it is `mended`."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.left = fault.times

    def _due(self, where: str, item: int) -> bool:
        due = where == self.fault.where and item == BROKEN and self.left > 0
        self.left -= due
        return due

    async def chat(self, body: dict[str, Any]) -> str | web.StreamResponse:
        """A reply of the teacher or the reader."""
        reads = "Reasoning process" not in json.dumps(body["messages"])
        text = f"It says: item {item_of(body)}, item-{item_of(body)}." if reads else step_for(body)
        if reads or not self._due("teacher", item_of(body)):
            return text
        if self.fault.what == "empty reply":
            return ""
        if self.fault.what == "malformed action":
            return "Thought 1: I know it.\nAction 1: \n```\n{'function': 'open_door'\n```"
        return await self._break(completion(text))

    async def search(self, request: web.Request) -> web.StreamResponse:
        """A reply of the retriever."""
        body = await request.json()
        item = item_of({"messages": [{"content": body["query"]}]})
        found = [[{"id": f"p{item}", "contents": f"Item {item}\nIt is item-{item}."}], [1.0]]
        if not self._due("retriever", item):
            return web.json_response(found)
        if self.fault.what == "empty retrieval":
            return web.json_response([[], []])
        return await self._break(found)

    async def _break(self, payload: Any) -> web.StreamResponse:
        text = json.dumps(payload)
        if self.fault.what == "HTTP 500":
            return web.Response(status=500, text="out of order")
        if self.fault.what == "HTTP 400":
            return web.Response(status=400, text="no")
        if self.fault.what == "truncated body":
            return web.Response(text=text[: len(text) // 2], content_type="application/json")
        if self.fault.what == "time-out":
            await asyncio.sleep(1.0)
            return web.json_response(payload)
        return HangUp()


async def serve_retriever(breaker: Breaker) -> tuple[web.AppRunner, str]:
    """The fake retriever and its URL."""

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "healthy", "index": {"name": "fake"}})

    app = web.Application()
    app.router.add_get("/health", health)
    app.router.add_post("/search", breaker.search)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return runner, f"http://{host}:{port}"


def config_for(folder: Path, llm: str, retriever: str) -> DataConfig:
    """A run over `ITEMS` items in `folder`."""
    questions = folder / "questions.jsonl"
    rows = [{"question": f"What is item {k}?", "answer": f"item-{k}"} for k in range(ITEMS)]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    fixed = {
        "runs_dir": folder / "runs",
        "run_name": "r",
        "build_conv.input_files": f"[{questions}]",
        "build_conv.n_sample": -1,
        "build_conv.llm_api": llm,
        "build_conv.gen_api": llm,
        "build_conv.retriever_api": retriever,
        "build_conv.runtime.thinks": "false",
        "build_conv.max_tries": 4,
        "build_conv.runtime.agent.timeout": 0.5,
        "build_conv.runtime.reader.timeout": 0.5,
        "build_conv.num_workers": 3,
        "build_conv.runtime.agent.retry.first_wait": 0,
        "build_conv.runtime.agent.retry.longest_wait": 0,
        "build_conv.runtime.agent.retry.attempts": 4,
        "build_conv.runtime.reader.retry.first_wait": 0,
        "build_conv.runtime.reader.retry.longest_wait": 0,
        "build_conv.runtime.reader.retry.attempts": 4,
        "build_conv.runtime.retriever_retry.first_wait": 0,
        "build_conv.runtime.retriever_retry.longest_wait": 0,
        "build_conv.runtime.retriever_retry.attempts": 4,
    }
    settings = translate_overrides([f"{key}={value}" for key, value in fixed.items()])
    return load_config(DataConfig, None, settings)


@dataclass(frozen=True)
class Outcome:
    """The broken item after one run: its status ("" when it has no row), whether it was kept, and the exit
    status; `others` is how many of the other items were kept.
    """

    status: str
    kept: bool
    exit_status: int
    others: int


async def outcomes(fault: Fault, folder: Path) -> tuple[Outcome, Outcome]:
    """A run with the fault, and one after it has gone."""
    breaker = Breaker(fault)
    runner, retriever = await serve_retriever(breaker)
    quiet = Console(quiet=True)
    try:
        async with FakeLLM(breaker.chat) as llm:
            config = config_for(folder, llm.url, retriever)
            first = outcome(folder, await run(prepare(config), quiet, quiet))
            breaker.left = 0
            second = outcome(folder, await run(prepare(config), quiet, quiet))
    finally:
        await runner.cleanup()
    return first, second


def outcome(folder: Path, exit_status: int) -> Outcome:
    """Read the run directory."""

    def rows(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (folder / "runs/r" / name).read_bytes().splitlines()]

    mine = f"item-{BROKEN}"
    statuses = [row["status"] for row in rows("trajectories.jsonl") if row["question"]["answers"] == [mine]]
    assert len(statuses) == 1
    kept = [row["golds"] for row in rows("provenance.jsonl")]
    return Outcome(statuses[0], [mine] in kept, exit_status, len(kept) - ([mine] in kept))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.where}-{fault.what}-{fault.times}")
def test_every_fault_has_its_outcome_and_spares_the_others(
    fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    first, second = asyncio.run(outcomes(fault, tmp_path))
    assert (first.status, first.kept, second.kept) == (fault.after, fault.kept, fault.kept_then)
    assert first.exit_status == int(fault.after.endswith("_error"))
    assert second.exit_status == 0
    assert first.others == second.others == ITEMS - 1


def main() -> None:
    """Print the table."""
    say = Console(soft_wrap=True, markup=False).print
    say("| fault | where | how often | row after the run | kept | kept after the next run | what happens |")
    say("|---|---|---|---|---|---|---|")
    for fault in FAULTS:
        with tempfile.TemporaryDirectory() as name:
            first, second = asyncio.run(outcomes(fault, Path(name)))
        times = "always" if fault.times == ALWAYS else f"{fault.times}x"
        kept, then = ("yes" if outcome.kept else "no" for outcome in (first, second))
        say(f"| {fault.what} | {fault.where} | {times} | {first.status} | {kept} | {then} | {fault.note} |")


if __name__ == "__main__":
    main()
