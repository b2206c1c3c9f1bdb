"""Counts the calls, tokens and searches of each question at the models and the retriever themselves, whatever
its method adds up or records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from src_core.llm import ChatModel, Completion
from src_core.llm_tokens import TokenCompletion, TokenModel, TokenSampling
from src_core.types import NO_USAGE, SEARCHES_WITHOUT_STEP, Search, Trajectory, Usage
from src_infer.abstaining import note_reply
from src_retrieval.web.retriever import WebSearch

WEB_SEARCHES = "web_searches"


@dataclass(slots=True)
class Meter:
    """The usage and the executed searches of one question so far, and what was searched on the web."""

    usage: Usage = NO_USAGE
    searches: int = 0
    web: list[WebSearch] = field(default_factory=list)


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


def count_search() -> None:
    """One search was executed."""
    meter = _METER.get()
    if meter is not None:
        meter.searches += 1


def note_web_search(search: WebSearch) -> None:
    """One search of the web was made, or answered from the cache."""
    meter = _METER.get()
    if meter is not None:
        meter.web.append(search)


def with_web_searches(row: Trajectory, meter: Meter) -> Trajectory:
    """The row, with what was searched on the web as `provenance["web_searches"]`: each search with its
    engine, query and time.
    """
    if not meter.web:
        return row
    searched = [asdict(search) for search in meter.web]
    return replace(row, provenance={**row.provenance, WEB_SEARCHES: searched})


def with_all_searches(row: Trajectory, executed: int) -> Trajectory:
    """The row, with a note of the executed searches that its steps do not show: those of a method that
    records no step for them, or of a step that failed. A repeated query was not executed.
    """
    shown = sum(isinstance(step.action, Search) and not step.repeated for step in row.steps)
    if executed <= shown:
        return row
    return replace(row, provenance={**row.provenance, SEARCHES_WITHOUT_STEP: executed - shown})


class MeteredModel:
    """A model whose replies are counted, and asked for at least `logprobs` log-probabilities at each
    position; everything else is the model's own.
    """

    def __init__(self, model: ChatModel, *, logprobs: int = 0) -> None:
        self._model, self._logprobs = model, logprobs

    async def chat(self, *arguments: Any, logprobs: int = 0, **more: Any) -> Completion:
        """See `ChatModel.chat`."""
        wanted = max(logprobs, self._logprobs)
        reply = _counted(await self._model.chat(*arguments, logprobs=wanted, **more))
        note_reply(reply.tokens)
        return reply

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
