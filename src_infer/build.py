"""From configuration to tools: models, retriever and runtime. Fakes are ordinary values (`scripted:`,
`toy:`).
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src_core.endpoints import TOKEN_VARIABLE, make_model
from src_core.http_json import RetryPolicy
from src_core.llm import ChatModel
from src_infer.agent import Agent
from src_infer.config import InferConfig
from src_infer.prompts import load_prompt
from src_infer.rag_engine import CachedRetriever, RagEngine
from src_infer.runtime import Runtime, StepPrinter
from src_retrieval.client import Retriever, RetrieverClient
from src_retrieval.toy import ToyRetriever


@dataclass(frozen=True, slots=True)
class Tools:
    """A runtime and what must be closed after the run; `identity` says which index answered."""

    runtime: Runtime
    models: tuple[ChatModel, ...]
    retriever: CachedRetriever
    identity: dict[str, Any]

    def model_names(self) -> list[str]:
        """What each distinct model server calls its model (the file for a script)."""
        return [model.name for model in self.models]

    async def close(self) -> None:
        """Release all connections."""
        for model in self.models:
            await model.close()
        await self.retriever.close()


async def build_tools(
    config: InferConfig, *, on_step: StepPrinter | None, needs_search: bool = True
) -> Tools:
    """Connect and check. Raises `BoundaryError` for a server that does not answer; then nothing is open."""
    async with AsyncExitStack() as opened:
        tools = await _build(config, opened, on_step=on_step, needs_search=needs_search)
        opened.pop_all()
    return tools


async def _build(
    config: InferConfig, opened: AsyncExitStack, *, on_step: StepPrinter | None, needs_search: bool
) -> Tools:
    token = os.environ.get(TOKEN_VARIABLE) or None
    agent_model = make_model(config.agent, connections=config.in_flight, token=token)
    same = config.agent == config.reader
    reader = agent_model if same else make_model(config.reader, connections=config.in_flight, token=token)
    for model in (agent_model,) if same else (agent_model, reader):
        opened.push_async_callback(model.close)
        await model.ready()
    retriever = make_retriever(config.retriever, connections=config.in_flight, token=token)
    opened.push_async_callback(retriever.close)
    identity = await retriever_identity(retriever, config.retriever) if needs_search else {}
    cached = CachedRetriever(retriever, identity=str(identity))
    runtime = Runtime(
        agent=make_agent(config, agent_model),
        reader=reader,
        rag=make_rag(config, retriever=cached, reader=reader),
        retriever=cached,
        limits=config.limits,
        final_sampling=config.sampling("final"),
        answer_from=config.answer_from,
        top_k=config.top_k,
        max_passage_chars=config.max_passage_chars,
        baselines=config.baselines,
        on_step=on_step,
    )
    return Tools(runtime, (agent_model,) if same else (agent_model, reader), cached, identity)


def make_agent(config: InferConfig, model: ChatModel) -> Agent:
    """The reasoning model with the prompt and the sampling of the configuration."""
    return Agent(
        model,
        style=config.prompt.style(),
        sampling=config.sampling("agent"),
        constrain=config.constrain,
        prompt_tokens=config.prompt_tokens,
    )


def make_rag(config: InferConfig, *, retriever: CachedRetriever, reader: ChatModel) -> RagEngine:
    """The RAG engine of the configuration."""
    return RagEngine(
        retriever=retriever,
        reader=reader,
        prompt=load_prompt("observe"),
        sampling=config.sampling("observe"),
        top_k=config.top_k,
        mode=config.observation_mode,
        max_passage_chars=config.max_passage_chars,
    )


def make_retriever(
    where: str, *, connections: int, token: str | None, retry: RetryPolicy | None = None
) -> Retriever:
    """The retriever behind a URL or `toy:CORPUS`."""
    if where.startswith("toy:"):
        return ToyRetriever.from_file(Path(where.removeprefix("toy:")))
    return RetrieverClient(where, token=token, connections=connections, retry=retry)


async def retriever_identity(retriever: Retriever, where: str) -> dict[str, Any]:
    """Which index answers. Raises `RetrieverError` when the server does not."""
    if not isinstance(retriever, RetrieverClient):
        return {"retriever": where}
    found: dict[str, Any] = (await retriever.health()).get("index", {})
    return found
