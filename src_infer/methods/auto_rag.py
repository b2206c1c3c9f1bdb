"""Auto-RAG: a dialogue with the retriever, in which the model says what it needs, what it has found, and how
it refines its query, until nothing is missing (Yu et al. 2024, arXiv 2411.19443; not in DeepRAG's release).

Documents that were retrieved before are not shown again. After `retrievals` searches a query is answered
with a document that the model writes from its own knowledge, `own_documents` times (10 and 5 in the release);
such a step is a direct answer, not a search. The reply after those begins with "Final Answer:". How we
differ: any model, by one worked example, in place of the fine-tuned Llama-3-8B, whose labels are kept; the
transcript is inside the user's turn; all new documents among the `top_k` best are shown, not two of them; a
reply with neither label is requested again, while the release retrieves once more with the query before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from src_core.config import Count, Positive, config_class
from src_core.llm import Completion
from src_core.passage_view import passage_block
from src_core.protocols.parsers import plain_answer, stated_answer
from src_core.protocols.records import MAX_REPLY, ParsedStep, ParseError, Turn, make_action
from src_core.text import fill, shorten
from src_core.types import DirectAnswer, Question, Search, Step, Trajectory
from src_infer.episode import Observation, StepWriter
from src_infer.multi_step import (
    Evidence,
    Prompted,
    answer_stepwise,
    assistant_turn,
    must_answer,
    observation_turn,
    reader_policy,
    user_turn,
)
from src_infer.policy import Policy
from src_infer.rag_engine import READER_STOPS, ask
from src_infer.runtime import Runtime

STOPS = (*READER_STOPS, "Retrieved Document")
FINAL = "Final Answer:"
NOTHING_NEW = "(no new document was found)"
NOTHING_KNOWN = "(nothing is known)"
_QUERY = re.compile(r"\b(?:refined[ \t]{1,3})?query[ \t*]{0,3}:[ \t*]{0,6}(\S[^\n]{0,1999})", re.IGNORECASE)
_FINAL = re.compile(r"\bfinal[ \t]{1,3}answer[ \t*]{0,3}:[ \t*]{0,6}(\S[^\n]{0,1999})", re.IGNORECASE)


@config_class
class Settings:
    """`retrievals` searches, then `own_documents` documents from the model's own knowledge."""

    retrievals: Positive = 10
    own_documents: Count = 5


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """Queries until the final answer."""
    settings: Settings = runtime.settings
    notation = Prompted(runtime.prompt("auto_rag"), turns=turns, parse=parse, stops=STOPS, closing=FINAL)

    async def search(query: str, steps: Sequence[Step]) -> Observation:
        seen = {passage.id for step in steps for passage in step.passages}
        found = [passage for passage in await runtime.retrieve(query) if passage.id not in seen]
        shown = passage_block(found, view=runtime.view, query=query) if found else NOTHING_NEW
        return Observation(shown, tuple(found))

    most = settings.retrievals + settings.own_documents + 1
    return await answer_stepwise(
        question,
        runtime,
        writer=_Writer(reader_policy(runtime, notation), runtime),
        search=search,
        limits=replace(runtime.limits, t_max=min(runtime.limits.t_max, most)),
        evidence=Evidence.PASSAGES,
    )


def turns(text: str, steps: Sequence[Step]) -> list[Turn]:
    """The dialogue so far, with the labels of the paper; only documents may be shortened."""
    dialogue = [user_turn(text)]
    for number, step in enumerate(steps, start=1):
        asked = f"{step.thought}\nRefined Query: ".lstrip()
        label = f"Retrieved Document_{number}: "
        if isinstance(step.action, Search):
            dialogue += [
                assistant_turn(asked + step.action.query),
                observation_turn(label + (step.observation or "")),
            ]
        elif isinstance(step.action, DirectAnswer):
            dialogue += [
                assistant_turn(asked + step.action.sub_question),
                assistant_turn(label + step.action.answer),
            ]
    return dialogue


def parse(text: str, functions: Sequence[str]) -> ParsedStep | ParseError:
    """The first query, or the final answer when no query comes before it. `FINAL` that the model was given
    does not count where it writes labels of its own.
    """
    text = text[:MAX_REPLY]
    own = text.removeprefix(FINAL)
    if must_answer(functions) and (_QUERY.search(own) or _FINAL.search(own)):
        text = own
    query, final = _QUERY.search(text), _FINAL.search(text)
    if final and not (query and query.start() < final.start()):
        thought, action = text[: final.start()], make_action("finish", plain_answer(final[1]))
    elif query:
        thought, action = text[: query.start()], make_action("search", query[1])
    elif answer := stated_answer(text):
        thought, action = text, make_action("finish", answer)
    else:
        return ParseError("no_query_or_answer", "the reply has neither a query nor a final answer")
    return action if isinstance(action, ParseError) else ParsedStep(None, " ".join(thought.split()), action)


@dataclass(slots=True)
class _Writer(StepWriter):
    """Writes the model's side of the dialogue. `document` is what it wrote from its own knowledge, "" where
    the next query is searched.
    """

    policy: Policy
    runtime: Runtime
    document: str = ""

    async def generate(
        self, question: str, steps: Sequence[Step], *, n: int, attempt: int, functions: Sequence[str]
    ) -> Completion:
        """The next reply, and the model's own document where the retriever is not asked any more."""
        self.document = ""
        reply = await self.policy.generate(question, steps, n=n, attempt=attempt, functions=functions)
        parsed = parse(reply.text, functions)
        searches = sum(isinstance(step.action, Search) for step in steps)
        if isinstance(parsed, ParseError) or not isinstance(parsed.action, Search):
            return reply
        if searches < self.runtime.settings.retrievals:
            return reply
        prompt = fill(self.runtime.prompt("auto_rag_knowledge"), question=question, query=parsed.action.query)
        written = await ask(self.runtime.reader, prompt, sampling=self.policy.sampling)
        self.document = shorten(written.text, self.runtime.view.max_chars) or NOTHING_KNOWN
        return replace(reply, usage=reply.usage + written.usage)

    def parse(self, reply: Completion, functions: Sequence[str]) -> ParsedStep | ParseError:
        """The step; a query with a document of the model's own is a direct answer."""
        parsed = self.policy.parse(reply, functions)
        if isinstance(parsed, ParseError) or not isinstance(parsed.action, Search) or not self.document:
            return parsed
        return replace(parsed, action=DirectAnswer(parsed.action.query, self.document))
