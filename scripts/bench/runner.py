"""The runner at full load against a fake LLM server: python scripts/bench/runner.py [questions=4000]

Runs the real `rearag` method through the real client and runner, writing real rows, against `fake_llm.py` in
two separate processes, whose replies take lognormal times (0.3 to 3 s). Reported:

- share of the bound: max(sum of all latencies / in flight, longest question) over the measured time.
  The bound ignores that the last questions cannot use all places
- share of the schedule: the time that the same questions, in the same order, need with the same number of
  places and no overhead at all, over the measured time
- CPU time of this process (loop, client, parser, renderer, rows) per LLM call
- questions per second beside four threads that call the same server over blocking connections
  (`http.client`, kept alive), over a subset, with the same method code

The last line is one JSON object.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fake_llm import latencies
from fake_servers import BlockingModel, fake_servers
from load import LoadSettings, Measured, compared, measure_blocking, print_figures, stopwatch

from src_core.config import config_class, load_config
from src_core.errors import run_main
from src_core.types import Question, Status, Trajectory, question_id, trajectory_from_json
from src_infer.config import InferConfig
from src_infer.methods import load_method
from src_infer.runner import run_all
from src_infer.runtime import open_runtime

REPO = Path(__file__).resolve().parents[2]
METHOD = load_method("rearag")


@config_class
class Settings(LoadSettings):
    """What to measure: how many questions."""

    questions: int = 4000


def main() -> None:
    """Start the servers, measure both sides, print."""
    settings = load_config(Settings, None, sys.argv[1:])
    os.chdir(REPO)
    with fake_servers(settings.servers) as port, tempfile.TemporaryDirectory() as folder:
        config = settings_for([port], Path(folder), in_flight=settings.in_flight)
        questions = [item_question(item) for item in range(settings.questions)]
        ours = asyncio.run(ask_all(config, questions, rows=Path(folder) / "rows.jsonl"))
        theirs = measure_blocking(
            questions[: settings.blocking],
            lambda mine: _answer_blocking(config, mine, port=port),
            threads=settings.threads,
        )
    all_right(ours.rows, questions)
    all_right(theirs.rows, questions[: settings.blocking])
    _report(settings, ours, theirs)


def item_question(item: int) -> Question:
    """The question about an item."""
    text = f"What is item {item}?"
    return Question(question_id(text, ()), text, (f"item-{item}",))


def settings_for(ports: Sequence[int], folder: Path, *, in_flight: int) -> InferConfig:
    """The settings of a run against the servers at these ports, of which each plays both roles."""
    corpus = folder / "corpus.jsonl"
    passages = [{"id": str(n), "contents": f"Fact {n}\n" + "A fact about an item. " * 20} for n in range(4)]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in passages), encoding="utf-8")
    url = ",".join(f"http://127.0.0.1:{port}/v1" for port in ports)
    return load_config(
        InferConfig,
        REPO / "configs/infer/gpu.yaml",
        [f"agent.url={url}", f"reader.url={url}", f"retriever=toy:{corpus}", f"in_flight={in_flight}"],
    )


async def ask_all(config: InferConfig, questions: Sequence[Question], *, rows: Path) -> Measured:
    """The run of these questions."""
    async with open_runtime(config, settings=METHOD.settings) as runtime:
        with stopwatch() as spent:
            await run_all(
                questions,
                answer=lambda question: METHOD.run(question, runtime),
                in_flight=config.in_flight,
                rows=rows,
                on_row=lambda _: None,
            )
    return Measured([trajectory_from_json(line) for line in rows.read_bytes().splitlines()], spent)


async def _answer_blocking(
    config: InferConfig, questions: Sequence[Question], *, port: int
) -> list[Trajectory]:
    model = BlockingModel(port)
    try:
        async with open_runtime(config, settings=METHOD.settings) as opened:
            runtime = model.takes_over(opened, config)
            return [await METHOD.run(question, runtime) for question in questions]
    finally:
        await model.close()


def all_right(done: Sequence[Trajectory], questions: Sequence[Question]) -> None:
    """Every question was answered rightly in as many calls as planned; else the figures mean nothing."""
    planned = {question.id: len(latencies(_item(question))) for question in questions}
    for row in done:
        right = row.status is Status.FINISHED and row.answer == row.question.answers[0]
        if not right or row.usage.calls != planned.pop(row.question.id):
            raise SystemExit(f"a question failed: {row}")
    if planned:
        raise SystemExit(f"{len(planned)} questions are missing")


def _item(question: Question) -> int:
    return int(question.answers[0].removeprefix("item-"))


def _schedule(lengths: Sequence[float], places: int) -> float:
    """The time of a greedy schedule in order, without overhead."""
    free = [0.0] * places
    for length in lengths:
        heapq.heappush(free, heapq.heappop(free) + length)
    return max(free)


def _report(settings: Settings, ours: Measured, theirs: Measured) -> None:
    lengths = [sum(latencies(item)) for item in range(settings.questions)]
    bound = max(sum(lengths) / settings.in_flight, max(lengths))
    schedule = _schedule(lengths, settings.in_flight)
    figures = {
        **compared(ours, theirs, settings, unit="questions"),
        "bound_seconds": round(bound, 2),
        "schedule_seconds": round(schedule, 2),
        "share_of_bound": round(bound / ours.spent.seconds, 4),
        "share_of_schedule": round(schedule / ours.spent.seconds, 4),
    }
    print_figures("runner against a fake LLM server", figures)


if __name__ == "__main__":
    run_main(main)
