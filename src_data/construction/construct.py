"""Make chains: the episode of inference with a teacher behind it (Algorithm 1; reference section 6.3).

How we differ from the original: retries have a budget per step; chains in flight are asynchronous; a failed
chain is a row that the next run tries again; ids are content hashes; every row says who made it, from which
documents, at what cost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any, NamedTuple

from src_core.rundir import RunDir
from src_core.types import Finish, Question, Status, Trajectory
from src_data.teachers import Teacher
from src_infer.episode import run_episode
from src_infer.runner import run_all
from src_infer.runtime import Runtime
from src_tasks.choices import asked_text

RETRIED = frozenset(status.value for status in Status if status.retryable)


class Chain(NamedTuple):
    """One piece of work: chain number `number` (from 0) of a question."""

    question: Question
    number: int

    @property
    def key(self) -> str:
        """Its identity in the run directory."""
        return f"{self.question.id}/{self.number}"


def chain_key(row: dict[str, Any]) -> str:
    """The identity of a chain on disk, as `Chain.key`."""
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
) -> None:
    """Make the chains that `rundir` does not hold yet. `on_row` is called for each that is on disk, with None
    for one of an earlier run.
    """
    done = rundir.finished_ids(retry_statuses=RETRIED, key=chain_key)
    todo = missing_chains(questions, done=done, n_chains=n_chains, on_done=lambda: on_row(None))

    async def make(chain: Chain) -> Trajectory:
        return await make_chain(chain, teacher, runtime)

    await run_all(todo, answer=make, in_flight=in_flight, rows=rundir.rows, on_row=on_row)


def missing_chains(
    questions: Iterable[Question], *, done: Set[str], n_chains: int, on_done: Callable[[], None]
) -> Iterator[Chain]:
    """The chains whose keys are not in `done`; `on_done` is called for each of the others."""
    for question in questions:
        for number in range(n_chains):
            chain = Chain(question, number)
            if chain.key in done:
                on_done()
            else:
                yield chain


async def make_chain(chain: Chain, teacher: Teacher, runtime: Runtime) -> Trajectory:
    """One chain. Its answer is the `finish` argument, which is what is trained on; a chain without `finish`
    has none. A question that the teacher refuses is a row with the reason as its error.
    """
    provenance: dict[str, Any] = {
        "teacher": teacher.name,
        "chain": chain.number,
        "seed": teacher.seed(chain.number),
    }
    reason = teacher.refuses(chain.question)
    if reason is not None:
        await asyncio.sleep(0)  # a run of refusals must not hold up the event loop
        return Trajectory(chain.question, (), "", Status.REFUSED, error=reason, provenance=provenance)
    begun = time.perf_counter()
    episode = await run_episode(
        asked_text(chain.question),
        writer=teacher.writer(chain.question, chain.number),
        search=runtime.rag.observe,
        limits=runtime.limits,
    )
    last = episode.steps[-1].action if episode.steps else None
    return Trajectory(
        question=chain.question,
        steps=episode.steps,
        answer=last.answer if isinstance(last, Finish) else "",
        status=episode.status,
        usage=episode.usage,
        seconds=time.perf_counter() - begun,
        error=episode.error,
        provenance={**provenance, "parse_failures": list(episode.parse_failures)},
    )
