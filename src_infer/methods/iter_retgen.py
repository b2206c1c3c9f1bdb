"""Iter-RetGen: retrieve, write an answer, retrieve again with question and answer, for a fixed number of
rounds (Shao et al. 2023, arXiv 2305.15294).

Each round reads only the passages of its own retrieval. How we differ: `limits.t_max` also bounds the rounds;
a last text that states no answer is requested again, and then the reader answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from src_core.config import config_class
from src_core.protocols.parsers import stated_answer
from src_core.protocols.records import ParsedStep, ParseError, Turn, make_action
from src_core.text import shorten
from src_core.types import Question, Step, Trajectory
from src_infer.multi_step import (
    Evidence,
    Prompted,
    answer_stepwise,
    passage_search,
    passage_turns,
    reader_policy,
    user_turn,
)
from src_infer.runtime import Runtime

QUERY_CHARS = 500


@config_class
class Settings:
    """`iterations` is the number of searches (3 as in FlashRAG; the paper reports little gain after 2)."""

    iterations: Annotated[int, Field(ge=1)] = 3


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """All rounds; the answer is that of the last round."""

    def turns(text: str, steps: Sequence[Step]) -> list[Turn]:
        return [user_turn(text), *passage_turns(steps[-1].passages, runtime, query=text)]

    def parse(reply: str, functions: Sequence[str]) -> ParsedStep | ParseError:
        text = shorten(reply, QUERY_CHARS)
        if not text:
            return ParseError("empty_reply", "the reply is empty")
        if "search" in functions:
            action = make_action("search", f"{shorten(question.question, QUERY_CHARS)} {text}")
        else:
            action = make_action("finish", stated_answer(reply))
        return action if isinstance(action, ParseError) else ParsedStep(None, text, action)

    notation = Prompted(runtime.prompt("iter_retgen"), turns=turns, parse=parse)
    settings: Settings = runtime.settings
    return await answer_stepwise(
        question,
        runtime,
        writer=reader_policy(runtime, notation),
        search=passage_search(runtime),
        initial_query=question.question,
        limits=replace(runtime.limits, t_max=min(runtime.limits.t_max, settings.iterations + 1)),
        evidence=Evidence.PASSAGES,
    )
