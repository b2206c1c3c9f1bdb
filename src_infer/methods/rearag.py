"""ReaRAG: the Thought-Action-Observation loop, then a short final answer by the reader (paper v3, P_ans).

How we differ from the release (reference section 8): the question is always answered, also at T_max, over
budget or after malformed replies; the `finish` argument is the fallback when the reader's answer is empty,
and the answer itself with `answer_from: finish`.
"""

from __future__ import annotations

import time
from functools import partial

from src_core.answers import NO_ANSWER, normalize_answer
from src_core.errors import ModelError
from src_core.types import NO_USAGE, Finish, Question, Status, Trajectory
from src_infer.episode import Episode, run_episode
from src_infer.kit import Kit
from src_infer.prompts import fill, searches_block
from src_infer.rag_engine import ReaderReply, ask


async def run(question: Question, kit: Kit) -> Trajectory:
    """One episode and its final answer."""
    begun = time.perf_counter()
    on_draft = partial(kit.on_draft, question) if kit.on_draft else None
    on_step = partial(kit.on_step, question) if kit.on_step else None
    episode = await run_episode(
        question.question,
        generate=kit.agent.generate,
        search=kit.rag.observe,
        limits=kit.limits,
        on_draft=on_draft,
        on_step=on_step,
    )
    reply = ReaderReply("", NO_USAGE)
    status, error = episode.status, episode.error
    if not status.retryable:
        try:
            reply = await final_answer(question, episode, kit)
        except ModelError as failure:
            status, error = Status.MODEL_ERROR, str(failure)
    return Trajectory(
        question=question,
        steps=episode.steps,
        answer=reply.text,
        status=status,
        usage=episode.usage + reply.usage,
        seconds=time.perf_counter() - begun,
        error=error,
        provenance={"rejected_replies": list(episode.rejects)},
    )


async def final_answer(question: Question, episode: Episode, kit: Kit) -> ReaderReply:
    """The short answer: from the searches by the reader, or the `finish` argument (by setting, or as
    fallback when the reader says nothing or abstains).
    """
    last = episode.steps[-1].action if episode.steps else None
    proposed = last.answer if isinstance(last, Finish) else ""
    if kit.answer_from == "finish" and proposed:
        return ReaderReply(proposed, NO_USAGE)
    prompt = fill(kit.prompt("final"), context=searches_block(episode.steps), question=question.question)
    reply = await ask(kit.reader, prompt, sampling=kit.final_sampling, system=kit.prompt("final_system"))
    if proposed and normalize_answer(reply.text) in ("", NO_ANSWER):
        return ReaderReply(proposed, reply.usage)
    return reply
