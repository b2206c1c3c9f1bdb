"""Connections of a run: the models and the retriever that its configuration names, and what they report of
themselves. Fakes are configuration values (`scripted:`, `toy:`, `ranked:`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from src_core.endpoints import make_model
from src_core.http_json import RetryPolicy
from src_core.llm import ChatModel, Endpoint
from src_core.served import Servers, index_facts
from src_core.server_news import ServerNews
from src_core.server_url import addresses
from src_infer.config import RuntimeConfig
from src_infer.metering import note_web_search
from src_infer.own_servers import reach
from src_retrieval.client import Retriever, RetrieverClient
from src_retrieval.ranked import RankedRetriever
from src_retrieval.toy import ToyRetriever
from src_retrieval.web import web_engine
from src_retrieval.web.retriever import WebRetriever, WebSettings


def retriever_of(
    config: RuntimeConfig, opened: AsyncExitStack, *, token: str | None, news: ServerNews
) -> Retriever:
    """The retriever of the configuration, which `opened` closes."""
    retriever = make_retriever(
        config.retriever,
        connections=config.in_flight,
        token=token,
        retry=config.retriever_retry,
        news=news,
        web=config.web,
    )
    if isinstance(retriever, WebRetriever):
        retriever.on_search = note_web_search
    opened.push_async_callback(retriever.close)
    return retriever


async def connect_models(
    config: RuntimeConfig,
    roles: Sequence[str],
    opened: AsyncExitStack,
    *,
    token: str | None,
    news: ServerNews,
    section: str,
    servers: Servers | None,
) -> dict[Endpoint, ChatModel]:
    """A model for each distinct endpoint of these roles, which answers; `opened` closes them."""
    models: dict[Endpoint, ChatModel] = {}
    for role in roles:
        endpoint = config.agent if role == "agent" else config.reader
        if endpoint not in models:
            keys = _keys(config, endpoint, section=section)
            model = make_model(endpoint, connections=config.in_flight, token=token, keys=keys, news=news)
            opened.push_async_callback(model.close)
            await reach(model, endpoint, sampling=config.sampling("agent"), news=news)
            _watch_model(model, role, servers)
            models[endpoint] = model
    return models


def _watch_model(model: ChatModel, role: str, servers: Servers | None) -> None:
    """Let `servers` watch what the model's server reports."""
    if servers is not None:
        servers.connected(role, model.facts)
        model.watch(partial(servers.replied, role), partial(servers.answers_again, role))


async def connect_retriever(retriever: Retriever, where: str, servers: Servers | None) -> dict[str, Any]:
    """The description of the retriever's index; `servers` watches it."""
    identity = await retriever_identity(retriever, where)
    if servers is not None:
        grown_from = retriever.digests[1:-1] if isinstance(retriever, RankedRetriever) else ()
        servers.connected("retriever", index_facts(identity), grown_from=grown_from)
        if isinstance(retriever, RetrieverClient):
            retriever.watch(servers.searched)
    return identity


def make_retriever(
    where: str,
    *,
    connections: int,
    token: str | None,
    retry: RetryPolicy | None = None,
    news: ServerNews | None = None,
    web: WebSettings | None = None,
) -> Retriever:
    """The retriever behind a URL, `toy:CORPUS`, `ranked:RANKINGS` or `ENGINE:ADDRESS` of the web."""
    if where.startswith("toy:"):
        return ToyRetriever.from_file(Path(where.removeprefix("toy:")))
    if where.startswith("ranked:"):
        return RankedRetriever.from_file(Path(where.removeprefix("ranked:")))
    engine = web_engine(where)
    if engine is not None:
        settings = web or WebSettings()
        return WebRetriever(engine, where, settings, connections=connections, retry=retry, news=news)
    return RetrieverClient(where, token=token, connections=connections, retry=retry, news=news)


async def retriever_identity(retriever: Retriever, where: str) -> dict[str, Any]:
    """The description of the retriever's index. Raises `RetrieverError` when the server does not answer."""
    if isinstance(retriever, ToyRetriever):
        corpus = Path(where.removeprefix("toy:")).name
        return {
            "retriever": where,
            "corpus": corpus,
            "rows": retriever.rows,
            "type": "toy",
            "corpus_sha256": retriever.corpus_sha256,
        }
    if isinstance(retriever, RankedRetriever):
        rankings = Path(where.removeprefix("ranked:")).name
        return {"retriever": where, "corpus": rankings, "type": "ranked", "sha256": retriever.digests[-1]}
    if isinstance(retriever, WebRetriever):
        return retriever.identity
    if not isinstance(retriever, RetrieverClient):
        return {"retriever": where}
    found: dict[str, Any] = (await retriever.health()).get("index", {})
    return found


def connections_of(config: RuntimeConfig) -> int:
    """The connections that `in_flight` pieces of work may hold open: one per server, none to fakes."""
    servers = {config.agent.url, config.reader.url, config.retriever}
    return config.in_flight * sum("://" in url for where in servers for url in addresses(where))


def _keys(config: RuntimeConfig, endpoint: Endpoint, *, section: str) -> list[str]:
    """The settings that describe an endpoint, which may play both roles."""
    roles = {"agent": config.agent, "reader": config.reader}
    return [section + role for role, other in roles.items() if other == endpoint]
