"""Reasoning as one growing text, from worked examples: the frame that CoT, CoT-Retrieve, FL-RAG, DRAGIN, UAR
and TAARE share (reference deeprag.md section 12: examples, passages, question, the text so far).

The text so far is the assistant's own turn, which the model continues, so that a piece of 16 tokens may end
anywhere (an `openai` server cannot continue a turn: it is asked to go on, and words may be joined). The text
is the thoughts of the steps, joined. A reasoning that ends without stating an answer is continued once with
"So the answer is:" (the releases of DRAGIN and DeepRAG have that call, commented out); answers are read by
the code that all methods share. How we differ from the releases: the examples are five of our own, for all
question sets, and an answer is never cut at its first full stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from src_core.llm import Completion
from src_core.protocols.parsers import stated_answer
from src_core.protocols.records import MAX_REPLY, ChatTurn, ParsedStep, ParseError, Turn, make_action
from src_core.types import Finish, Passage, Question, Search, Step, Trajectory
from src_infer.episode import StepWriter
from src_infer.multi_step import (
    Evidence,
    Prompted,
    answer_stepwise,
    assistant_turn,
    passage_search,
    passage_turns,
    reader_policy,
    user_turn,
)
from src_infer.policy import Policy
from src_infer.rag_engine import READER_STOPS
from src_infer.runtime import Runtime

STOPS = (*READER_STOPS, "\nQuestion:")  # the next example that a model invents
CLOSING = "So the answer is:"
_SENTENCE_MARKS = ".?!:;,"


class GrowingText(Prompted):
    """The prompt in the user's turn, the text so far in the assistant's."""

    def lay_out(self, turns: Sequence[Turn]) -> list[ChatTurn]:
        """See the class."""
        text = joined([turn["reasoning"] for turn in turns if turn["role"] == "assistant"])
        built = super().lay_out(turns)
        return [*built, ChatTurn.of("assistant", text, trained=True)] if text else built


def joined(pieces: Sequence[str]) -> str:
    """The pieces as one text. They are joined as they are, since a piece may end inside a word; only after a
    mark a space is added where a server has stripped it.
    """
    text = ""
    for piece in pieces:
        gap = " " if text and text[-1] in _SENTENCE_MARKS and piece[:1].isalpha() else ""
        text += gap + piece
    return text.rstrip()


def text_so_far(steps: Sequence[Step]) -> str:
    """The reasoning in the thoughts of `steps`."""
    return joined([step.thought for step in steps])


def answer_in(*pieces: str) -> str:
    """The answer that a reasoning states, "" where it states none. Of a very long one the end is read."""
    return stated_answer(joined(pieces)[-MAX_REPLY:])


def newest_passages(steps: Sequence[Step]) -> tuple[Passage, ...]:
    """The passages of the last search."""
    return next((step.passages for step in reversed(steps) if isinstance(step.action, Search)), ())


def reasoning_policy(runtime: Runtime, *, passages: bool) -> Policy:
    """The answer LLM, continuing its reasoning. With `passages` it is shown those of the last search."""

    def turns(text: str, steps: Sequence[Step]) -> list[Turn]:
        shown = passage_turns(newest_passages(steps), runtime, query=text) if passages else []
        return [user_turn(text), *shown, *(assistant_turn(step.thought) for step in steps if step.thought)]

    prompt = "cot+cot_passages" if passages else "cot+cot_question"
    return reader_policy(runtime, GrowingText(runtime.prompt(prompt), turns=turns, stops=STOPS))


@dataclass(frozen=True, slots=True)
class ReasoningWriter(StepWriter):
    """Writes the reasoning to its end, as one step."""

    policy: Policy

    async def generate(
        self,
        question: str,
        steps: Sequence[Step],
        *,
        n: int,
        attempt: int,
        functions: Sequence[str],  # noqa: ARG002 - a text without actions
    ) -> Completion:
        """The rest of the reasoning, with its answer."""
        reply = await self.policy.generate(question, steps, n=n, attempt=attempt)
        return await closed(reply, self.policy, question, steps, n=n, attempt=attempt)

    def parse(self, reply: Completion, functions: Sequence[str]) -> ParsedStep | ParseError:  # noqa: ARG002
        """The answer that the text states."""
        return finish(reply.text, answer_in(reply.text))


async def closed(
    reply: Completion, policy: Policy, question: str, steps: Sequence[Step], *, n: int, attempt: int
) -> Completion:
    """The reply, continued with `CLOSING` where the text after `steps` and the reply states no answer. An
    empty reply stays as it is.
    """
    if not reply.text.strip() or answer_in(text_so_far(steps), reply.text):
        return reply
    return await continued(reply, " " + CLOSING, policy, question, steps, n=n, attempt=attempt)


async def continued(
    reply: Completion,
    more: str,
    policy: Policy,
    question: str,
    steps: Sequence[Step],
    *,
    n: int,
    attempt: int,
) -> Completion:
    """The reply followed by `more` and by what the model writes after it, with the usage of both calls."""
    begun = reply.text.rstrip() + more
    before = [*steps, Step(n=n, thought=begun, action=Finish(""))]
    rest = await policy.generate(question, before, n=n, attempt=attempt, part=1)
    return replace(rest, text=joined([begun, rest.text]), usage=reply.usage + rest.usage, think=reply.think)


def finish(thought: str, answer: str) -> ParsedStep | ParseError:
    """The step that ends a reasoning with its answer."""
    if not thought.strip():
        return ParseError("empty_reply", "the reply is empty")
    if not answer:
        return ParseError("no_answer", "the reasoning states no answer")
    action = make_action("finish", answer)
    return action if isinstance(action, ParseError) else ParsedStep(None, thought.rstrip(), action)


async def answer_by_reasoning(question: Question, runtime: Runtime, *, retrieve: bool) -> Trajectory:
    """Chain of thought from worked examples, after one search with the question where `retrieve` says so."""
    return await answer_stepwise(
        question,
        runtime,
        writer=ReasoningWriter(reasoning_policy(runtime, passages=retrieve)),
        search=passage_search(runtime),
        initial_query=question.question if retrieve else "",
        evidence=Evidence.PASSAGES,
    )
