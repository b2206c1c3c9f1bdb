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
from src_infer.multi_step import (
    Evidence,
    Talk,
    answer_stepwise,
    passage_search,
    passage_turns,
    prompted,
    user,
)
from src_infer.parsers import stated_answer
from src_infer.prompts import shorten
from src_infer.runtime import Runtime

QUERY_CHARS = 500


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """All rounds; the last one's answer."""

    def turns(text: str, steps: Sequence[Step]) -> list[Turn]:
        return [user(text), *passage_turns(steps[-1].passages, runtime)]

    def parse(reply: Completion, functions: Sequence[str]) -> ParsedStep | ParseError:
        text = shorten(reply.text, QUERY_CHARS)
        if not text:
            return ParseError("empty_reply", "the reply is empty")
        if "search" in functions:
            action = make_action("search", f"{shorten(question.question, QUERY_CHARS)} {text}")
        else:
            action = make_action("finish", stated_answer(reply.text))
        return action if isinstance(action, ParseError) else ParsedStep(None, text, action)

    talk = Talk(runtime.reader, turns, prompted(runtime.prompt("iter_retgen")))
    return await answer_stepwise(
        question,
        runtime,
        generate=talk.generate(runtime),
        search=passage_search(runtime),
        parse=parse,
        initial_query=question.question,
        limits=replace(runtime.limits, t_max=min(runtime.limits.t_max, runtime.baselines.iterations + 1)),
        evidence=Evidence.PASSAGES,
    )
