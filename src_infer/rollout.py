"""Token-exact rollouts: an episode whose model takes and gives token ids, recorded as spans
(`rollout_record`).

Spans are only appended: the ids of a sample are the ids that the model saw, and no text is tokenised twice.
An episode ends where it would have to shorten an observation (`RolloutLimits.max_tokens`); earlier spans are
not changed.
Where a protocol has one prompt per step (`history_in_user_turn`), every step is a separate sample.

The loop is `episode.run_episode`; a rollout differs from a run only in its `StepWriter`. A malformed reply
that is retried is removed from the sample and kept in `discarded`, for a format reward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from src_core.chat_tokenizer import ChatTokenizer, TokenPiece
from src_core.config import Positive, Temperature, TopP, config_class
from src_core.errors import ContextFullError
from src_core.llm import Completion, derive_seed
from src_core.llm_tokens import TokenCompletion, TokenModel, TokenSampling
from src_core.protocols.base import Protocol
from src_core.protocols.records import ChatTurn, Layout, ParsedStep, ParseError
from src_core.think import split_think
from src_core.types import NO_USAGE, Question, Status, Step
from src_infer.episode import Episode, Limits, SearchFn, StepWriter, run_episode
from src_infer.policy import MAX_LINES
from src_infer.rollout_record import Rollout, Sample, Span


@config_class
class RolloutLimits:
    """`max_reply_tokens` per reply, `max_tokens` per sample; `temperature` and `top_p` of the sampling (a
    policy gradient assumes 1 and 1).
    """

    max_reply_tokens: Positive = 256
    max_tokens: Positive = 4096
    temperature: Temperature = 1.0
    top_p: TopP = 1.0


async def rollout(
    question: Question,
    *,
    model: TokenModel,
    protocol: Protocol,
    tokenizer: ChatTokenizer,
    search: SearchFn,
    limits: Limits,
    tokens: RolloutLimits,
    seed: int | None = None,
    policy_version: int = 0,
) -> Rollout:
    """One episode for one question. Boundary errors become its status, as in `run_episode`; a full sample
    ends it with the status `budget_then_answered`.
    """
    writer = TokenWriter(model, protocol, tokenizer, tokens=tokens, seed=seed, policy_version=policy_version)
    episode = await run_episode(question.question, writer=writer, search=search, limits=limits)
    return Rollout(question, episode, writer.finished(episode), tuple(writer.discarded))


@dataclass(slots=True)
class _Open:
    """The sample that is being written: its spans, and their number of assistant segments."""

    spans: list[Span] = field(default_factory=list)
    replies: list[int] = field(default_factory=list)

    def append(
        self, ids: Sequence[int], *, trainable: bool, logprobs: Sequence[float | None] = (), version: int = 0
    ) -> None:
        # A reply is a span even when it is empty: a retry drops the last span.
        if ids or trainable:
            self.spans.append(Span(tuple(ids), trainable, tuple(logprobs), version))

    def sample(self) -> Sample:
        return Sample(tuple(self.spans), tuple(self.replies))


class TokenWriter(StepWriter):
    """Writes the steps of one episode through the token routes of a model."""

    def __init__(
        self,
        model: TokenModel,
        protocol: Protocol,
        tokenizer: ChatTokenizer,
        *,
        tokens: RolloutLimits,
        seed: int | None,
        policy_version: int,
    ) -> None:
        self._model = model
        self._protocol = protocol
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._seed = seed
        self._version = policy_version
        self._closed: list[Sample] = []
        self._open = _Open()
        self._inserted: list[ChatTurn] = []
        self.discarded: list[Span] = []

    @property
    def concludes(self) -> bool:
        """Whether the model writes a conclusion after each observation."""
        return self._protocol.concludes

    async def generate(
        self,
        question: str,
        steps: Sequence[Step],
        *,
        n: int,
        attempt: int,
        functions: Sequence[str],  # noqa: ARG002 - sampling is not constrained
    ) -> Completion:
        """The reply for step `n`: the environment's tokens are appended, then the tokens that the model
        samples. Raises `ContextFullError` where the sample is full.
        """
        if attempt:  # the reply before was malformed
            self._discard()
        else:
            self._insert(question, steps)
        return await self._sample(n, attempt)

    async def conclude(self, question: str, steps: Sequence[Step], *, n: int) -> Completion:
        """The conclusion of step `n`. An empty one is not a turn of the conversation, and is taken out of
        the sample.
        """
        self._insert(question, steps)
        reply = await self._sample(n, 0)
        said = self._protocol.parse_conclusion(reply.text)
        if not said:
            self._discard()
        return Completion(said, reply.finish_reason, reply.usage, reply.think)

    def parse(self, reply: Completion, functions: Sequence[str]) -> ParsedStep | ParseError:
        """The step in a reply."""
        return self._protocol.parse(reply.text, think=reply.think, functions=functions)

    def finished(self, episode: Episode) -> tuple[Sample, ...]:
        """All samples. The last reply of a turn gets its terminator where the model did not write it."""
        if episode.status is Status.FINISHED:
            self._end_turn(episode.node.question, episode.steps)
        return tuple(each for each in (*self._closed, self._open.sample()) if any(each.trainable))

    def _chat(self, question: str, steps: Sequence[Step]) -> list[ChatTurn]:
        return self._protocol.lay_out(self._protocol.turns(question, steps))

    def _discard(self) -> None:
        """Take the last reply out of the sample."""
        self.discarded.append(self._open.spans.pop())
        self._open.replies.pop()

    def _insert(self, question: str, steps: Sequence[Step]) -> None:
        """Append the tokens between the last reply and the next one, or begin a sample with its prompt. After
        a discarded reply they are there already, and nothing is appended.
        """
        turns = self._chat(question, steps)
        if turns == self._inserted and not self._open.spans[-1].trainable:
            return
        self._inserted = turns
        pieces = self._tokenizer.prompt_pieces(turns)
        anew = self._protocol.layout is Layout.HISTORY_IN_USER_TURN
        if anew or not self._open.spans:
            if self._open.spans:
                self._end_turn(question, steps)
                self._closed.append(self._open.sample())
                self._open = _Open()
            self._open.append([token for piece in pieces for token in piece.ids], trainable=False)
            return
        last = max(at for at, piece in enumerate(pieces) if piece.trained)
        self._append_after(pieces[last], [token for piece in pieces[last + 1 :] for token in piece.ids])

    def _end_turn(self, question: str, steps: Sequence[Step]) -> None:
        """Append the terminator of the last reply where the model did not write it."""
        sample = self._protocol.samples(self._protocol.turns(question, steps))[-1]
        trained = [piece for piece in self._tokenizer.pieces(sample) if piece.trained]
        if trained:
            self._append_after(trained[-1], [])

    def _append_after(self, written: TokenPiece, inserted: list[int]) -> None:
        """Append the terminator, where the model did not write it, and the tokens after it."""
        end, sampled = self._tokenizer.terminator(written.ids), self._open.spans[-1]
        wrote = self._tokenizer.terminator(sampled.ids)
        if wrote not in (None, end):  # it ended its turn where the turn continues, or with another token
            self._open.spans[-1] = sampled._replace(ids=sampled.ids[:-1], logprobs=sampled.logprobs[:-1])
        missing = [end] if end is not None and wrote != end else []
        self._open.append([*missing, *inserted], trainable=False)

    async def _sample(self, n: int, attempt: int) -> Completion:
        """Append a reply, which may take several lines (`Protocol.unfinished`)."""
        prompt = [token for span in self._open.spans for token in span.ids]
        ids, logprobs, usage = list[int](), list[float | None](), NO_USAGE
        for line in range(MAX_LINES):
            reply = await self._tokens_after([*prompt, *ids], n, attempt, line)
            keep = self._before_stop(reply.ids)
            ids += reply.ids[:keep]
            logprobs += reply.logprobs[:keep]
            usage += reply.usage
            text = self._tokenizer.reply_text(ids)
            # A line that was not ended cannot be continued: its tokens would be others. A blank line is what
            # some templates (GLM-4) have the model write first.
            more = not text.strip() or self._protocol.unfinished(text)
            if not more or not text.endswith(self._protocol.closers):
                break
        self._open.append(ids, trainable=True, logprobs=logprobs, version=self._version)
        self._open.replies.append(n)
        thinking = split_think(text)
        return Completion(thinking.text, reply.finish_reason, usage, think=thinking.think)

    async def _tokens_after(self, prompt: Sequence[int], n: int, attempt: int, line: int) -> TokenCompletion:
        """One call. Raises `ContextFullError` where the sample is full."""
        room = min(self._tokens.max_reply_tokens, self._tokens.max_tokens - len(prompt))
        if room <= 0:
            raise ContextFullError(f"the sample has {len(prompt)} of {self._tokens.max_tokens} tokens")
        sampling = TokenSampling(
            max_tokens=room,
            temperature=self._tokens.temperature,
            top_p=self._tokens.top_p,
            seed=derive_seed(self._seed, n, attempt, *([line] if line else [])),
            stop=(*self._protocol.stops, *self._protocol.closers),
        )
        return await self._model.generate_tokens(prompt, sampling=sampling)

    def _before_stop(self, ids: Sequence[int]) -> int:
        """The number of ids before a stop string that is not part of the reply."""
        text = self._tokenizer.reply_text(ids)
        cut = min((at for mark in self._protocol.stops if (at := text.find(mark)) >= 0), default=len(text))
        keep = len(ids)
        while cut < len(text) and keep and len(self._tokenizer.reply_text(ids[:keep])) > cut:
            keep -= 1
        return keep
