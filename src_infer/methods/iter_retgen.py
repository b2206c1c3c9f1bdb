"""Iter-RetGen: retrieve, write an answer, retrieve again with question and answer, for a fixed number of
rounds (Shao et al. 2023, arXiv 2305.15294).

`baselines.iterations` are the retrievals (3 as in FlashRAG; the paper gains little after 2). Each round reads
the passages of its own retrieval alone. How we differ: `limits.t_max` also bounds the rounds; a last text
that states no answer is asked for again, and then left to the reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from src_core.actions import ParsedStep, ParseError, make_action
from src_core.llm import Completion
from src_core.types import Question, Step, Trajectory
from src_infer.agent import Turn
from src_infer.kit import Kit
from src_infer.prompts import shorten
from src_infer.reading import stated_answer
from src_infer.stepwise import (
    Evidence,
    Talk,
    answer_stepwise,
    passage_search,
    passage_turns,
    prompted,
    user,
)

QUERY_CHARS = 500


async def run(question: Question, kit: Kit) -> Trajectory:
    """All rounds; the last one's answer."""

    def turns(text: str, steps: Sequence[Step]) -> list[Turn]:
        return [user(text), *passage_turns(steps[-1].passages, kit)]

    def parse(reply: Completion, functions: Sequence[str]) -> ParsedStep | ParseError:
        text = shorten(reply.text, QUERY_CHARS)
        if not text:
            return ParseError("empty_reply", "the reply is empty")
        if "search" in functions:
            action = make_action("search", f"{shorten(question.question, QUERY_CHARS)} {text}")
        else:
            action = make_action("finish", stated_answer(reply.text))
        return action if isinstance(action, ParseError) else ParsedStep(None, text, action)

    talk = Talk(kit.reader, turns, prompted(kit.prompt("iter_retgen")))
    return await answer_stepwise(
        question,
        kit,
        generate=talk.generate(kit),
        search=passage_search(kit),
        parse=parse,
        opening=question.question,
        limits=replace(kit.limits, t_max=min(kit.limits.t_max, kit.baselines.iterations + 1)),
        evidence=Evidence.PASSAGES,
    )
