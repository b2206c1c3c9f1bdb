"""Naive RAG: one retrieval with the unchanged question, one answer from its passages."""

from __future__ import annotations

import time
from dataclasses import replace

from src_core.passage_view import passage_block
from src_core.text import fill
from src_core.types import Question, Search, Status, Step, Trajectory
from src_infer.rag_engine import ask
from src_infer.runtime import Runtime


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """One search, recorded as a step with its passages, then one call."""
    begun = time.perf_counter()
    draft = Step(n=1, thought="", action=Search(question.question))
    if runtime.on_draft:
        runtime.on_draft(question, draft)
    passages = await runtime.retrieve(question.question)
    context = passage_block(passages, view=runtime.view, query=question.question)
    step = replace(draft, observation=context, passages=passages)
    if runtime.on_step:
        runtime.on_step(question, step)
    prompt = fill(runtime.prompt("naive_rag"), context=context, question=question.question)
    reply = await ask(
        runtime.reader, prompt, sampling=runtime.final_sampling, system=runtime.prompt("final_system")
    )
    return Trajectory(
        question=question,
        steps=(step,),
        answer=reply.text,
        status=Status.FINISHED,
        usage=reply.usage,
        seconds=time.perf_counter() - begun,
    )
