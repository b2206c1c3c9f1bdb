"""The RAG engine: a sub-query becomes an observation (ReaRAG, reference sections 0.2 and 3).

`search` queries the retriever, then a reader LLM answers the sub-query from the passages only. How we differ:
the passages of every observation are recorded; identical passages are shown once; the observation can also be
the passages themselves, or both. Results of the retriever are cached by its server, not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from src_core.llm import ChatModel, Sampling
from src_core.named_passages import naming
from src_core.passage_view import PassageView, passage_block
from src_core.protocols.records import Message
from src_core.text import fill
from src_core.types import NO_USAGE, Passage, Step, Usage
from src_infer.episode import Observation
from src_infer.forgotten_await import awaited
from src_infer.metering import count_search
from src_retrieval.client import Retriever

READER_STOPS = ("<|user|>", "<|endoftext|>", "<|assistant|>")


class ObservationMode(StrEnum):
    """The text that the reasoning model reads after a search."""

    READER = "reader"
    PASSAGES = "passages"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class ReaderReply:
    """A reader's text and its token usage."""

    text: str
    usage: Usage


class RagEngine:
    """Returns observations of sub-queries. `view` is what a model sees of a passage. `reader` may be None
    where observations are the passages themselves. `only_named` leaves out passages that do not name what
    the query names (`src_core.named_passages`); `repeat_passages` shows a passage again that an earlier
    observation showed.
    """

    def __init__(
        self,
        *,
        retriever: Retriever,
        reader: ChatModel | None,
        prompt: str,
        sampling: Sampling,
        top_k: int,
        mode: ObservationMode,
        view: PassageView,
        only_named: bool = False,
        repeat_passages: bool = False,
    ) -> None:
        self._retriever = retriever
        self._reader = reader
        self._prompt = prompt
        self._sampling = sampling
        self._top_k = top_k
        self._mode = mode
        self._view = view
        self._only_named = only_named
        self._repeat = repeat_passages

    @awaited("runtime.rag.observe")
    async def observe(self, query: str, steps: Sequence[Step]) -> Observation:
        """The observation for `query` after `steps`, with the passages that it is made of. In passage modes a
        passage that an earlier observation showed is listed by its title unless passages are repeated. Raises
        `RetrieverError` or `ModelError`.
        """
        passages = await retrieve(self._retriever, query, self._top_k)
        if self._only_named:
            passages = naming(query, passages)
        parts: list[str] = []
        usage = NO_USAGE
        if self._mode is not ObservationMode.PASSAGES:
            reply = await self._read(query, passages)
            parts.append(reply.text)
            usage = reply.usage
        if self._mode is not ObservationMode.READER:
            parts.append(self._show(query, passages, steps))
        return Observation("\n".join(parts), passages, usage)

    async def _read(self, query: str, passages: Sequence[Passage]) -> ReaderReply:
        if self._reader is None:
            raise ValueError(f"observations of mode {self._mode} need a reader")
        context = passage_block(passages, view=self._view, query=query)
        return await ask(
            self._reader, fill(self._prompt, context=context, question=query), sampling=self._sampling
        )

    def _show(self, query: str, passages: Sequence[Passage], steps: Sequence[Step]) -> str:
        seen = set() if self._repeat else {passage.id for step in steps for passage in step.passages}
        fresh = [passage for passage in passages if passage.id not in seen]
        known = [passage.title or passage.id for passage in passages if passage.id in seen]
        lines = [passage_block(fresh, view=self._view, query=query)] if fresh else []
        if known:
            lines.append(f"(shown before: {'; '.join(known)})")
        return "\n".join(lines) if lines else "(no passage was found)"


async def retrieve(retriever: Retriever, query: str, top_k: int) -> tuple[Passage, ...]:
    """The `top_k` best passages, without identical texts. Raises `RetrieverError`."""
    passages = await retriever.search(query, top_k)
    count_search()
    return tuple(unique_passages(passages))


def unique_passages(passages: Sequence[Passage]) -> list[Passage]:
    """The passages in order, without a second one of the same text (the original's own check never
    matches).
    """
    return list({" ".join(passage.contents.split()): passage for passage in reversed(passages)}.values())[
        ::-1
    ]


async def ask(model: ChatModel, prompt: str, *, sampling: Sampling, system: str = "") -> ReaderReply:
    """One user turn (after an optional system turn), one stripped reply."""
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": prompt})
    completion = await model.chat(messages, sampling=sampling, stop=READER_STOPS)
    return ReaderReply(completion.text.strip(), completion.usage)
