"""DRAGIN: the model reasons until one of its words is uncertain and matters to what follows; the query is
made of the words to which it pays attention there (Su et al. 2024, arXiv 2403.10081; reference deeprag.md
section 12). Nothing is retrieved before.

`formula` selects the paper's formulas or those of its code (`src_infer.retrieval_needs`). The sentences
before the hit are kept; the rest is written again with the passages, and its first sentence is then kept in
any case, so that the loop advances. The last step that `limits` allow is not read, but ends with an answer.

How we differ: the text is written by the answer LLM like that of all methods, and `model` (its weights: a
folder, a name on the hub or in configs/models.yaml) reads it in transformers afterwards, once with the prompt
for the entropies; the release writes it in transformers, too, and reads it in a second pass. The paper cuts
at the token of the hit; here its sentence is written again, as in the code. The newest passages stay in the
prompt until others replace them (the code drops them after one sentence). The published thresholds (0.6 to
1.5) belong to the code's formula, whose attention is relative to the sentence; without `threshold` it is 1.0
there and 0.1 with the paper's. `provenance["attention_passes"]` counts the passes, which no server sees.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from src_core.config import NotNegative, Positive, config_class
from src_core.errors import UserError
from src_core.llm import Completion
from src_core.protocols.records import ParsedStep, ParseError, make_action
from src_core.types import Question, Search, Step, Trajectory
from src_infer.chain_of_thought import answer_in, closed, finish, joined, reasoning_policy, text_so_far
from src_infer.episode import StepWriter
from src_infer.multi_step import Evidence, answer_stepwise, must_answer, passage_search, with_notes
from src_infer.policy import Policy
from src_infer.retrieval_needs import Hit, code_query, find_hit, paper_query, words_of
from src_infer.runtime import Runtime
from src_models.inner_states import open_inner_states

if TYPE_CHECKING:
    from src_models.inner_states import InnerStates

THRESHOLDS = {"paper": 0.1, "code": 1.0}
QUERY_CONTEXT = 3000
"""Characters before the hit's sentence that a query may be made of."""


@config_class
class Settings:
    """`model` has to be the model that the answer LLM's server serves. A sentence is searched for where a
    score is above `threshold`; a query has at most `query_words` words (25 to 40 in the paper).
    """

    model: str = ""
    formula: Literal["paper", "code"] = "paper"
    threshold: NotNegative | None = None
    query_words: Positive = 25


def require(settings: Settings) -> None:
    """Raises `UserError` without `model`."""
    if not settings.model:
        raise UserError(
            "dragin reads the attention of the answer LLM; set method_settings.model to the folder or the "
            "name of the model that its server serves"
        )


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """Sentences until the answer, with a search for each that needs one."""
    settings: Settings = runtime.settings
    states = await asyncio.to_thread(open_inner_states, settings.model, "dragin")
    writer = _Writer(runtime, states)
    trajectory = await answer_stepwise(
        question, runtime, writer=writer, search=passage_search(runtime), evidence=Evidence.PASSAGES
    )
    notes = {
        "formula": settings.formula,
        "attention_model": settings.model,
        "attention_passes": writer.passes,
    }
    return with_notes(trajectory, **notes)


class _Need(NamedTuple):
    """The text that is kept, and the query."""

    kept: str
    query: str


@dataclass(slots=True)
class _Writer(StepWriter):
    """Writes the reasoning of one question. `need` is what the newest reply needs, `before` the text before
    it.
    """

    runtime: Runtime
    states: InnerStates
    passes: int = 0
    before: str = ""
    need: _Need | None = None

    async def generate(
        self,
        question: str,
        steps: Sequence[Step],
        *,
        n: int,
        attempt: int,
        functions: Sequence[str],
    ) -> Completion:
        """The rest of the reasoning; with its answer where no sentence needs a search."""
        self.before, self.need = text_so_far(steps), None
        searched = any(isinstance(step.action, Search) for step in steps)
        policy = reasoning_policy(self.runtime, passages=searched)
        reply = await policy.generate(question, steps, n=n, attempt=attempt)
        if not reply.text.strip():
            return reply
        if not must_answer(functions):
            self.need = await asyncio.to_thread(
                self._needed, policy, question, steps, reply.text, skip=int(searched)
            )
        if self.need is not None:
            return reply
        return await closed(reply, policy, question, steps, n=n, attempt=attempt)

    def parse(self, reply: Completion, functions: Sequence[str]) -> ParsedStep | ParseError:  # noqa: ARG002
        """A search for the first sentence that needs one, else the answer of the whole text."""
        if self.need is None:
            return finish(reply.text, answer_in(self.before, reply.text))
        action = make_action("search", self.need.query)
        return action if isinstance(action, ParseError) else ParsedStep(None, self.need.kept, action)

    def _needed(
        self, policy: Policy, question: str, steps: Sequence[Step], text: str, *, skip: int
    ) -> _Need | None:
        """RIND, then QFS."""
        settings: Settings = self.runtime.settings
        protocol = policy.protocol
        prompt = self.states.prompt_ids(protocol.lay_out(protocol.turns(question, steps)))
        reading = self.states.read(text, prompt=prompt)
        attention = reading.attention
        self.passes += 1
        if settings.formula == "code":
            attention = self.states.read(text).attention
            self.passes += 1
        limit = THRESHOLDS[settings.formula] if settings.threshold is None else settings.threshold
        words = words_of(text, reading.spans)
        hit = find_hit(
            settings.formula, text, words, reading.entropies, attention, threshold=limit, skip=skip
        )
        if hit is None:
            return None
        sentence = text[: words[hit.words[-1]].end]
        query = self._query(question, sentence, hit) or sentence[hit.start :]
        return _Need(text[: hit.start].rstrip(), query)

    def _query(self, question: str, sentence: str, hit: Hit) -> str:
        """QFS over the question, the text so far and the sentence, without examples and passages."""
        settings: Settings = self.runtime.settings
        whole = f"{question} {joined([self.before, sentence])[-QUERY_CONTEXT:]}"
        reading = self.states.read(whole, from_end=True)
        self.passes += 1
        words = words_of(whole, reading.spans)
        shift = len(words) - 1 - hit.words[-1]  # both end with the sentence
        hits = [max(at + shift, 0) for at in hit.asking]
        if settings.formula == "paper":
            return paper_query(
                whole, words, reading.attention, word=hits[0], token=hit.token, count=settings.query_words
            )
        return code_query(whole, words, reading.attention, hits=hits, count=settings.query_words)
