"""Conversations that do not fit the model's context: observations are shortened, oldest first; turns stay
complete and in order (the original ReaRAG cuts out the middle of the prompt, reference rearag.md section 8).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from src_core.errors import ContextFullError, ModelError
from src_core.llm import ChatModel, Completion, Sampling
from src_core.protocols.records import Constraint, Message, Turn
from src_core.text import shorten

Render = Callable[[Sequence[Turn]], list[Message]]

CHARS_PER_TOKEN = 3.0
"""A cautious estimate of characters per token. Where it is too high (Chinese text has fewer), the server
refuses the conversation, which is then cut further; so the text that is sent depends only on the question,
not on other questions in flight.
"""
_SHRINK = 0.8
_SHORT = (400, 160, 60)
# How llama.cpp ("exceed_context_size_error") and vLLM ("maximum context length", "model length") refuse.
_TOO_LONG = re.compile(r"HTTP 4\d\d: .*(context.(size|length)|model length)", re.IGNORECASE | re.DOTALL)


async def chat_within_context(
    model: ChatModel,
    forms: Iterable[Sequence[Turn]],
    *,
    render: Render,
    sampling: Sampling,
    prompt_tokens: int,
    stop: Sequence[str],
    constraint: Constraint | None = None,
    logprobs: int = 0,
) -> Completion:
    """The reply to the first of `forms` (see `truncation_candidates`) that fits the server's context, with
    the usage of all calls. Raises `ModelError`, and `ContextFullError` when the server refuses the shortest
    form too.
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
        # The prompt took more than its share of the context, and the rest was too short for the reply.
        if reply.finish_reason != "length" or reply.usage.prompt_tokens <= prompt_tokens:
            break
    if given is None:
        raise ContextFullError("the server refuses the conversation, however short its observations are")
    return given


def truncation_candidates(turns: Sequence[Turn], *, max_chars: int) -> Iterator[list[Turn]]:
    """The turns cut to `max_chars` characters, then by a fifth more each time, down to their shortest form.
    Raises `ContextFullError` as `fit_turns` does.
    """
    fitted = fit_turns(turns, max_chars=max_chars)
    yield fitted
    least = size_of(_shortened(turns, max_chars=0))  # computed after the first form, which nearly always fits
    while (size := size_of(fitted)) > least:
        fitted = fit_turns(turns, max_chars=max(least, int(_SHRINK * size)))
        yield fitted


def fit_turns(turns: Sequence[Turn], *, max_chars: int) -> list[Turn]:
    """Shorten observations, oldest first, until the turns fit; turns stay complete and in order (the original
    ReaRAG cuts out the middle of the prompt). Raises `ContextFullError` when even one-line observations do
    not fit.
    """
    fitted = _shortened(turns, max_chars=max_chars)
    if (size := size_of(fitted)) > max_chars:
        raise ContextFullError(
            f"the conversation does not fit the context: {size} characters, room for {max_chars}"
        )
    return fitted


def _shortened(turns: Sequence[Turn], *, max_chars: int) -> list[Turn]:
    """A copy of the turns, shortened until they fit or no observation can be shortened further."""
    fitted = list(turns)
    size = size_of(fitted)
    for length in _SHORT:
        for at, turn in enumerate(fitted):
            if size <= max_chars:
                return fitted
            if turn["role"] == "observation" and len(turn["content"]) > length:
                cut = shorten(turn["content"], length)
                size -= len(turn["content"]) - len(cut)
                fitted[at] = {**turn, "content": cut}
    return fitted


def size_of(turns: Sequence[Turn]) -> int:
    """The number of characters of all turns."""
    return sum(len(turn.get("reasoning") or turn.get("content") or "") for turn in turns)
