"""In context: the answer LLM reads all passages that ship with the question, gold ones and distractors, in
one call (ReaRAG, section 4.1; reference section 9.2).

The row's `context_ids` name them; they are fetched from the retriever by id, so that every method reads the
same texts. How we differ from a long-context baseline: nothing is padded with distractors of other questions,
and passages are cut to `max_passage_chars` like everywhere else. A question without `context_ids` is a row
that says so (`refused`).
"""

from __future__ import annotations

import time

from src_core.types import Finish, Question, Status, Step, Trajectory
from src_infer.kit import Kit
from src_infer.stepwise import ask_reader, passage_turns

NO_CONTEXT = (
    "the question has no 'context_ids': in_context needs a question file whose rows name the passages that "
    "ship with them"
)


async def run(question: Question, kit: Kit) -> Trajectory:
    """One call, no search; the passages stay on record with the answer's step."""
    begun = time.perf_counter()
    ids = question.meta.get("context_ids")
    if not ids:
        return Trajectory(question, (), "", Status.REFUSED, error=NO_CONTEXT)
    passages = tuple(await kit.retriever.passages(ids))
    reply = await ask_reader(question, passage_turns(passages, kit), kit)
    seconds = time.perf_counter() - begun
    step = Step(
        n=1,
        thought="",
        action=Finish(reply.text),
        passages=passages,
        reply=reply.text,
        usage=reply.usage,
        seconds=seconds,
    )
    if kit.on_step:
        kit.on_step(question, step)
    return Trajectory(question, (step,), reply.text, Status.FINISHED, reply.usage, seconds)
