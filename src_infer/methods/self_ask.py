"""Self-Ask: the model asks itself follow-up questions, a search answers each, until it states the final
answer (Press et al. 2023, arXiv 2210.03350).

An intermediate answer is the observation of the RAG engine, as the paper's variant with a search engine has
it. How we differ: an instruction with one short example, not four demonstrations; the transcript stands
inside the user's turn; the final answer is the model's own, the reader's only where the model states none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from src_core.protocols.parsers import stated_answer
from src_core.protocols.records import MAX_REPLY, ParsedStep, ParseError, Turn, make_action
from src_core.types import Question, Step, Trajectory
from src_infer.multi_step import Prompted, answer_stepwise, asked, observed, reader_policy, said, user
from src_infer.rag_engine import READER_STOPS
from src_infer.runtime import Runtime

STOPS = (*READER_STOPS, "Intermediate answer:")
_FOLLOW_UP = re.compile(
    r"\bfollow[ -]?up(?:[ \t]{1,3}question)?[ \t]{0,3}:[ \t*]{0,6}(\S[^\n]{0,1999})", re.I
)


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """Follow-up questions until the final answer."""
    notation = Prompted(runtime.prompt("self_ask"), turns=turns, parse=parse, stops=STOPS)
    writer = reader_policy(runtime, notation)
    return await answer_stepwise(question, runtime, writer=writer, search=runtime.rag.observe)


def turns(text: str, steps: Sequence[Step]) -> list[Turn]:
    """The transcript, in the notation that the model is asked to keep."""
    made = [user(text)]
    for query, observation in asked(steps):
        made += [said(f"Follow up: {query}"), observed(f"Intermediate answer: {observation}")]
    return made


def parse(text: str, _functions: Sequence[str]) -> ParsedStep | ParseError:
    """The first follow-up question, or the final answer when none stands before it."""
    text = text[:MAX_REPLY]
    follow_up = _FOLLOW_UP.search(text)
    answer = stated_answer(text[: follow_up.start()] if follow_up else text)
    bare = text.strip().split("\n", 1)[0].strip()
    fixes: tuple[str, ...] = ()
    if answer:
        action = make_action("finish", answer)
    elif follow_up:
        action = make_action("search", follow_up[1])
    elif bare.endswith("?"):
        action, fixes = make_action("search", bare), ("no_label",)
    else:
        return ParseError("no_follow_up", "the reply has neither a follow-up question nor a final answer")
    return action if isinstance(action, ParseError) else ParsedStep(None, "", action, fixes)
