"""The policy: a model that writes steps in a protocol, within the model's context.

`generate` returns the reply to a question and its steps, `parse` parses it, `score` returns the
log-probabilities of continuations. `episode.advance` builds steps from replies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from src_core.errors import UserError
from src_core.llm import ChatModel, Completion, Sampling, derive_seed
from src_core.llm_tokens import TokenModel
from src_core.protocols.base import Protocol
from src_core.protocols.records import FUNCTIONS, Constrain, ParsedStep, ParseError
from src_core.types import NO_USAGE, Step
from src_infer.episode import Node, StepWriter
from src_infer.truncation import CHARS_PER_TOKEN, chat_within_context, size_of, truncation_candidates

if TYPE_CHECKING:  # numpy, which most runs do not need
    from src_core.chat_tokenizer import ChatTokenizer

MAX_LINES = 4
"""The maximal number of calls of one reply."""
RETRY_TEMPERATURE = 0.7
"""The minimal temperature of the retry after a malformed reply: at temperature 0 the reply would be the same.
"""


@dataclass(frozen=True, slots=True)
class Policy(StepWriter):
    """Writes the steps of all questions of a run. A conversation is cut to `prompt_tokens` tokens (see
    `truncation`).

    `tokenizer` returns the chat tokenizer of the served model; only `score` calls it, so a tokenizer is
    loaded when it is needed. `logprobs` requests the log-probabilities of each reply.
    """

    model: ChatModel
    protocol: Protocol
    sampling: Sampling
    prompt_tokens: int
    constrain: Constrain = Constrain.OFF
    logprobs: int = 0
    tokenizer: Callable[[], ChatTokenizer | None] = lambda: None

    @property
    def concludes(self) -> bool:
        """Whether the model writes a conclusion after each observation."""
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
        """The reply for step `n`, with the usage of all its calls; `part` numbers the replies of one attempt.
        A reply that is not yet a whole step is continued (`Protocol.unfinished`). Raises `ModelError`, and
        `ContextFullError` when the server refuses the shortest form too.
        """
        begun, usage = self.protocol.opening(functions), NO_USAGE
        for line in range(MAX_LINES):
            reply = await self.write(
                question, steps, n=n, attempt=attempt, functions=functions, part=part, line=line, begun=begun
            )
            usage += reply.usage
            begun = self.protocol.unfinished(reply.text)
            if not begun:
                break
        return replace(reply, usage=usage)

    async def write(
        self,
        question: str,
        steps: Sequence[Step],
        *,
        n: int,
        attempt: int,
        functions: Sequence[str] = FUNCTIONS,
        part: int = 0,
        line: int = 0,
        begun: str = "",
        stop: Sequence[str] = (),
    ) -> Completion:
        """The text of one call that continues `begun`, the beginning of the reply, which is part of it; it
        ends before a string of `stop`. `line` numbers the calls of one reply. Raises as `generate`.
        """
        protocol = self.protocol
        turns = protocol.turns(question, steps)
        whole = protocol.messages(turns, begun=begun)
        # The characters that the protocol adds to the turns: system prompt, tags, instructions.
        around = sum(len(message["content"]) for message in whole) - size_of(turns)
        room = int(self.prompt_tokens * CHARS_PER_TOKEN) - around
        reply = await chat_within_context(
            self.model,
            truncation_candidates(turns, max_chars=room),
            render=lambda form: whole if form == turns else protocol.messages(form, begun=begun),
            sampling=step_sampling(
                self.sampling, question, steps, n=n, attempt=attempt, part=part, line=line
            ),
            prompt_tokens=self.prompt_tokens,
            stop=(*protocol.stops, *protocol.closers, *stop),
            constraint=protocol.constraint(self.constrain, n=n, functions=functions),
            logprobs=self.logprobs,
        )
        return replace(reply, text=begun + reply.text) if begun else reply

    def parse(self, reply: Completion, functions: Sequence[str]) -> ParsedStep | ParseError:
        """The step in a reply."""
        return self.protocol.parse(reply.text, think=reply.think, functions=functions)

    async def conclude(self, question: str, steps: Sequence[Step], *, n: int) -> Completion:
        """The conclusion after the observation of the last of `steps`, as one line."""
        reply = await self.generate(question, steps, n=n, attempt=0, part=1)
        return replace(reply, text=self.protocol.parse_conclusion(reply.text))

    @property
    def can_score(self) -> bool:
        """Whether `score` works: the server takes token ids, and a tokenizer is set."""
        by_tokens = isinstance(self.model, TokenModel) and getattr(self.model, "engine", "") != "openai"
        return by_tokens and self.tokenizer() is not None

    async def score(
        self, node: Node, continuations: Sequence[str], *, written: str = ""
    ) -> list[list[float]]:
        """The log-probabilities of the tokens of each continuation, as the next reply to the prefix `node`,
        or as the text after `written`, the beginning of that reply. Raises `ModelError`, and `UserError`
        where the model returns no token ids or no tokenizer is set.
        """
        tokenizer = self.tokenizer()
        if tokenizer is None or not isinstance(self.model, TokenModel):
            raise UserError(
                "scoring continuations needs a server that takes token ids (vLLM, the embedded server); set "
                "agent.tokenizer to the folder of the model's tokenizer"
            )
        turns = self.protocol.lay_out(self.protocol.turns(node.question, node.steps))
        prompt = [*tokenizer.prompt_ids(turns), *tokenizer.text_ids(written)]
        return [await self.model.score_tokens(prompt, tokenizer.text_ids(text)) for text in continuations]


def step_sampling(
    base: Sampling,
    question: str,
    steps: Sequence[Step],
    *,
    n: int,
    attempt: int,
    part: int = 0,
    line: int = 0,
) -> Sampling:
    """The decoding of attempt `attempt` of step `n`: with its own seed (`part` numbers the replies of one
    attempt, `line` the calls of one reply), and not greedy in a retry, where the reply would be the same.
    """
    further = (part, line) if line else (part,) if part else ()
    sampling = replace(base, seed=derive_seed(base.seed, question, n, attempt, *further))
    if attempt or (steps and steps[-1].repeated):
        return replace(sampling, temperature=max(sampling.temperature, RETRY_TEMPERATURE))
    return sampling
