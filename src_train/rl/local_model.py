"""The model that is trained as a sampler of tokens, without a server: for small models, tests, and machines
whose GPU is too small for a second copy.

Requests that wait are sampled together, with left padding and a cache of keys and values. How we differ from
a server: a request that comes while a batch runs waits for its end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from src_core.chat_tokenizer import ChatTokenizer
from src_core.errors import ModelError
from src_core.llm_tokens import TokenCompletion, TokenSampling
from src_core.types import Usage
from src_train.attention import PACKED

_MORE_TOKENS = 4


@dataclass(slots=True)
class _Request:
    """A prompt that waits for its reply, and the reply so far."""

    prompt: tuple[int, ...]
    sampling: TokenSampling
    reply: asyncio.Future[TokenCompletion]
    draw: np.random.Generator
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: str = ""


class LocalModel:
    """A `TokenModel`. `model` has been changed by `return_logprobs`; `slots` prompts are sampled at once."""

    def __init__(self, model: Any, tokenizer: ChatTokenizer, *, slots: int, precision: str = "fp32") -> None:
        causal = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._model = model
        self._config = causal.config
        self._body, self._head = causal.base_model, causal.get_output_embeddings()
        self._tokenizer = tokenizer
        self._slots = slots
        self._bf16 = precision == "bf16"
        self._waiting: list[_Request] = []
        self._worker: asyncio.Task[None] | None = None

    async def generate_tokens(self, prompt: Sequence[int], *, sampling: TokenSampling) -> TokenCompletion:
        """See `TokenModel.generate_tokens`."""
        reply: asyncio.Future[TokenCompletion] = asyncio.get_running_loop().create_future()
        draw = np.random.default_rng(sampling.seed)
        self._waiting.append(_Request(tuple(prompt), sampling, reply, draw))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await reply

    async def score_tokens(self, prompt: Sequence[int], continuation: Sequence[int]) -> list[float]:
        """See `TokenModel.score_tokens`."""
        ids = torch.tensor([[*prompt, *continuation]], device=self._device)
        with torch.no_grad(), self._as_sampler():
            states = self._body(input_ids=ids, use_cache=False).last_hidden_state
            logits = self._head(states[:, len(prompt) - 1 : -1]).float()
        values = torch.log_softmax(logits, -1).gather(-1, ids[:, len(prompt) :, None])
        return [float(value) for value in values.flatten()]

    @property
    def _device(self) -> torch.device:
        return next(self._model.parameters()).device

    async def _work(self) -> None:
        """Sample what waits, `slots` at a time, until nothing waits."""
        while self._waiting:
            count = -1
            while count != len(self._waiting):  # all that are about to ask come into one batch
                count = len(self._waiting)
                await asyncio.sleep(0)
            batch, self._waiting = self._waiting[: self._slots], self._waiting[self._slots :]
            try:
                await asyncio.to_thread(self._sample, batch)
            except RuntimeError as error:  # out of memory, or a prompt beyond the model's positions
                for request in batch:
                    if not request.reply.done():
                        request.reply.set_exception(ModelError(f"the model could not sample: {error}"))
                continue
            for request in batch:
                if not request.reply.done():
                    request.reply.set_result(_completion(request))

    def _sample(self, batch: Sequence[_Request]) -> None:
        longest = max(len(request.prompt) for request in batch)
        ids = torch.zeros((len(batch), longest), dtype=torch.long, device=self._device)
        mask = torch.zeros_like(ids)
        for row, request in enumerate(batch):
            ids[row, longest - len(request.prompt) :] = torch.tensor(request.prompt)
            mask[row, longest - len(request.prompt) :] = 1
        positions, cache = (mask.cumsum(-1) - 1).clamp(min=0), None
        with torch.no_grad(), self._as_sampler():
            for _ in range(max(request.sampling.max_tokens for request in batch)):
                out = self._body(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=positions,
                    past_key_values=cache,
                    use_cache=True,
                )
                cache = out.past_key_values
                logits = self._head(out.last_hidden_state[:, -1]).float().cpu()
                ids = torch.tensor([[self._next(r, row)] for r, row in zip(batch, logits, strict=True)])
                ids = ids.to(self._device)
                if all(request.finish_reason for request in batch):
                    return
                mask = torch.cat([mask, mask.new_ones((len(batch), 1))], dim=1)
                positions = positions[:, -1:] + 1

    def _next(self, request: _Request, logits: torch.Tensor) -> int:
        """The next token of a request, which is added to its reply; any token once the reply has ended."""
        if request.finish_reason:
            return 0
        logprobs = torch.log_softmax(logits, -1).double().numpy()
        token = _draw(logprobs[: self._tokenizer.vocabulary], request.sampling, request.draw)
        request.ids.append(token)
        request.logprobs.append(float(logprobs[token]))
        if token in self._tokenizer.special_ids or self._stopped(request):
            request.finish_reason = "stop"
        elif len(request.ids) >= request.sampling.max_tokens:
            request.finish_reason = "length"
        return token

    def _stopped(self, request: _Request) -> bool:
        stop = request.sampling.stop
        if not stop:
            return False
        last = max(len(mark) for mark in stop) + _MORE_TOKENS  # a token has at least one character
        text = self._tokenizer.decode(request.ids[-last:])
        return any(mark in text for mark in stop)

    @contextlib.contextmanager
    def _as_sampler(self) -> Iterator[None]:
        """The model without dropout, and with an attention that knows a cache and padding."""
        training, attention = self._model.training, self._config._attn_implementation
        self._model.eval()
        if attention == PACKED:
            self._config._attn_implementation = "sdpa"
        try:
            with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._bf16):
                yield
        finally:
            self._config._attn_implementation = attention
            self._model.train(training)


def _draw(logprobs: Any, sampling: TokenSampling, draw: np.random.Generator) -> int:
    """A token of the distribution at the sampling's temperature, inside its nucleus."""
    if sampling.temperature == 0:
        return int(logprobs.argmax())
    scaled = logprobs / sampling.temperature
    weights = np.exp(scaled - scaled.max())
    if sampling.top_p < 1:
        order = np.argsort(-weights)
        before = np.cumsum(weights[order]) - weights[order]
        weights[order[before > sampling.top_p * weights.sum()]] = 0.0
    return int(np.searchsorted(np.cumsum(weights), draw.random() * weights.sum(), side="right"))


def _completion(request: _Request) -> TokenCompletion:
    usage = Usage(1, len(request.prompt), len(request.ids))
    return TokenCompletion(tuple(request.ids), tuple(request.logprobs), request.finish_reason, usage)
