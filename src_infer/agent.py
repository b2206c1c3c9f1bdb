"""The reasoning model behind the loop: renders the conversation, fits it to the context, asks for one
step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from src_core.errors import ContextFullError, ModelError
from src_core.grammar import Constrain, Constraint, step_constraint
from src_core.llm import ChatModel, Completion, Message, Sampling, derive_seed
from src_core.render import PromptStyle, chat_messages, conversation
from src_core.types import Step
from src_infer.prompts import shorten

Turn = dict[str, Any]
"""One turn of a conversation in the published schema (`src_core.render`)."""
Render = Callable[[Sequence[Turn]], list[Message]]

TURN_STOPS = ("<|user|>", "<|observation|>", "<|assistant|>")
AGENT_STOPS = (*TURN_STOPS, "\nObservation")
TAG_STOPS = TURN_STOPS[:2]
"""For protocols with two closing tags of their own: servers take four stop strings."""
RETRY_TEMPERATURE = 0.7
CHARS_PER_TOKEN = 3.0
SHRINK = 0.8
_SHORT = (400, 160, 60)
# How llama.cpp ("exceed_context_size_error") and vLLM ("maximum context length", "model length") refuse.
_TOO_LONG = re.compile(r"HTTP 4\d\d: .*(context.(size|length)|model length)", re.IGNORECASE | re.DOTALL)


class Agent:
    """Makes `Generate` calls for one run. A malformed reply is retried at no less than
    `RETRY_TEMPERATURE`: at temperature 0 the same reply would come back. `stop_at_observation` is turned off
    for models that think first: a think block may hold the word, and the parser drops what follows a step.

    A conversation is cut to `prompt_tokens` by a fixed, cautious guess of `CHARS_PER_TOKEN`; where that was
    not cautious enough (Chinese has fewer), the server shows it and the conversation is cut further. So what
    is sent for a question depends on nothing but that question, whatever else is in flight.
    """

    def __init__(
        self,
        model: ChatModel,
        *,
        style: PromptStyle,
        sampling: Sampling,
        constrain: Constrain,
        prompt_tokens: int,
        stop_at_observation: bool = True,
    ) -> None:
        self.model = model
        self.sampling = sampling
        self.prompt_tokens = prompt_tokens
        self._style = style
        self._constrain = constrain
        self._stops = AGENT_STOPS if stop_at_observation else TURN_STOPS

    async def generate(
        self, question: str, steps: Sequence[Step], *, n: int, attempt: int, functions: Sequence[str]
    ) -> Completion:
        """The reply for step `n` (see `episode.Generate`), with the cost of all that it took. Raises
        `ModelError`, `ContextFullError` when the server refuses the shortest form too.
        """
        turns = conversation(self._style, question, steps)
        room = int(self.prompt_tokens * CHARS_PER_TOKEN) - len(self._style.system)
        return await chat_within_context(
            self.model,
            truncation_candidates(turns, max_chars=room),
            render=partial(chat_messages, self._style),
            sampling=step_sampling(self.sampling, question, steps, n=n, attempt=attempt),
            prompt_tokens=self.prompt_tokens,
            stop=self._stops,
            constraint=step_constraint(self._constrain, n=n, functions=functions),
        )


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


async def chat_within_context(
    model: ChatModel,
    forms: Iterable[Sequence[Turn]],
    *,
    render: Render,
    sampling: Sampling,
    prompt_tokens: int,
    stop: Sequence[str],
    constraint: Constraint | None = None,
    logprobs: bool = False,
) -> Completion:
    """The reply to the first of `forms` (see `truncation_candidates`) that fits the server's context, with
    the cost of all that it took. Raises `ModelError`, `ContextFullError` when the server refuses the
    shortest form too.
    """
    given: Completion | None = None
    for turns in forms:
        try:
            reply = await model.chat(
                render(turns), sampling=sampling, stop=stop, constraint=constraint, logprobs=logprobs
            )
        except ModelError as error:
            observed = any(turn["role"] == "observation" for turn in turns)
            if not observed or not _TOO_LONG.search(str(error)):
                raise
            continue
        given = replace(reply, usage=given.usage + reply.usage) if given else reply
        # The prompt took more than its share of the context, and the reply ran out of what was left.
        if reply.finish_reason != "length" or reply.usage.prompt_tokens <= prompt_tokens:
            break
    if given is None:
        raise ContextFullError("the server refuses the conversation, however short its observations are")
    return given


def truncation_candidates(turns: Sequence[Turn], *, max_chars: int) -> Iterator[list[Turn]]:
    """The turns cut to `max_chars`, then by a fifth more each time, down to their shortest form. Raises
    `ContextFullError` as `fit_turns` does.
    """
    least = size_of(_shortened(turns, max_chars=0))
    fitted = fit_turns(turns, max_chars=max_chars)
    yield fitted
    while (size := size_of(fitted)) > least:
        fitted = fit_turns(turns, max_chars=max(least, int(SHRINK * size)))
        yield fitted


def fit_turns(turns: Sequence[Turn], *, max_chars: int) -> list[Turn]:
    """Shorten observations, oldest first, until the turns fit; turns stay whole and in order (the
    original cuts out the middle of the prompt). Raises `ContextFullError` when even one-line observations do
    not fit.
    """
    fitted = _shortened(turns, max_chars=max_chars)
    if (size := size_of(fitted)) > max_chars:
        raise ContextFullError(
            f"the conversation does not fit the context: {size} characters, room for {max_chars}"
        )
    return fitted


def _shortened(turns: Sequence[Turn], *, max_chars: int) -> list[Turn]:
    """The turns, shortened until they fit or nothing is left to shorten."""
    fitted = [dict(turn) for turn in turns]
    size = size_of(fitted)
    for length in _SHORT:
        for turn in fitted:
            if size <= max_chars:
                return fitted
            if turn["role"] == "observation" and len(turn["content"]) > length:
                cut = shorten(turn["content"], length)
                size -= len(turn["content"]) - len(cut)
                turn["content"] = cut
    return fitted


def size_of(turns: Sequence[Turn]) -> int:
    """The characters of all turns."""
    return sum(len(turn.get("reasoning") or turn.get("content") or "") for turn in turns)
