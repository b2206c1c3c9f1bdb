"""The policy: a model that writes steps in a protocol, within the model's context.

`generate` asks for the reply to a question and its steps, `parse` reads it, `score` gives the
log-probability of continuations. `episode.advance` makes steps of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from src_core.errors import UserError
from src_core.llm import ChatModel, Completion, Sampling, derive_seed
from src_core.llm_tokens import TokenModel
from src_core.protocols.base import Protocol
from src_core.protocols.records import FUNCTIONS, Constrain, ParsedStep, ParseError
from src_core.types import Step
from src_infer.episode import Node, StepWriter
from src_infer.truncation import CHARS_PER_TOKEN, chat_within_context, size_of, truncation_candidates

if TYPE_CHECKING:  # arrays of token ids, which most runs do not need
    from src_core.chat_tokenizer import ChatTokenizer

RETRY_TEMPERATURE = 0.7
"""A malformed reply is asked for again at no less: at temperature 0 the same reply would come back."""


@dataclass(frozen=True, slots=True)
class Policy(StepWriter):
    """Makes steps for all questions of a run. A conversation is cut to `prompt_tokens` (see `truncation`).

    `tokenizer` is needed by `score` alone: the chat tokenizer of the model that is served. `logprobs` asks
    for the log-probabilities of each reply.
    """

    model: ChatModel
    protocol: Protocol
    sampling: Sampling
    prompt_tokens: int
    constrain: Constrain = Constrain.OFF
    logprobs: bool = False
    tokenizer: ChatTokenizer | None = None

    @property
    def concludes(self) -> bool:
        """Whether the protocol draws a conclusion after each observation."""
        return self.protocol.concludes

    async def generate(
        self,
        question: str,
        steps: Sequence[Step],
        *,
        n: int,
        attempt: int,
        functions: Sequence[str] = FUNCTIONS,
        part: int = 0,
    ) -> Completion:
        """The reply for step `n`, with the cost of all that it took; `part` tells several calls of one
        attempt apart. Raises `ModelError`, `ContextFullError` when the server refuses the shortest form
        too.
        """
        protocol = self.protocol
        turns = protocol.turns(question, steps)
        whole = protocol.messages(turns)
        # What the protocol adds to the turns: system prompt, tags, instructions.
        around = sum(len(message["content"]) for message in whole) - size_of(turns)
        room = int(self.prompt_tokens * CHARS_PER_TOKEN) - around
        return await chat_within_context(
            self.model,
            truncation_candidates(turns, max_chars=room),
            render=lambda form: whole if form == turns else protocol.messages(form),
            sampling=step_sampling(self.sampling, question, steps, n=n, attempt=attempt, part=part),
            prompt_tokens=self.prompt_tokens,
            stop=(*protocol.stops, *protocol.closers),
            constraint=protocol.constraint(self.constrain, n=n, functions=functions),
            logprobs=self.logprobs,
        )

    def parse(self, reply: Completion, functions: Sequence[str]) -> ParsedStep | ParseError:
        """The step in a reply."""
        return self.protocol.parse(reply.text, think=reply.think, functions=functions)

    async def conclude(self, question: str, steps: Sequence[Step], *, n: int) -> Completion:
        """The conclusion after the observation of the last of `steps`, as one line."""
        reply = await self.generate(question, steps, n=n, attempt=0, part=1)
        return replace(reply, text=self.protocol.parse_conclusion(reply.text))

    async def score(
        self, node: Node, continuations: Sequence[str], *, written: str = ""
    ) -> list[list[float]]:
        """The log-probabilities of the tokens of each continuation, as the next reply to the prefix `node`
        or as what follows the beginning `written` of that reply. Raises `ModelError`, and `UserError` where
        the model gives no token ids or no tokenizer is set.
        """
        if self.tokenizer is None or not isinstance(self.model, TokenModel):
            raise UserError(
                "scoring continuations needs a server that takes token ids (vLLM, the embedded server) and "
                "the setting agent.tokenizer, the folder of the model's tokenizer"
            )
        turns = self.protocol.lay_out(self.protocol.turns(node.question, node.steps))
        prompt = [*self.tokenizer.prompt_ids(turns), *self.tokenizer.text_ids(written)]
        return [
            await self.model.score_tokens(prompt, self.tokenizer.text_ids(text)) for text in continuations
        ]


def step_sampling(
    base: Sampling, question: str, steps: Sequence[Step], *, n: int, attempt: int, part: int = 0
) -> Sampling:
    """How try `attempt` of step `n` is decoded: with a seed of its own (`part` tells several calls of one try
    apart), and not greedily where the same reply would come back.
    """
    parts = (question, n, attempt, part) if part else (question, n, attempt)
    sampling = replace(base, seed=derive_seed(base.seed, *parts))
    if attempt or (steps and steps[-1].repeated):
        return replace(sampling, temperature=max(sampling.temperature, RETRY_TEMPERATURE))
    return sampling
