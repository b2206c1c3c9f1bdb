"""Inference beyond one node: `python -m src_infer.ray_job configs/infer/gpu.yaml [ray.key=value …] [key=value
…]` (each run of `bash scripts/evaluate.sh … ray.address=HOST:PORT`).

As `src_infer.run`, but the questions that the run directory does not hold yet are answered by actors on all
nodes of a Ray cluster (`src_infer.on_ray`). After the driver died, the next run goes on, with Ray or without.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from src_core.errors import run_main
from src_core.progress import StepProgress
from src_core.rundir import RunDir, question_of
from src_core.served import Servers
from src_core.types import Question, Trajectory, question_from_json, to_json
from src_infer.answering import answer_one
from src_infer.as_trained import method_of
from src_infer.config import InferConfig
from src_infer.methods import Method
from src_infer.on_ray import RayConfig, make_rows, read_arguments
from src_infer.run import run_from
from src_infer.runtime import Runtime, open_runtime
from src_infer.shard_maker import Job, Make, Piece


def main() -> int:
    """Separate the settings of Ray; the rest is handled as by `src_infer.run`."""
    given = read_arguments(sys.argv[1:])
    return run_from(given.others, answerer=RayAnswerer(given.ray))


@dataclass(frozen=True, slots=True)
class RayAnswerer:
    """Answers questions on a Ray cluster (an `Answerer`)."""

    settings: RayConfig

    async def __call__(
        self,
        todo: Sequence[Question],
        rundir: RunDir,
        config: InferConfig,
        *,
        method: Method,  # noqa: ARG002 - an argument of the interface: an actor loads its own
        runtime: Runtime,  # noqa: ARG002
        progress: StepProgress,
    ) -> dict[str, Any]:
        """Answer them and merge the rows. The open `runtime` shows that the servers answer; the actors open
        their own.
        """
        job = Job(
            root=str(Path.cwd()),
            run_dir=str(rundir.path.resolve()),
            in_flight=self.settings.in_flight or config.in_flight,
            prompts_digest=config.prompts_digest,
            opened=partial(open_answers, config),
            key=question_of,
        )
        work = (Piece(question.id, to_json(question)) for question in todo)
        made = await make_rows(work, job, rundir, settings=self.settings, progress=progress)
        return made.how


@asynccontextmanager
async def open_answers(config: InferConfig) -> AsyncIterator[Make]:
    """Connect, in a process of its own; what answers a question, given as JSON."""
    method = method_of(config)
    opened = open_runtime(
        config,
        settings=method.settings,
        abstain=config.abstain,
        needs_search=method.needs_search,
        servers=Servers(),
    )
    async with opened as runtime:

        async def make(line: bytes) -> Trajectory:
            return await answer_one(question_from_json(line), method=method, runtime=runtime)

        yield make


if __name__ == "__main__":
    run_main(main)
