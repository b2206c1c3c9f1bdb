"""From the configuration to a workshop: teacher, RAG engine, limits."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from src_core.endpoints import TOKEN_VARIABLE, make_model
from src_core.llm import ChatModel, Sampling
from src_data.annotated_teacher.teacher import DecompositionTeacher
from src_data.config import BuildConfig, base_url
from src_data.construction.construct import Workshop
from src_data.teachers import Teacher
from src_data.teachers.llm import LlmTeacher
from src_infer.agent import Agent
from src_infer.build import make_retriever, retriever_identity
from src_infer.prompts import load_prompt
from src_infer.rag_engine import CachedRetriever, RagEngine


@dataclass(frozen=True, slots=True)
class Built:
    """A workshop, what it talks to, and what must be closed after the run."""

    workshop: Workshop
    models: tuple[ChatModel, ...]
    retriever: CachedRetriever
    identity: dict[str, Any]

    async def close(self) -> None:
        """Release all connections."""
        for model in self.models:
            await model.close()
        await self.retriever.close()


async def build_workshop(config: BuildConfig) -> Built:
    """Connect and check. Raises `BoundaryError` for a server that does not answer; then nothing is open."""
    async with AsyncExitStack() as opened:
        built = await _build(config, opened)
        opened.pop_all()
    return built


async def _build(config: BuildConfig, opened: AsyncExitStack) -> Built:
    token = os.environ.get(TOKEN_VARIABLE) or None
    models: dict[str, ChatModel] = {}

    async def connect(role: str) -> ChatModel:
        endpoint = config.teacher_endpoint() if role == "teacher" else config.reader_endpoint()
        if repr(endpoint) not in models:
            model = make_model(endpoint, connections=config.num_workers, token=token)
            opened.push_async_callback(model.close)
            await model.ready()
            models[repr(endpoint)] = model
        return models[repr(endpoint)]

    teacher: Teacher = DecompositionTeacher()
    if config.teacher == "llm":
        teacher = _llm_teacher(config, await connect("teacher"))
    reader = await connect("reader") if config.needs_reader() else None
    retriever = make_retriever(
        base_url(config.retriever_api), connections=config.num_workers, token=token, retry=config.retry
    )
    opened.push_async_callback(retriever.close)
    identity = await retriever_identity(retriever, config.retriever_api)
    cached = CachedRetriever(retriever, identity=str(identity))
    rag = RagEngine(
        retriever=cached,
        reader=reader,
        prompt=load_prompt("observe"),
        sampling=config.gen_sampling,
        top_k=config.top_k,
        mode=config.observation_mode,
        max_passage_chars=config.max_passage_chars,
    )
    return Built(Workshop(teacher, rag.observe, config.limits()), tuple(models.values()), cached, identity)


def _llm_teacher(config: BuildConfig, model: ChatModel) -> Teacher:
    """`thinks` keeps stop words out of think blocks, where a model may well write "Observation"."""

    style = config.prompt.style()

    def make_agent(sampling: Sampling) -> Agent:
        return Agent(
            model,
            style=style,
            sampling=sampling,
            constrain=config.constrain,
            prompt_tokens=config.prompt_tokens,
            stop_at_observation=not config.thinks,
        )

    return LlmTeacher(model, make_agent, sampling=config.sampling)
