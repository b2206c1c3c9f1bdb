"""Closed book: the answer LLM answers from its own knowledge, in one call."""

from __future__ import annotations

import time

from src_core.text import fill
from src_core.types import Question, Status, Trajectory
from src_infer.rag_engine import ask
from src_infer.runtime import Runtime

NEEDS_SEARCH = False


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """One call, no search."""
    begun = time.perf_counter()
    prompt = fill(runtime.prompt("closed_book"), question=question.question)
    reply = await ask(
        runtime.reader, prompt, sampling=runtime.final_sampling, system=runtime.prompt("final_system")
    )
    return Trajectory(
        question=question,
        steps=(),
        answer=reply.text,
        status=Status.FINISHED,
        usage=reply.usage,
        seconds=time.perf_counter() - begun,
    )
