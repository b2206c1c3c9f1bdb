"""Data construction at full load against a fake teacher: python scripts/bench/construct.py [chains=2000]

Two parts, each with the real mixture, loop, parser, run directory and rows:

- speed: teacher and reader are `fake_llm.py` (lognormal latencies, 0.3 to 3 s) over HTTP; chains per second
  with `in_flight` chains at once beside four threads that make the same chains over blocking connections, as
  the original's loop does
- memory: a teacher without latency in a process of its own; the peak resident memory of mixing, constructing,
  cleaning and exporting for `small` and for `large` questions

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
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO), str(Path(__file__).resolve().parent)]

from fake_llm import THOUGHT, searches  # noqa: E402
from fake_servers import BlockingModel, fake_servers  # noqa: E402
from load import LoadSettings, Measured, compared, measure_blocking, print_figures, stopwatch  # noqa: E402

from src_core.config import config_class, load_config  # noqa: E402
from src_core.endpoints import make_model  # noqa: E402
from src_core.errors import run_main  # noqa: E402
from src_core.llm import ChatModel, Completion, Endpoint  # noqa: E402
from src_core.protocols.rearag import render_step
from src_core.rundir import RunDir  # noqa: E402
from src_core.types import NO_USAGE, Finish, Question, Search, Status, Step, Trajectory, question_id  # noqa: E402
from src_data.construction.construct import Chain, Workshop, construct, make_chain  # noqa: E402
from src_data.teachers.llm import LlmTeacher  # noqa: E402
from src_infer.build import make_agent, make_rag  # noqa: E402
from src_infer.config import InferConfig  # noqa: E402
from src_infer.episode import Generate, Limits, Observation  # noqa: E402
from src_infer.rag_engine import CachedRetriever  # noqa: E402
from src_retrieval.toy import ToyRetriever  # noqa: E402


@config_class
class Settings(LoadSettings):
    """What to measure: how many chains; the numbers of questions for the memory part. `memory_of` is set for
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


def _workshop(model: ChatModel) -> Workshop:
    """`model` is teacher and reader."""
    config = InferConfig(max_passage_chars=700)
    retriever = ToyRetriever.from_file(REPO / "data/sample_world/corpus.jsonl")
    rag = make_rag(config, retriever=CachedRetriever(retriever, identity="toy"), reader=model)
    teacher = LlmTeacher(
        model,
        lambda sampling: make_agent(replace(config, agent_sampling=sampling), model),
        sampling=config.agent_sampling,
    )
    return Workshop(teacher, rag.observe, Limits(t_max=25))


async def _make_ours(questions: Sequence[Question], folder: Path, *, port: int, in_flight: int) -> Measured:
    model = make_model(Endpoint(url=f"http://127.0.0.1:{port}/v1"), connections=in_flight, token=None)
    await model.ready()
    rundir = RunDir(folder / "run", config={})
    made: list[Trajectory] = []
    try:
        with stopwatch() as spent:
            await construct(
                questions,
                workshop=_workshop(model),
                rundir=rundir,
                n_chains=1,
                in_flight=in_flight,
                on_row=lambda row: made.append(row) if row else None,
            )
    finally:
        rundir.close()
        await model.close()
    return Measured(made, spent)


async def _make_blocking(questions: Sequence[Question], *, port: int) -> list[Trajectory]:
    model = BlockingModel(port)
    workshop = _workshop(model)
    try:
        return [await make_chain(Chain(question, 0), workshop) for question in questions]
    finally:
        await model.close()


def _check(made: Sequence[Trajectory], questions: Sequence[Question]) -> None:
    """A chain that is missing or went wrong makes the figures meaningless."""
    wrong = [row for row in made if row.status is not Status.FINISHED]
    if wrong or {row.question.id for row in made} != {question.id for question in questions}:
        raise SystemExit(f"{len(wrong)} chains went wrong, {len(made)} of {len(questions)} were made")


class InstantTeacher:
    """Writes the steps of `fake_llm.py` without any latency."""

    name = "instant"

    def seed(self, chain: int) -> int | None:  # noqa: ARG002
        """None."""
        return None

    def refuses(self, question: Question) -> str | None:  # noqa: ARG002
        """Never."""
        return None

    def generate_for(self, question: Question, chain: int) -> Generate:  # noqa: ARG002
        """The step writer of one chain."""
        item = int(question.answers[0].removeprefix("item "))

        async def generate(
            question: str,  # noqa: ARG001
            steps: Sequence[Step],  # noqa: ARG001
            *,
            n: int,
            attempt: int,  # noqa: ARG001
            functions: Sequence[str],  # noqa: ARG001
        ) -> Completion:
            await asyncio.sleep(0)
            action = (
                Search(f"What is fact {n} of item {item}?") if n <= searches(item) else Finish(f"item {item}")
            )
            return Completion(render_step(n, THOUGHT, action), "stop", NO_USAGE)

        return generate


def _run_for_memory(count: int, folder: Path, *, in_flight: int) -> None:
    """The whole pipeline over `count` questions from a file."""
    from src_data.config import DataConfig
    from src_data.postprocess import finish_run
    from src_data.run import mixed_questions

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

    async def search(query: str, steps: Sequence[Step]) -> Observation:  # noqa: ARG001
        return Observation(f"{query.removesuffix('?').removeprefix('What is ')} is known. " * 4)

    questions = mixed_questions(config.build_conv)
    rundir = RunDir(folder / "memory", config={})
    try:
        workshop = Workshop(InstantTeacher(), search, Limits(t_max=25))
        asyncio.run(
            construct(
                questions,
                workshop=workshop,
                rundir=rundir,
                n_chains=1,
                in_flight=in_flight,
                on_row=lambda _: None,
            )
        )
        finish_run(
            rundir.path, clean=config.clean_conv, export=config.export, style=config.build_conv.prompt.style()
        )
    finally:
        rundir.close()


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
