"""Construct trajectories: the episode of inference with a teacher as its step writer (Algorithm 1; reference
section 6.3).

How we differ from the original: retries have a budget per step; many trajectories run asynchronously; a
failed trajectory is a row that the next run retries; ids are content hashes; every row records its teacher,
its documents and its token usage.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Set
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from src_core.jsonl import read_jsonl
from src_core.malformed import malformed_notes
from src_core.rundir import RunDir
from src_core.types import (
    RETRIED,
    Finish,
    Question,
    Status,
    Trajectory,
    question_from_json,
    to_json,
    trajectory_from_json,
)
from src_data.teachers import Teacher
from src_infer.documents import search_of
from src_infer.episode import run_episode
from src_infer.metering import metered, with_web_searches
from src_infer.runner import run_all
from src_infer.runtime import Runtime
from src_infer.shard_maker import Piece
from src_tasks.choices import asked_text
from src_tasks.metrics import exact_match

ALREADY_RIGHT = "an earlier attempt is right"
"""The reason of attempts that were not made."""


class Chain(NamedTuple):
    """One piece of work: trajectory `number` (from 0) of a question."""

    question: Question
    number: int

    @property
    def key(self) -> str:
        """Its identity in the run directory."""
        return f"{self.question.id}/{self.number}"

    def piece(self) -> Piece:
        """This work as it is sent to another process; `chain_of` reads it."""
        question = orjson.Fragment(to_json(self.question))
        return Piece(self.key, orjson.dumps({"question": question, "number": self.number}))


def chain_of(line: bytes) -> Chain:
    """The work of a `Chain.piece`."""
    row = orjson.loads(line)
    return Chain(question_from_json(orjson.dumps(row["question"])), int(row["number"]))


def chain_key(row: dict[str, Any]) -> str:
    """The identity of a trajectory on disk, as `Chain.key`."""
    return f"{row['question']['id']}/{row['provenance']['chain']}"


async def construct(
    questions: Iterable[Question],
    *,
    teacher: Teacher,
    runtime: Runtime,
    rundir: RunDir,
    n_chains: int,
    in_flight: int,
    on_row: Callable[[Trajectory | None], None],
    until_right: bool = False,
) -> None:
    """Construct the trajectories that `rundir` does not hold yet. `on_row` is called for each one that is on
    disk, with None for one of an earlier run. `until_right`: see `Attempts`.
    """
    done = rundir.finished_ids(retry_statuses=RETRIED, key=chain_key)
    todo = missing_chains(questions, done=done, n_chains=n_chains, on_done=lambda: on_row(None))
    attempts = Attempts(_right_ones(rundir.rows)) if until_right else None

    async def make(chain: Chain) -> Trajectory:
        if attempts is None:
            return await make_chain(chain, teacher, runtime)
        return await attempts.make(chain, lambda: make_chain(chain, teacher, runtime))

    await run_all(todo, answer=make, in_flight=in_flight, rows=rundir.rows, on_row=on_row)


class Attempts:
    """The trajectories of one question as attempts, one after the other: once one is right, the later ones
    are refused (R3-RAG's cold start, reference r3rag.md section 1.6). `right` holds the ids of questions that
    have a right one already.
    """

    def __init__(self, right: Set[str]) -> None:
        self._right = set(right)
        self._turns: dict[str, asyncio.Lock] = {}

    async def make(self, chain: Chain, make: Callable[[], Awaitable[Trajectory]]) -> Trajectory:
        """The trajectory, or a refusal. Attempts of one question wait for each other in their order."""
        async with self._turns.setdefault(chain.question.id, asyncio.Lock()):
            if chain.question.id in self._right:
                provenance = {"chain": chain.number}
                return Trajectory(
                    chain.question, (), "", Status.REFUSED, error=ALREADY_RIGHT, provenance=provenance
                )
            made = await make()
            if is_right(made):
                self._right.add(chain.question.id)
            return made


def is_right(made: Trajectory) -> bool:
    """Whether a trajectory ends with an answer that equals a gold one."""
    return made.status is Status.FINISHED and exact_match(made.answer, made.question.answers) == 1


def _right_ones(rows: Path) -> set[str]:
    """The ids of the questions that have a right trajectory on disk."""
    if not rows.is_file():
        return set()
    made = (trajectory_from_json(orjson.dumps(row)) for row in read_jsonl(rows))
    return {each.question.id for each in made if is_right(each)}


def missing_chains(
    questions: Iterable[Question], *, done: Set[str], n_chains: int, on_done: Callable[[], None]
) -> Iterator[Chain]:
    """The trajectories whose keys are not in `done`; `on_done` is called for each of the others."""
    for question in questions:
        for number in range(n_chains):
            chain = Chain(question, number)
            if chain.key in done:
                on_done()
            else:
                yield chain


async def make_chain(chain: Chain, teacher: Teacher, runtime: Runtime) -> Trajectory:
    """One trajectory. Its answer is the `finish` argument, as in training; without `finish` it has no answer.
    A question that the teacher refuses is a row with the reason as its error.
    """
    provenance: dict[str, Any] = {
        "teacher": teacher.name,
        "chain": chain.number,
        "seed": teacher.seed(chain.number),
    }
    reason = teacher.refuses(chain.question)
    if reason is not None:
        await asyncio.sleep(0)  # many refusals in a row must not block the event loop
        return Trajectory(chain.question, (), "", Status.REFUSED, error=reason, provenance=provenance)
    begun = time.perf_counter()
    with metered() as meter:
        episode = await run_episode(
            asked_text(chain.question),
            writer=teacher.writer(chain.question, chain.number),
            search=search_of(runtime, runtime.policy.protocol),
            limits=runtime.limits,
            on_draft=partial(runtime.on_draft, chain.question) if runtime.on_draft else None,
            on_step=partial(runtime.on_step, chain.question) if runtime.on_step else None,
        )
    last = episode.steps[-1].action if episode.steps else None
    row = Trajectory(
        question=chain.question,
        steps=episode.steps,
        answer=last.answer if isinstance(last, Finish) else "",
        status=episode.status,
        usage=episode.usage,
        seconds=time.perf_counter() - begun,
        error=episode.error,
        provenance={**provenance, **malformed_notes(episode.malformed)},
    )
    return with_web_searches(row, meter)
