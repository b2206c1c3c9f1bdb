"""What a method gets: models, RAG engine, prompts and limits, all built from the configuration before it
runs.

A method is a module in `src_infer/methods/` with `async def run(question, runtime) -> Trajectory`; adding one
changes nothing else (its settings are the keys of `InferConfig`, its prompts are text files).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from src_core.llm import ChatModel, Sampling
from src_core.types import Passage, Question, Step
from src_infer.agent import Agent
from src_infer.config import BaselineSettings
from src_infer.episode import Limits
from src_infer.prompts import load_prompt
from src_infer.rag_engine import CachedRetriever, RagEngine

StepPrinter = Callable[[Question, Step], None]


@dataclass(frozen=True, slots=True)
class Runtime:
    """The tools of a run, shared by all its questions. `on_step` is called after every step (live
    printing), `on_draft` when a step is thought but its search not yet made.
    """

    agent: Agent
    reader: ChatModel
    rag: RagEngine
    retriever: CachedRetriever
    limits: Limits
    final_sampling: Sampling
    answer_from: str
    top_k: int
    max_passage_chars: int
    baselines: BaselineSettings = field(default_factory=BaselineSettings)
    on_step: StepPrinter | None = None
    on_draft: StepPrinter | None = None
    _prompts: dict[str, str] = field(default_factory=dict)

    def prompt(self, name: str) -> str:
        """The text of `configs/prompts/<name>.txt`, read once."""
        if name not in self._prompts:
            self._prompts[name] = load_prompt(name)
        return self._prompts[name]

    async def retrieve(self, query: str) -> tuple[Passage, ...]:
        """The `top_k` passages for a query. Raises `RetrieverError`."""
        return tuple(await self.retriever.search(query, self.top_k))
