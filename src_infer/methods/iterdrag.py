"""IterDRAG: follow-up questions, each with documents of its own, each answered from all documents so far,
until the final answer (Yue et al. 2024, arXiv 2410.04343; DeepRAG's prompt in reference deeprag.md section
5.2).

The question itself is searched first. A model's lines are a follow-up question, an intermediate answer, or
the final answer; after `iterations` follow-up questions (5 in the paper) the reply begins with "So the final
answer is:". How we differ: documents are one block, the 15 newest last, and not between the questions; the
examples are two of our own without documents; the model is held to its lines by stop strings, not by
constrained decoding.
DeepRAG's release of this baseline drops the documents of earlier steps, leaves the question out of the prompt
of the first answer, and cuts a question at the letters "Let"; none of that is done here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from src_core.config import Positive, config_class
from src_core.llm import Completion
from src_core.passage_view import NO_PASSAGE
from src_core.protocols.records import ParsedStep, ParseError, Turn
from src_core.text import fill
from src_core.types import NO_USAGE, Question, Search, Step, Trajectory
from src_infer.episode import StepWriter
from src_infer.methods.self_ask import STOPS, parse
from src_infer.multi_step import (
    Evidence,
    Prompted,
    all_passages,
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

QUESTION, ANSWER, FINAL = "Follow up:", "Intermediate answer:", "So the final answer is:"
ASKED_BEFORE = "(asked before)"


@config_class
class Settings:
    """After `iterations` follow-up questions the final answer has to be given."""

    iterations: Positive = 5


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """Follow-up questions with their documents, until the final answer."""

    def turns(text: str, steps: Sequence[Step]) -> list[Turn]:
        documents = passage_turns(all_passages(steps), runtime, query=text)
        return [user_turn(text), *documents, *map(assistant_turn, transcript(steps))]

    prompt = runtime.prompt("iterdrag")
    asking = _Documented(prompt, turns=turns, parse=parse, stops=STOPS, closing=FINAL)
    answering = _Documented(prompt, turns=turns, stops=(*READER_STOPS, QUESTION))
    most = runtime.settings.iterations + 2  # the search with the question, and the final answer
    return await answer_stepwise(
        question,
        runtime,
        writer=_Writer(reader_policy(runtime, asking), reader_policy(runtime, answering)),
        search=passage_search(runtime),
        initial_query=question.question,
        limits=replace(runtime.limits, t_max=min(runtime.limits.t_max, most)),
        evidence=Evidence.PASSAGES,
    )


def transcript(steps: Sequence[Step]) -> list[str]:
    """The lines so far. The last question is open while its intermediate answer is not there."""
    lines = []
    for step in steps[1:]:
        if isinstance(step.action, Search):
            answer = ASKED_BEFORE if step.repeated else step.conclusion
            lines += [f"{QUESTION} {step.action.query}", f"{ANSWER} {answer}".rstrip()]
    return lines


class _Documented(Prompted):
    """The documents in one block, the transcript below the question."""

    def render_history(self, turns: Sequence[Turn]) -> str:
        """See the class."""
        documents = [turn["content"] for turn in turns if turn["role"] == "observation"]
        lines = [turn["reasoning"] for turn in turns if turn["role"] == "assistant"]
        return fill(
            self._template,
            question=turns[0]["content"],
            context="\n".join(documents) or NO_PASSAGE,
            transcript="\n".join(lines),
        )

    def parse_conclusion(self, text: str) -> str:
        """The first line of an intermediate answer, without its label."""
        lines = text.strip().removeprefix(ANSWER).strip().splitlines()
        return super().parse_conclusion(lines[0] if lines else "")


@dataclass(frozen=True, slots=True)
class _Writer(StepWriter):
    """`asking` writes follow-up questions and the final answer, `answering` the intermediate answers."""

    asking: Policy
    answering: Policy

    @property
    def concludes(self) -> bool:
        """Each follow-up question has an intermediate answer."""
        return True

    async def generate(
        self, question: str, steps: Sequence[Step], *, n: int, attempt: int, functions: Sequence[str]
    ) -> Completion:
        """The next follow-up question, or the final answer."""
        return await self.asking.generate(question, steps, n=n, attempt=attempt, functions=functions)

    def parse(self, reply: Completion, functions: Sequence[str]) -> ParsedStep | ParseError:
        """See `self_ask.parse`."""
        return self.asking.parse(reply, functions)

    async def conclude(self, question: str, steps: Sequence[Step], *, n: int) -> Completion:
        """The intermediate answer; none for the question itself, which is searched first, and none for a
        repeated question.
        """
        if len(steps) == 1 or steps[-1].repeated:
            return Completion("", "stop", NO_USAGE)
        return await self.answering.conclude(question, steps, n=n)
