"""DeepRAG's Stage I, our tree search against the order and the calls of the release:

    python scripts/bench/tree_search.py [questions=100] [in_flight=8]     over a fake server (`fake_slots.py`)
    python scripts/bench/tree_search.py --server http://127.0.0.1:9891/v1 [questions=6]       over a real one

Both sides make the same trees with the same roles, prompts, client and retriever. The other side takes from
the release (reference deeprag.md, sections 6 and 15): both children of a node have the priority of the
searched one, in a heap that compares nothing else; an empty direct answer abandons both; the calls of a
question come one after the other, and none is saved; at the fake server a slot is drawn for each request.
Ours runs as `src_data.deeprag.explore` does, with both children at once and with children as needed.

Printed for each side: solved questions, the share of them with more searches than needed (against all paths
at the fake server, against our side at a real one), and per question LLM calls, prompt tokens that the server
computed, tokens that it wrote (both by its counters) and seconds (of all questions, divided by their number).
The last line is one JSON object. With `--server` the questions are those of the sample world, our side goes
first, and the server is the embedded one, or another with llama.cpp's `/metrics`, which nobody else uses.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fake_slots import best
from release_tree import release_search
from rich.console import Console
from rich.table import Table

from src_core.config import NotNegative, Positive, config_class, load_config
from src_core.errors import UserError, run_main
from src_core.types import Passage, Question, question_id
from src_data.deeprag.config import ExploreConfig
from src_data.deeprag.question_tree import explore
from src_infer.deeprag.players import teacher_roles
from src_infer.metering import metered
from src_infer.runtime import Runtime, open_runtime
from src_infer.search_tree import Children
from src_infer.tree_roles import RolesExpander
from src_retrieval.client import Retriever
from src_tasks.metrics import is_right
from src_tasks.readers.sources import read_questions

REPO = Path(__file__).resolve().parents[2]
CONFIG = REPO / "configs/systems/deeprag/stage1-cpu.yaml"
WORLD = "data/sample_world"
COUNTERS = ("llamacpp:prompt_tokens_total", "llamacpp:tokens_predicted_total")


@config_class
class Settings:
    """What to measure. `max_steps` sub-questions per path at most, for both sides. Of the fake server:
    `slots`, tokens per second of prompts (`prefill`) and replies (`decode`) in each slot, and how many times
    faster than said it answers (`speed`); a search takes `search_seconds` on both sides. `same_answers`: see
    there.
    """

    questions: Positive = 100
    in_flight: Positive = 8
    max_steps: Positive = 6
    slots: Positive = 4
    prefill: Positive = 4000
    decode: Positive = 60
    speed: Positive = 6
    search_seconds: NotNegative = 0.05
    same_answers: bool = True


class Found(NamedTuple):
    """The searches on the path that a side found, None where it found none, and its LLM calls."""

    searches: int | None
    calls: int


Search = Callable[[Question, ExploreConfig, Runtime], Awaitable[Found]]


class Side(NamedTuple):
    """A side: its name, the questions at once, where it asks the fake server, its search."""

    name: str
    in_flight: int
    base: str
    search: Search


@dataclass(frozen=True, slots=True)
class Measured:
    """What a side found, in seconds and tokens of the server."""

    side: Side
    found: list[Found]
    seconds: float
    computed: int
    written: int


def main() -> None:
    """Start the fake server or use a real one, measure each side, print."""
    arguments = sys.argv[1:]
    url = ""
    if "--server" in arguments:
        at = arguments.index("--server")
        if len(arguments) < at + 2:
            raise UserError("--server has no address; add it, as in --server http://127.0.0.1:9891/v1")
        _, url = arguments[at : at + 2]
        del arguments[at : at + 2]
    settings = load_config(Settings, None, arguments)
    os.chdir(REPO)
    if url:
        settings = replace(settings, speed=1)
        questions = read_questions(f"{WORLD}/questions.jsonl", limit=settings.questions)
        if not _answers(url):
            raise UserError(f"no server answers at {url}; start one with src_models.llama_server")
        last_first = _sides(settings)[::-1]  # what the server still has in its cache helps the release
        done = [asyncio.run(_measure(side, settings, questions, url)) for side in last_first][::-1]
        least = [found.searches for found in done[2].found]
    else:
        questions = [_item(number) for number in range(settings.questions)]
        least = [best(number, same=settings.same_answers) for number in range(settings.questions)]
        with _fake_server(settings) as root:
            urls = [(side, f"{root}{side.base}/v1") for side in _sides(settings)]
            done = [asyncio.run(_measure(side, settings, questions, at)) for side, at in urls]
    _report(done, least, speed=settings.speed)


def _sides(settings: Settings) -> list[Side]:
    return [
        Side("release, one question at a time", 1, "/random", _theirs),
        Side("release", settings.in_flight, "/random", _theirs),
        Side("ours, both children at once", settings.in_flight, "", partial(_ours, Children.AT_ONCE)),
        Side("ours, children as needed", settings.in_flight, "", partial(_ours, Children.AS_NEEDED)),
    ]


async def _ours(children: Children, question: Question, config: ExploreConfig, runtime: Runtime) -> Found:
    row = await explore(question, replace(config, children=children), runtime)
    if row.status.retryable:
        raise SystemExit(f"a question failed: {row.error}")
    tree = row.provenance["tree"]
    return Found(None if tree.winner is None else tree.nodes[tree.winner].retrievals, row.usage.calls)


async def _theirs(question: Question, config: ExploreConfig, runtime: Runtime) -> Found:
    roles = teacher_roles(runtime, config.roles, prompt=config.teacher_prompt)
    judge = partial(is_right, golds=question.answers, min_f1=config.min_f1)
    with metered() as meter:
        searches = await release_search(
            question.question,
            new_expander=lambda: RolesExpander(roles),
            judge=judge,
            max_steps=config.tree.max_steps,
        )
    return Found(searches, meter.usage.calls)


class _SlowRetriever:
    """Finds what the toy retriever finds, after some time."""

    def __init__(self, retriever: Retriever, seconds: float) -> None:
        self._retriever, self._seconds = retriever, seconds

    async def search(self, query: str, top_n: int) -> list[Passage]:
        """See `Retriever.search`."""
        await asyncio.sleep(self._seconds)
        return await self._retriever.search(query, top_n)

    async def passages(self, ids: Sequence[str]) -> list[Passage]:
        """See `Retriever.passages`."""
        return await self._retriever.passages(ids)

    async def close(self) -> None:
        """Closed by its owner."""


async def _measure(side: Side, settings: Settings, questions: Sequence[Question], url: str) -> Measured:
    wanted = {
        "runtime.agent.url": url,
        "runtime.reader.url": url,
        "runtime.retriever": f"toy:{WORLD}/corpus.jsonl",
        "runtime.in_flight": side.in_flight,
        "tree.max_steps": settings.max_steps,
        "tree.max_nodes": 2000,
        "tree.max_seconds": 0,
    }
    config = load_config(ExploreConfig, CONFIG, [f"{key}={value}" for key, value in wanted.items()])
    places = asyncio.Semaphore(side.in_flight)
    async with open_runtime(config.runtime, needs_reader=True, section="runtime.") as opened:
        slow = _SlowRetriever(opened.retriever, settings.search_seconds / settings.speed)
        runtime = replace(opened, retriever=slow)

        async def one(question: Question) -> Found:
            async with places:
                return await side.search(question, config, runtime)

        await side.search(questions[0], config, runtime)  # whatever the server was asked last
        before, begun = _counters(url), time.perf_counter()
        found = await asyncio.gather(*(one(question) for question in questions))
        seconds = time.perf_counter() - begun
    computed, written = (now - then for now, then in zip(_counters(url), before, strict=True))
    return Measured(side, found, seconds, computed, written)


def _counters(url: str) -> list[int]:
    """The server's totals of computed prompt tokens and of written tokens."""
    root = url.removesuffix("/").removesuffix("/v1").removesuffix("/random")
    with urllib.request.urlopen(f"{root}/metrics", timeout=60) as reply:
        lines = [line.split() for line in reply.read().decode().splitlines() if not line.startswith("#")]
    values = {line[0]: float(line[1]) for line in lines if len(line) == 2}
    if missing := [name for name in COUNTERS if name not in values]:
        raise UserError(f"{root}/metrics has no {missing[0]}; use a server that counts as llama.cpp does")
    return [int(values[name]) for name in COUNTERS]


def _answers(url: str) -> bool:
    with suppress(OSError):
        return bool(_counters(url))
    return False


def _item(number: int) -> Question:
    text = f"What is item {number}?"
    return Question(question_id(text, ()), text, ("right",))


@contextmanager
def _fake_server(settings: Settings) -> Iterator[str]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = int(holder.getsockname()[1])
    script = str(Path(__file__).with_name("fake_slots.py"))
    numbers = (settings.slots, settings.prefill, settings.decode, settings.speed, int(settings.same_answers))
    process = subprocess.Popen([sys.executable, script, *map(str, (port, *numbers))])
    root = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while not _answers(root):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the fake server did not start")
            time.sleep(0.1)
        yield root
    finally:
        process.terminate()
        process.wait()


def _report(done: Sequence[Measured], least: Sequence[int | None], *, speed: int) -> None:
    table = Table(title="DeepRAG, Stage I: search of the tree", header_style="bold")
    columns = ("side", "at once", "solved", "not minimal", "calls", "computed", "written", "seconds", "ratio")
    for name in columns:
        table.add_column(name, justify="left" if name == "side" else "right")
    rows = [_figures(each, least, speed) for each in done]
    for row in rows:
        row["ratio_to_one_at_a_time"] = round(row["seconds"] / rows[0]["seconds"], 3)
        row["ratio_to_same_at_once"] = round(row["seconds"] / rows[1]["seconds"], 3)
        table.add_row(
            row["side"], str(row["at_once"]), str(row["solved"]), f"{row['not_minimal']:.1%}",
            f"{row['calls']:.1f}", f"{row['computed']:,.0f}", f"{row['written']:,.0f}",
            f"{row['seconds']:.2f}", f"{row['ratio_to_one_at_a_time']} / {row['ratio_to_same_at_once']}",
        )  # fmt: skip
    Console(width=120).print(table)
    print(json.dumps(rows))


def _figures(done: Measured, least: Sequence[int | None], speed: int) -> dict[str, Any]:
    count = len(done.found)
    both = zip((found.searches for found in done.found), least, strict=True)
    solved = [(searches, fewest) for searches, fewest in both if searches is not None]
    more = sum(fewest is None or searches > fewest for searches, fewest in solved)
    return {
        "side": done.side.name,
        "at_once": done.side.in_flight,
        "questions": count,
        "solved": len(solved),
        "solvable": sum(fewest is not None for fewest in least),
        "searches": round(sum(searches for searches, _ in solved) / max(1, len(solved)), 3),
        "not_minimal": round(more / max(1, len(solved)), 4),
        "calls": round(sum(found.calls for found in done.found) / count, 2),
        "computed": round(done.computed / count, 1),
        "written": round(done.written / count, 1),
        "seconds": round(done.seconds * speed / count, 3),
    }


if __name__ == "__main__":
    run_main(main)
