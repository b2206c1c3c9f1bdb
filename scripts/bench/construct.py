"""Data construction at full load against a fake teacher: python scripts/bench/construct.py [chains=2000]

Two parts, each with the real mixture, loop, parser, run directory and rows:

- speed: teacher and reader are `fake_llm.py` (lognormal latencies, 0.3 to 3 s) over HTTP; trajectories per
second with `in_flight` at once, compared with four threads that construct the same trajectories over
blocking connections, as the original's loop does - memory: a teacher without latency in a separate process;
the peak resident memory of mixing, constructing, filtering and exporting for `small` and for `large`
questions

The last line is one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fake_llm import THOUGHT, searches
from fake_servers import BlockingModel, fake_servers
from load import LoadSettings, Measured, compared, measure_blocking, print_figures, stopwatch

from src_core.config import config_class, load_config
from src_core.errors import run_main
from src_core.llm import Completion, Endpoint
from src_core.passage_view import PassageView
from src_core.protocols.rearag import ReaRag, parse_step, render_step
from src_core.protocols.records import ParsedStep, ParseError
from src_core.rundir import RunDir
from src_core.types import (
    NO_USAGE,
    Finish,
    Passage,
    Question,
    Search,
    Status,
    Step,
    Trajectory,
    question_id,
)
from src_data.config import DataConfig
from src_data.construction.construct import Chain, construct, make_chain
from src_data.postprocess import finish_run
from src_data.run import mixed_questions
from src_data.teachers.llm import LlmTeacher
from src_infer.config import RuntimeConfig
from src_infer.episode import Limits, StepWriter
from src_infer.rag_engine import ObservationMode
from src_infer.runtime import make_rag, open_runtime

REPO = Path(__file__).resolve().parents[2]
CORPUS = REPO / "data/sample_world/corpus.jsonl"


@config_class
class Settings(LoadSettings):
    """The number of trajectories, and the numbers of questions for the memory part. `memory_of` is set for
    the process of that part.
    """

    chains: int = 2000
    small: int = 10_000
    large: int = 100_000
    memory_of: int = 0


def main() -> None:
    """Measure both parts, print; or, as the child of the second one, run it and print its peak."""
    settings = load_config(Settings, None, sys.argv[1:])
    os.chdir(REPO)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if settings.memory_of:
            _run_for_memory(settings.memory_of, folder, in_flight=settings.in_flight)
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
            return
        questions = [_question(item) for item in range(settings.chains)]
        with fake_servers(settings.servers) as port:
            ours = asyncio.run(_make_ours(questions, folder, port=port, in_flight=settings.in_flight))
            theirs = measure_blocking(
                questions[: settings.blocking],
                lambda mine: _make_blocking(mine, port=port),
                threads=settings.threads,
            )
    _check(ours.rows, questions)
    _check(theirs.rows, questions[: settings.blocking])
    small, large = _peak_mb(settings.small), _peak_mb(settings.large)
    _report(settings, ours, theirs, peaks=(small, large))


def _question(item: int) -> Question:
    text = f"What is item {item}?"
    return Question(question_id(text, (f"item {item}",)), text, (f"item {item}",), meta={"dataset": "fake"})


def _config(port: int, *, in_flight: int) -> RuntimeConfig:
    """The server on `port` is teacher and reader."""
    server = Endpoint(url=f"http://127.0.0.1:{port}/v1")
    return RuntimeConfig(
        agent=server,
        reader=server,
        retriever=f"toy:{CORPUS}",
        view=PassageView(700),
        limits=Limits(t_max=25),
        in_flight=in_flight,
    )


async def _make_ours(questions: Sequence[Question], folder: Path, *, port: int, in_flight: int) -> Measured:
    constructed: list[Trajectory] = []
    rundir = RunDir(folder / "run", config={})
    try:
        async with open_runtime(_config(port, in_flight=in_flight)) as runtime:
            with stopwatch() as spent:
                await construct(
                    questions,
                    teacher=LlmTeacher(runtime.policy),
                    runtime=runtime,
                    rundir=rundir,
                    n_chains=1,
                    in_flight=in_flight,
                    on_row=lambda row: constructed.append(row) if row else None,
                )
    finally:
        rundir.close()
    return Measured(constructed, spent)


async def _make_blocking(questions: Sequence[Question], *, port: int) -> list[Trajectory]:
    config = _config(port, in_flight=1)
    model = BlockingModel(port)
    try:
        async with open_runtime(config) as opened:
            runtime = model.takes_over(opened, config)
            teacher = LlmTeacher(runtime.policy)
            return [await make_chain(Chain(question, 0), teacher, runtime) for question in questions]
    finally:
        await model.close()


def _check(constructed: Sequence[Trajectory], questions: Sequence[Question]) -> None:
    """Exit where a trajectory is missing or failed: the figures would be meaningless."""
    wrong = [row for row in constructed if row.status is not Status.FINISHED]
    if wrong or {row.question.id for row in constructed} != {question.id for question in questions}:
        raise SystemExit(
            f"{len(wrong)} trajectories failed, {len(constructed)} of {len(questions)} were constructed"
        )


class InstantTeacher:
    """Writes the steps of `fake_llm.py` without any latency."""

    name = "instant"

    def seed(self, chain: int) -> int | None:  # noqa: ARG002
        """None."""
        return None

    def refuses(self, question: Question) -> str | None:  # noqa: ARG002
        """Never."""
        return None

    def writer(self, question: Question, chain: int) -> StepWriter:  # noqa: ARG002
        """The step writer of one trajectory."""
        return InstantWriter(int(question.answers[0].removeprefix("item ")))


class InstantWriter(StepWriter):
    """Writes the trajectory of one item."""

    def __init__(self, item: int) -> None:
        self._item = item

    async def generate(
        self,
        question: str,  # noqa: ARG002
        steps: Sequence[Step],  # noqa: ARG002
        *,
        n: int,
        attempt: int,  # noqa: ARG002
        functions: Sequence[str],  # noqa: ARG002
    ) -> Completion:
        """Step `n`."""
        await asyncio.sleep(0)
        more = n <= searches(self._item)
        action = Search(f"What is fact {n} of item {self._item}?") if more else Finish(f"item {self._item}")
        return Completion(render_step(n, THOUGHT, action), "stop", NO_USAGE)

    def parse(self, reply: Completion, functions: Sequence[str]) -> ParsedStep | ParseError:  # noqa: ARG002
        """As ReaRAG's format."""
        return parse_step(reply.text)


class InstantRetriever:
    """Has one passage for every query, which says that the thing asked for is known."""

    async def search(self, query: str, top_n: int) -> list[Passage]:  # noqa: ARG002
        """The passage."""
        return [Passage(query, "", f"{query.removesuffix('?').removeprefix('What is ')} is known. " * 4, 1.0)]

    async def passages(self, ids: Sequence[str]) -> list[Passage]:
        """The passages of these queries."""
        return [passage for query in ids for passage in await self.search(query, 1)]

    async def close(self) -> None:
        """Nothing to close."""


def _run_for_memory(count: int, folder: Path, *, in_flight: int) -> None:
    """The whole pipeline over `count` questions from a file."""
    source = folder / "questions.jsonl"
    with source.open("w", encoding="utf-8") as handle:
        for item in range(count):
            handle.write(json.dumps({"question": f"What is item {item}?", "answer": f"item {item}"}) + "\n")
    config = load_config(
        DataConfig,
        None,
        [
            f"build_conv.input_files=[{source}]",
            "build_conv.n_sample=-1",
            f"runs_dir={folder}",
            "run_name=memory",
        ],
    )
    questions = mixed_questions(config.build_conv)
    rundir = RunDir(folder / "memory", config={})
    try:
        asyncio.run(_make_instantly(questions, rundir, in_flight=in_flight))
        protocol = ReaRag(config.build_conv.runtime.prompt.style())
        finish_run(rundir.path, clean=config.clean_conv, export=config.export, protocol=protocol)
    finally:
        rundir.close()


async def _make_instantly(questions: Iterable[Question], rundir: RunDir, *, in_flight: int) -> None:
    config = RuntimeConfig(
        retriever=f"toy:{CORPUS}", observation_mode=ObservationMode.PASSAGES, limits=Limits(t_max=25)
    )
    rag = make_rag(config, retriever=InstantRetriever(), reader=None)
    async with open_runtime(config, needs_agent=False, needs_reader=False) as opened:
        await construct(
            questions,
            teacher=InstantTeacher(),
            runtime=replace(opened, rag=rag),
            rundir=rundir,
            n_chains=1,
            in_flight=in_flight,
            on_row=lambda _: None,
        )


def _peak_mb(count: int) -> int:
    done = subprocess.run(
        [sys.executable, __file__, f"memory_of={count}"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"the memory part failed:\n{done.stderr[-2000:]}")
    return int(done.stdout.split()[-1])


def _report(settings: Settings, ours: Measured, theirs: Measured, *, peaks: tuple[int, int]) -> None:
    figures = {
        **compared(ours, theirs, settings, unit="chains"),
        f"peak_mb_{settings.small}_questions": peaks[0],
        f"peak_mb_{settings.large}_questions": peaks[1],
    }
    print_figures("data construction against a fake teacher", figures)


if __name__ == "__main__":
    run_main(main)
