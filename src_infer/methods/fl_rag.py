"""FL-RAG: a search every `tokens` tokens of the reasoning, with the tokens generated last (Khandelwal et al.
2020, arXiv 1911.00172, and RETRO; `fix-length-retrieval` in DRAGIN, reference deeprag.md section 12).

The first search is made with the question; the newest passages replace the older ones. How we differ: pieces
are joined as they were generated (the release puts a space between them, also inside a word); an answer that
the end of a piece would cut is written to its end, while the release takes what is there, and so is the last
piece that `limits` allow, with an answer. All published configurations lack the length: 16 is the one with
which DRAGIN's table of retrievals agrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from src_core.config import Positive, config_class
from src_core.llm import Completion
from src_core.protocols.records import ParsedStep, ParseError, make_action
from src_core.types import Question, Step, Trajectory
from src_infer.chain_of_thought import answer_in, closed, continued, finish, reasoning_policy, text_so_far
from src_infer.episode import StepWriter
from src_infer.multi_step import Evidence, answer_stepwise, must_answer, passage_search
from src_infer.policy import Policy
from src_infer.runtime import Runtime


@config_class
class Settings:
    """A search is made after each `tokens` tokens."""

    tokens: Positive = 16


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """Pieces of a reasoning, each after a search."""
    return await answer_stepwise(
        question,
        runtime,
        writer=_PieceWriter(reasoning_policy(runtime, passages=True), runtime.settings.tokens),
        search=passage_search(runtime),
        initial_query=question.question,
        evidence=Evidence.PASSAGES,
    )


@dataclass(slots=True)
class _PieceWriter(StepWriter):
    """Writes the reasoning of one question in pieces. `before` is the text before the newest piece, `ended`
    whether the model ended with it.
    """

    policy: Policy
    tokens: int
    before: str = ""
    ended: bool = False

    async def generate(
        self,
        question: str,
        steps: Sequence[Step],
        *,
        n: int,
        attempt: int,
        functions: Sequence[str],
    ) -> Completion:
        """The next piece; the last one with its answer."""
        self.before = text_so_far(steps)
        last = must_answer(functions)
        short = replace(self.policy, sampling=replace(self.policy.sampling, max_tokens=self.tokens))
        reply = await (self.policy if last else short).generate(question, steps, n=n, attempt=attempt)
        self.ended = last or reply.finish_reason != "length"
        if self.ended:
            return await closed(reply, self.policy, question, steps, n=n, attempt=attempt)
        if answer_in(self.before, reply.text):
            self.ended = True
            return await continued(reply, "", self.policy, question, steps, n=n, attempt=attempt)
        return reply

    def parse(self, reply: Completion, functions: Sequence[str]) -> ParsedStep | ParseError:  # noqa: ARG002
        """The answer of the whole text, or a search with the newest piece."""
        if self.ended:
            return finish(reply.text, answer_in(self.before, reply.text))
        action = make_action("search", reply.text)
        return action if isinstance(action, ParseError) else ParsedStep(None, reply.text.rstrip(), action)
