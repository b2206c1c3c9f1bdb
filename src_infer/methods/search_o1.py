"""Search-o1: a reasoning model searches during its reasoning; it reads the documents in a separate call, and
only the helpful information is inserted into the reasoning (Li et al. 2025, arXiv 2501.05366; reference
section 11).

Queries are between begin/end_search_query marks, results between begin/end_search_result marks, the answer is
in the last `\\boxed{}`. A repeated query, and a query beyond `search_limit`, gets a notice instead of a
search; `limits.t_max` bounds the turns (15 in the release). How we differ: our retriever with `top_k`
passages instead of a web search with 10 pages; the transcript is inside the user's turn, so that no chat
template drops the reasoning; a reply with neither query nor box is requested again, and then the reader
answers. A document reading without its marker counts as "nothing found", as in the release;
`provenance["readings_without_marker"]` counts them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from src_core.config import config_class
from src_core.protocols.parsers import Tag, boxed_answer, first_tagged, without_think_marks
from src_core.protocols.records import MAX_REPLY, TURN_MARKS, ParsedStep, ParseError, Turn, make_action
from src_core.types import Question, Search, Step, Trajectory
from src_infer.episode import Observation
from src_infer.multi_step import (
    Prompted,
    agent_policy,
    answer_stepwise,
    assistant_turn,
    observation_turn,
    passage_turns,
    queries_and_observations,
    user_turn,
    with_notes,
)
from src_infer.runtime import Runtime

QUERY = Tag("<|begin_search_query|>", "<|end_search_query|>")
RESULT = Tag("<|begin_search_result|>", "<|end_search_result|>")
STOPS = (*TURN_MARKS[:2], QUERY.close, RESULT.open)  # servers accept four
NOTHING_FOUND = "No helpful information found."
LIMIT_NOTICE = "The limit of searches is reached: no search was made. Answer with what is known."
_FOUND = re.compile(r"final information\b[ \t*:]{0,8}", re.IGNORECASE)


@config_class
class Settings:
    """After `search_limit` searches a query gets a notice instead."""

    search_limit: Annotated[int, Field(ge=1)] = 10


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """Reasoning with searches inside, until an answer is boxed."""
    notation = Prompted(runtime.prompt("search_o1"), turns=turns, parse=parse, stops=STOPS, reads_think=True)
    reader = _DocumentReader(question.question, runtime)
    writer = agent_policy(runtime, notation)
    trajectory = await answer_stepwise(question, runtime, writer=writer, search=reader.search)
    return with_notes(trajectory, readings_without_marker=reader.unmarked)


def turns(text: str, steps: Sequence[Step]) -> list[Turn]:
    """The reasoning so far; only the results may be shortened."""
    transcript = [user_turn(text)]
    for step in steps:
        if isinstance(step.action, Search):
            query = f"{QUERY.open}{step.action.query}{QUERY.close}\n{RESULT.open}"
            transcript += [
                assistant_turn(f"{step.thought}\n{query}".lstrip()),
                observation_turn(step.observation or ""),
            ]
            transcript.append(assistant_turn(RESULT.close))
    return transcript


def parse(text: str, _functions: Sequence[str]) -> ParsedStep | ParseError:
    """The query at the end of a reply, else its boxed answer."""
    query = first_tagged(text, QUERY)
    if query:
        thought, action = query.before, make_action("search", query.inside)
    elif answer := boxed_answer(text):
        thought, action = text, make_action("finish", answer)
    else:
        return ParseError("no_query_or_answer", "the reply has neither a search query nor a boxed answer")
    if isinstance(action, ParseError):
        return action
    return ParsedStep(None, without_think_marks(thought), action)


@dataclass(slots=True)
class _DocumentReader:
    """Reason-in-Documents for one question. `unmarked` counts readings without the marker."""

    question: str
    runtime: Runtime
    unmarked: int = 0

    async def search(self, query: str, steps: Sequence[Step]) -> Observation:
        """Retrieve, and let the model extract the helpful information. Raises `RetrieverError` or
        `ModelError`.
        """
        searches = sum(isinstance(step.action, Search) and not step.repeated for step in steps)
        if searches >= self.runtime.settings.search_limit:
            return Observation(LIMIT_NOTICE)
        passages = await self.runtime.retrieve(query)

        def turns(text: str, before: Sequence[Step]) -> list[Turn]:
            found = [
                assistant_turn(f"{earlier}: {answer}") for earlier, answer in queries_and_observations(before)
            ]
            return [user_turn(text), *found, *passage_turns(passages, self.runtime, query=query)]

        prompt = self.runtime.prompt("search_o1_documents")
        reader = agent_policy(self.runtime, Prompted(prompt, turns=turns, stops=TURN_MARKS, query=query))
        reply = await reader.generate(self.question, steps, n=len(steps) + 1, attempt=0, part=1)
        marker = _FOUND.search(reply.text[:MAX_REPLY])
        helpful = " ".join(reply.text[marker.end() : MAX_REPLY].split()) if marker else ""
        self.unmarked += marker is None
        return Observation(helpful or NOTHING_FOUND, passages, reply.usage)
