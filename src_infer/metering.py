"""Counts the calls and tokens of each question at the models themselves, whatever its method adds up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from src_core.llm import ChatModel, Completion
from src_core.llm_tokens import TokenCompletion, TokenModel, TokenSampling
from src_core.types import NO_USAGE, Usage


@dataclass(slots=True)
class Meter:
    """The usage of one question so far."""

    usage: Usage = NO_USAGE


Reply = TypeVar("Reply", Completion, TokenCompletion)
_METER: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextmanager
def metered() -> Iterator[Meter]:
    """Counts all calls inside, also those of tasks that are started inside."""
    meter = Meter()
    token = _METER.set(meter)
    try:
        yield meter
    finally:
        _METER.reset(token)


class MeteredModel:
    """A model whose replies are counted; everything else is the model's own."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    async def chat(self, *arguments: Any, **more: Any) -> Completion:
        """See `ChatModel.chat`."""
        return _counted(await self._model.chat(*arguments, **more))

    async def generate_tokens(self, prompt: Sequence[int], *, sampling: TokenSampling) -> TokenCompletion:
        """See `llm_tokens.TokenModel`."""
        assert isinstance(self._model, TokenModel)
        return _counted(await self._model.generate_tokens(prompt, sampling=sampling))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def _counted(reply: Reply) -> Reply:
    meter = _METER.get()
    if meter is not None:
        meter.usage += reply.usage
    return reply
