"""What rerankers that ask a language model share: the model, its prompt and their identity."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import orjson

from src_core.access_token import read_token
from src_core.config import dump
from src_core.endpoints import make_model
from src_core.errors import BoundaryError, UserError
from src_core.llm import ChatModel, Completion, Sampling
from src_core.text import fill_some
from src_models.catalog import REPO_ROOT
from src_retrieval.rerankers.base import (
    Candidates,
    LlmOptions,
    Pair,
    Reranker,
    RerankerIdentity,
    RerankOptions,
    sigmoid,
)
from src_retrieval.results import FloatArray

LOG = logging.getLogger("src_retrieval")
PROMPTS = REPO_ROOT / "configs/prompts/rerank"


class LlmReranker(Reranker):
    """Asks the model of `options.llm` in the prompt `kind`. Texts of passages are data in a slot of the
    prompt; what the model replies is read by a rule of the subclass, and a reply that cannot be read is
    counted in `unread`, the first one also logged.
    """

    local = False

    def __init__(self, options: RerankOptions, settings: LlmOptions, kind: str) -> None:
        """Connect. Raises `UserError` when the model does not answer."""
        self._options, self.settings = options, settings
        path = PROMPTS / f"{kind}.txt"
        if not path.is_file():
            raise UserError(f"no such prompt: {path}; restore it")
        self._prompt = path.read_text(encoding="utf-8").rstrip("\n")
        self._loop = asyncio.new_event_loop()
        self._model: ChatModel = make_model(
            settings.endpoint,
            connections=settings.in_flight,
            token=read_token(),
            keys=("rerank.llm.endpoint",),
        )
        self.unread = 0
        try:
            self._loop.run_until_complete(self._model.ready())
        except BoundaryError as error:
            self.close()
            raise UserError(
                f"the reranker's model does not answer: {error}; start it, or correct rerank.llm.endpoint"
            ) from error
        self.identity = RerankerIdentity(
            type=options.type,
            name=self._model.name,
            precision="",
            sha256=self._digest(),
            max_length=0,
            query_max_length=0,
            sigmoid=options.sigmoid,
        )

    @abstractmethod
    async def judge(self, lists: Sequence[Candidates]) -> list[list[float]]:
        """The scores of the candidates of each query. Raises `ModelError` where the model does not answer."""

    def score(self, pairs: Sequence[Pair]) -> FloatArray:
        """See `Reranker.score`."""
        lists: list[tuple[str, list[str]]] = []
        for query, passage in pairs:
            if not lists or lists[-1][0] != query:
                lists.append((query, []))
            lists[-1][1].append(passage)
        found = self.score_lists([Candidates(*each) for each in lists])
        return np.concatenate(found) if found else np.zeros(0, dtype=np.float32)

    def score_lists(self, lists: Sequence[Candidates]) -> list[FloatArray]:
        """See `Reranker.score_lists`."""
        found = self._loop.run_until_complete(self.judge(lists))
        scores = [np.array(each, dtype=np.float32) for each in found]
        return [sigmoid(each) for each in scores] if self._options.sigmoid else scores

    def close(self) -> None:
        """See `Reranker.close`."""
        if not self._loop.is_closed():
            self._loop.run_until_complete(self._model.close())
            self._loop.close()

    async def ask(self, *, tokens: int, logprobs: int = 0, **slots: str) -> Completion:
        """The model's most likely reply to the prompt, of at most `tokens` tokens."""
        return await self._model.chat(
            [{"role": "user", "content": fill_some(self._prompt, **slots)}],
            sampling=Sampling(max_tokens=tokens, temperature=0.0, top_p=1.0, seed=1),
            logprobs=logprobs,
        )

    def cut(self, passage: str) -> str:
        """The part of a passage that the model reads."""
        return passage[: self.settings.passage_chars]

    def count_unread(self, reply: Completion, consequence: str) -> None:
        """Count a reply that cannot be read."""
        self.unread += 1
        if self.unread == 1:
            LOG.warning("%s replied %r; %s", self._model.name, reply.text[:80], consequence)

    def _digest(self) -> str:
        settings = {
            key: value for key, value in dump(self.settings).items() if key not in ("endpoint", "in_flight")
        }
        marks: Any = [self._prompt, self._model.facts, settings]
        return hashlib.sha256(orjson.dumps(marks, option=orjson.OPT_SORT_KEYS)).hexdigest()


async def bounded(calls: Sequence[Callable[[], Awaitable[Any]]], limit: int) -> list[Any]:
    """The results of all calls, `limit` of them at a time. The first error ends the others."""
    free = asyncio.Semaphore(limit)

    async def one(call: Callable[[], Awaitable[Any]]) -> Any:
        async with free:
            return await call()

    tasks = [asyncio.ensure_future(one(call)) for call in calls]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # else they would end in the next call
