"""Naive RAG: one retrieval with the question as it stands, one answer from its passages."""

from __future__ import annotations

import time
from dataclasses import replace

from src_core.types import Question, Search, Status, Step, Trajectory
from src_infer.kit import Kit
from src_infer.prompts import fill, passage_block
from src_infer.rag_engine import ask


async def run(question: Question, kit: Kit) -> Trajectory:
    """One search, recorded as a step so that its passages stay on record, then one call."""
    begun = time.perf_counter()
    draft = Step(n=1, thought="", action=Search(question.question))
    if kit.on_draft:
        kit.on_draft(question, draft)
    passages = await kit.retrieve(question.question)
    context = passage_block(passages, max_chars=kit.max_passage_chars)
    step = replace(draft, observation=context, passages=passages)
    if kit.on_step:
        kit.on_step(question, step)
    prompt = fill(kit.prompt("naive_rag"), context=context, question=question.question)
    reply = await ask(kit.reader, prompt, sampling=kit.final_sampling, system=kit.prompt("final_system"))
    return Trajectory(
        question=question,
        steps=(step,),
        answer=reply.text,
        status=Status.FINISHED,
        usage=reply.usage,
        seconds=time.perf_counter() - begun,
    )
