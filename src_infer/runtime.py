"""The runtime of a run: models, retriever, prompts, limits and hooks, built from the configuration before a
method runs. Fakes are configuration values (`scripted:`, `toy:`).

A method is a module in `src_infer/methods/` with `async def run(question, runtime) -> Trajectory` and, where
it has settings, a config class `Settings` (YAML key `method_settings`, found here as `settings`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from src_core.access_token import read_token
from src_core.endpoints import make_model, make_tokenizer
from src_core.errors import UserError
from src_core.http_chat import HttpChatModel
from src_core.llm import ChatModel, Endpoint, Sampling
from src_core.open_files import allow_connections
from src_core.passage_view import PassageView, passage_block
from src_core.protocols import protocol_class
from src_core.protocols.base import Protocol
from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import Constrain, PromptStyle
from src_core.served import Servers
from src_core.server_news import ServerNews
from src_core.text import fill, slots_in
from src_core.trained_prompt import require_trained_prompt, trained_format
from src_core.types import Passage, Question, Step
from src_infer.config import RuntimeConfig
from src_infer.connect import connect_models, connect_retriever, connections_of, retriever_of
from src_infer.constraint_probe import usable_constraint
from src_infer.episode import Limits
from src_infer.forgotten_await import awaited
from src_infer.metering import MeteredModel
from src_infer.policy import Policy
from src_infer.prompts import load_prompt
from src_infer.rag_engine import RagEngine, ask, retrieve
from src_retrieval.client import Retriever, RetrieverClient
from src_retrieval.web.retriever import WebRetriever
from src_tasks.abstention import KEEP, Abstain

StepHook = Callable[[Question, Step], None]
_PROMPT_START = 4000
"""Characters of a prompt without values in which a forgotten slot is looked for. Instructions stand first,
and fit; the passages behind them are text of others, whose braces are no slots.
"""


@dataclass(frozen=True, slots=True)
class Runtime:
    """Shared by all questions of a run. `identity` describes the retriever's index, `news` collects what
    servers say, `trained_format` is the text format that the agent was trained in, "" where no record says
    so, `abstain` says when an answer is withheld. `on_draft` is called after the model wrote a step, before
    its search runs; `on_step` once the step is complete.
    """

    policy: Policy
    reader: ChatModel
    rag: RagEngine
    retriever: Retriever
    limits: Limits
    final_sampling: Sampling
    answer_from: str
    top_k: int
    view: PassageView
    settings: Any = None
    models: tuple[ChatModel, ...] = ()
    identity: dict[str, Any] = field(default_factory=dict)
    news: ServerNews = field(default_factory=ServerNews)
    trained_format: str = ""
    abstain: Abstain = KEEP
    on_step: StepHook | None = None
    on_draft: StepHook | None = None
    _prompts: dict[str, str] = field(default_factory=dict)

    def prompt(self, name: str) -> str:
        """The text of `configs/prompts/<name>.txt`, read once."""
        if name not in self._prompts:
            self._prompts[name] = load_prompt(name)
        return self._prompts[name]

    @awaited("runtime.ask")
    async def ask(self, prompt: str, **slots: str) -> str:
        """The reasoning model's reply to one user turn: `prompt` with its `{slots}` filled in (see `fill`),
        or as it is where none is given: it may then hold passages, whose braces mean nothing. Raises
        `ModelError`, and `PromptError` where slots and values differ.
        """
        if slots:
            prompt = fill(prompt, **slots)
        elif names := slots_in(prompt[:_PROMPT_START]):
            self.news.note_once(
                f"a prompt holds {{{names[0]}}} and is sent as it is, since runtime.ask got no values; if it "
                f"is a slot, call runtime.ask(prompt, {names[0]}=…)"
            )
        reply = await ask(self.policy.model, prompt, sampling=self.policy.sampling)
        return reply.text

    def show(self, passages: Sequence[Passage], query: str) -> str:
        """Numbered passages as a model sees them, with the parts that match `query`."""
        return passage_block(passages, view=self.view, query=query)

    @awaited("runtime.retrieve")
    async def retrieve(self, query: str, top_k: int = 0) -> tuple[Passage, ...]:
        """The `top_k` best passages for a query (0: the run's `top_k`). Raises `RetrieverError`."""
        return await retrieve(self.retriever, query, top_k or self.top_k)

    def cut_queries(self) -> int:
        """How many searches had a query that the retriever does not read to its end."""
        if isinstance(self.retriever, RetrieverClient | WebRetriever):
            return self.retriever.cut_queries
        return 0

    def model_names(self) -> list[str]:
        """The name of the model on each distinct model server (for a script, its file name)."""
        return [model.name for model in self.models]


@asynccontextmanager
async def open_runtime(
    config: RuntimeConfig,
    *,
    settings: Any = None,
    abstain: Abstain = KEEP,
    on_step: StepHook | None = None,
    on_draft: StepHook | None = None,
    needs_agent: bool = True,
    needs_reader: bool = True,
    needs_search: bool = True,
    section: str = "",
    servers: Servers | None = None,
) -> AsyncIterator[Runtime]:
    """Connect, check, and close at the end. A model that is not needed is not connected. `servers` gets what
    the servers report, and checks each of their replies. `section` is where the settings are in the user's
    file (`build_conv.runtime.`), for messages. Raises `BoundaryError` for a server that does not answer,
    `UserError` for settings that it cannot serve.
    """
    async with AsyncExitStack() as opened:
        allow_connections(connections_of(config), in_flight=config.in_flight)
        news, token = ServerNews(), read_token()
        roles = [*(["agent"] if needs_agent else ()), *(["reader"] if needs_reader else ())]
        models = await connect_models(
            config, roles, opened, token=token, news=news, section=section, servers=servers
        )
        retriever = retriever_of(config, opened, token=token, news=news)
        identity = await connect_retriever(retriever, config.retriever, servers) if needs_search else {}
        idle = make_model(config.agent, connections=1, token=token)  # stands for a model that is not used
        opened.push_async_callback(idle.close)
        config = await _constrained(config, models.get(config.agent), news)
        counted = _metered(models, abstain)
        yield Runtime(
            policy=make_policy(config, counted.get(config.agent, idle)),
            reader=counted.get(config.reader, idle),
            rag=make_rag(config, retriever=retriever, reader=counted.get(config.reader)),
            retriever=retriever,
            limits=config.limits,
            final_sampling=config.sampling("final"),
            answer_from=config.answer_from,
            top_k=config.top_k,
            view=config.view,
            settings=settings,
            models=tuple(counted.values()),
            identity=identity,
            news=news,
            trained_format=trained_format(Path(config.trained)) if config.trained else "",
            abstain=abstain,
            on_step=on_step,
            on_draft=on_draft,
        )


def _metered(models: Mapping[Endpoint, ChatModel], abstain: Abstain) -> dict[Endpoint, ChatModel]:
    """The models with their replies counted, and with log-probabilities where a rule needs them."""
    logprobs = int(abstain.min_confidence > 0)
    return {at: MeteredModel(model, logprobs=logprobs) for at, model in models.items()}


async def _constrained(config: RuntimeConfig, agent: ChatModel | None, news: ServerNews) -> RuntimeConfig:
    """The configuration with the constraint that the agent's server obeys in the place of `auto`."""
    if config.constrain is not Constrain.AUTO:
        return config
    if not isinstance(agent, HttpChatModel):
        return replace(config, constrain=Constrain.OFF)
    found = await usable_constraint(agent, make_protocol(config), sampling=config.sampling("agent"))
    free = "free text (it obeys neither grammar nor JSON schema), so some may be malformed"
    how = free if found is Constrain.OFF else f"constrained by a {found.value.replace('_', ' ')}"
    news.note(f"{config.agent.url} was tried: replies are {how}")
    return replace(config, constrain=found)


def make_protocol(config: RuntimeConfig) -> Protocol:
    """The text format of the configuration with its prompts. Raises `UserError` for an unknown one, for one
    that has no steps or not the constraint that is asked for, for a template without its slot, and where the
    agent was trained with another prompt.
    """
    style: PromptStyle = config.prompt.style()
    format_class = protocol_class(config.protocol)
    protocol = ReaRag(style, thinks=config.thinks) if format_class is ReaRag else format_class(style)
    if "finish" not in protocol.functions:
        raise UserError(f"the format {protocol.name} has no steps; set protocol= to one that has")
    for name, template, place in (
        ("user_template", style.user_template, "{question}"),
        ("observation_template", style.observation_template, "{observation}"),
    ):
        if template and place not in template:
            raise UserError(f"prompt.{name} has no {place}: {template!r:.80}; add it where the text belongs")
    if config.constrain not in (*protocol.supports, Constrain.AUTO):
        raise UserError(f"the format {protocol.name} has no {config.constrain.value}; set constrain=off")
    if config.trained:
        require_trained_prompt(Path(config.trained), protocol)
    return protocol


def make_policy(config: RuntimeConfig, model: ChatModel) -> Policy:
    """The reasoning model with the format, prompt and sampling of the configuration."""
    return Policy(
        model,
        make_protocol(config),
        sampling=config.sampling("agent"),
        prompt_tokens=config.prompt_tokens,
        constrain=config.constrain,
        tokenizer=cache(partial(make_tokenizer, config.agent.tokenizer)),
    )


def make_rag(config: RuntimeConfig, *, retriever: Retriever, reader: ChatModel | None) -> RagEngine:
    """The RAG engine of the configuration."""
    return RagEngine(
        retriever=retriever,
        reader=reader,
        prompt=load_prompt("observe"),
        sampling=config.sampling("observe"),
        top_k=config.top_k,
        mode=config.observation_mode,
        view=config.view,
        only_named=config.only_named,
        repeat_passages=config.repeat_passages,
    )
