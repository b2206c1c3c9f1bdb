"""From the configuration of construction to a teacher and the runtime of inference."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from src_core.served import Servers
from src_core.types import Trajectory
from src_data.annotated_teacher.teacher import DecompositionTeacher
from src_data.config import BuildConfig
from src_data.construction.construct import chain_of, make_chain
from src_data.teachers import Teacher
from src_data.teachers.llm import LlmTeacher
from src_infer.runtime import Runtime, open_runtime
from src_infer.shard_maker import Make


@asynccontextmanager
async def open_construction(
    config: BuildConfig, *, servers: Servers | None = None
) -> AsyncIterator[tuple[Teacher, Runtime]]:
    """Connect, check, and close at the end (`servers` as in `open_runtime`). Raises `BoundaryError` for a
    server that does not answer.
    """
    opened = open_runtime(
        config.runtime,
        needs_agent=config.teacher == "llm",
        needs_reader=config.needs_reader(),
        section="build_conv.runtime.",
        servers=servers,
    )
    async with opened as runtime:
        if config.teacher == "llm":
            yield LlmTeacher(runtime.policy, first_greedy=config.first_greedy), runtime
        else:
            yield DecompositionTeacher(runtime.policy.protocol), runtime


@asynccontextmanager
async def open_chains(config: BuildConfig) -> AsyncIterator[Make]:
    """As `open_construction`, for a process of its own: what makes the trajectory of a `Chain.piece`."""
    async with open_construction(config, servers=Servers()) as (teacher, runtime):

        async def make(line: bytes) -> Trajectory:
            return await make_chain(chain_of(line), teacher, runtime)

        yield make
