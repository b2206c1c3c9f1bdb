"""From configuration to tools: models, retriever and kit. Fakes are ordinary values (`scripted:`, `toy:`)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src_retrieval.client import Retriever, RetrieverClient
from src_retrieval.toy import ToyRetriever

from src_core.errors import UserError
from src_core.llm import ChatModel, Endpoint, HttpChatModel
from src_core.scripted import ScriptedModel
from src_infer.agent import Agent
from src_infer.config import InferConfig
from src_infer.kit import Kit, StepPrinter
from src_infer.prompts import load_prompt
from src_infer.rag_engine import CachedRetriever, RagEngine

TOKEN_VARIABLE = "REARAG_TOKEN"


@dataclass(frozen=True, slots=True)
class Tools:
    """A kit and what must be closed after the run; `identity` says which index answered."""

    kit: Kit
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
    """Connect and check. A server that does not answer is a `UserError` that names it and how to start it."""
    token = os.environ.get(TOKEN_VARIABLE) or None
    agent_model = make_model(config.agent, connections=config.in_flight, token=token)
    same = config.agent == config.reader
    reader = agent_model if same else make_model(config.reader, connections=config.in_flight, token=token)
    for model in (agent_model, reader):
        await model.ready()
    retriever, identity = await _connect(config, token=token, needed=needs_search)
    cached = CachedRetriever(retriever, identity=str(identity))
    rag = RagEngine(
        retriever=cached,
        reader=reader,
        prompt=load_prompt("observe"),
        sampling=config.sampling("observe"),
        top_k=config.top_k,
        mode=config.observation_mode,
        max_passage_chars=config.max_passage_chars,
    )
    agent = Agent(
        agent_model,
        style=config.prompt.style(),
        sampling=config.sampling("agent"),
        constrain=config.constrain,
        prompt_tokens=config.prompt_tokens,
    )
    kit = Kit(
        agent=agent,
        reader=reader,
        rag=rag,
        retriever=cached,
        limits=config.limits,
        final_sampling=config.sampling("final"),
        answer_from=config.answer_from,
        top_k=config.top_k,
        max_passage_chars=config.max_passage_chars,
        on_step=on_step,
    )
    return Tools(kit, (agent_model,) if same else (agent_model, reader), cached, identity)


def make_model(endpoint: Endpoint, *, connections: int, token: str | None) -> ChatModel:
    """The model behind an endpoint: `scripted:FILE` or an HTTP URL."""
    if endpoint.url.startswith("scripted:"):
        return ScriptedModel(Path(endpoint.url.removeprefix("scripted:")))
    if not endpoint.url.startswith(("http://", "https://")):
        raise UserError(f"the model url {endpoint.url!r} must start with http://, https:// or scripted:")
    return HttpChatModel(endpoint, connections=connections, token=token)


async def _connect(
    config: InferConfig, *, token: str | None, needed: bool
) -> tuple[Retriever, dict[str, Any]]:
    if config.retriever.startswith("toy:"):
        corpus = Path(config.retriever.removeprefix("toy:"))
        return ToyRetriever.from_file(corpus), {"retriever": config.retriever}
    client = RetrieverClient(config.retriever, token=token, connections=config.in_flight)
    identity: dict[str, Any] = {}
    if needed:
        identity = (await client.health()).get("index", {})
    return client, identity
