"""What a model reads after a search, wherever its text comes from: inference, construction or rollouts."""

from __future__ import annotations

from collections.abc import Sequence

from src_core.protocols.base import Protocol
from src_core.types import Step
from src_infer.episode import Observation, SearchFn
from src_infer.runtime import Runtime


def has_documents(protocol: Protocol) -> bool:
    """Whether the format renders documents in a form of its own."""
    return type(protocol).render_documents is not Protocol.render_documents


def search_of(runtime: Runtime, protocol: Protocol) -> SearchFn:
    """The observation of a query: the documents as the format renders them where it has a form of its own,
    else what the RAG engine shows (`runtime.observation_mode`).
    """
    if not has_documents(protocol):
        return runtime.rag.observe

    async def search(query: str, _steps: Sequence[Step]) -> Observation:
        passages = await runtime.retrieve(query)
        return Observation(protocol.render_documents(passages, view=runtime.view, query=query), passages)

    return search
