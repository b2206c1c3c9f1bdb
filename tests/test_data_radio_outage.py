"""The server of the rationales goes away in the middle of a stage, and comes back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers_llm import PATIENCE, FakeLLM
from helpers_radio import Radio, questions

TEXT = "The chronicle of the abbey dates its charter to that year."


@contextmanager
def serving(replies: int) -> Iterator[FakeLLM]:
    """A server in a thread of its own that is gone after so many replies."""
    ready, done = threading.Event(), threading.Event()
    made: list[FakeLLM] = []

    async def live() -> None:
        gone = asyncio.Event()

        async def handler(_: dict[str, Any]) -> str:
            if len(made[0].bodies) > replies:
                gone.set()
                await asyncio.Event().wait()
            return TEXT

        async with FakeLLM(handler) as server:
            made.append(server)
            ready.set()
            while not (gone.is_set() or done.is_set()):
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield made[0]
    finally:
        done.set()
        thread.join(PATIENCE)


def test_rationales_of_a_server_that_goes_away_stay_and_the_rest_is_asked_later(tmp_path: Path) -> None:
    radio = Radio(tmp_path, asked=questions(10))
    radio.settings |= {
        "rationales.endpoint.engine": "vllm",
        "rationales.endpoint.retry.first_wait": "0",
        "rationales.in_flight": "1",
    }
    with serving(replies=4) as server:
        gone = radio.stage("rationales", rationales__endpoint__url=server.url)
    assert gone.returncode == 2
    assert "to resume" in gone.stderr
    assert gone.stderr.count("error: ") == 1
    first = radio.rows("rationales.jsonl")
    assert [row["outcome"] for row in first] == ["written"] * 4
    with serving(replies=99) as server:
        again = radio.stage("rationales", rationales__endpoint__url=server.url)
    assert again.returncode == 0, again.stderr
    assert len(server.bodies) == 6  # none is asked twice
    rows = radio.rows("rationales.jsonl")
    assert rows[:4] == first
    assert (len(rows), len({row["id"] for row in rows})) == (10, 10)
