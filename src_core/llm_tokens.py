"""Token ids in, token ids out: the server routes that rollouts and scoring use besides chat.

No text is tokenised twice: the prompt is a list of ids, the reply is the sampled ids with their natural
log-probabilities under the model (temperature 1, no truncation of the distribution).

- vLLM: `/v1/completions` with a token prompt, `return_token_ids`, and `prompt_logprobs` for scoring.
- llama.cpp (the embedded server): `/completion` with a token prompt and `return_tokens`. A continuation is
  scored by a grammar of token ids, which forces it; the reported log-probabilities are those before the
  grammar. After a stop string the server does not return the log-probabilities of the last tokens, so these
  are scored in a second call. Of a character that takes several tokens it returns only the last one's; the
  others are not known, and no grammar can force half a character.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from src_core.errors import ModelError
from src_core.http_json import JsonHttp
from src_core.replies import read_usage
from src_core.types import Usage

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TokenCompletion:
    """A sampled reply: `ids` with end-of-text and stop-string tokens, one log-probability per id in
    `logprobs` (None where the server does not say), `finish_reason` (`stop`, `length`), token usage.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float | None, ...]
    finish_reason: str
    usage: Usage


class TokenSampling(NamedTuple):
    """How tokens are sampled: from the whole distribution at `temperature`, at most `max_tokens` tokens,
    until a string of `stop`.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


@runtime_checkable
class TokenModel(Protocol):
    """A model that takes and returns token ids."""

    async def generate_tokens(self, prompt: Sequence[int], *, sampling: TokenSampling) -> TokenCompletion:
        """The reply to a prompt of token ids. Raises `ModelError`."""
        ...

    async def score_tokens(self, prompt: Sequence[int], continuation: Sequence[int]) -> list[float]:
        """The log-probability of each token of `continuation` after `prompt`. Raises `ModelError`."""
        ...


class VllmTokens:
    """The token routes of vLLM."""

    def __init__(self, http: JsonHttp) -> None:
        self._http = http

    async def generate(self, model: str, prompt: Sequence[int], sampling: TokenSampling) -> TokenCompletion:
        """See `TokenModel.generate_tokens`."""
        body = {
            "model": model,
            "prompt": list(prompt),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "logprobs": 0,
            "return_token_ids": True,
            "include_stop_str_in_output": True,
            **({"stop": list(sampling.stop)} if sampling.stop else {}),
            **({"seed": sampling.seed} if sampling.seed is not None else {}),
        }
        reply = await self._http.request("POST", "/completions", body, expect=dict)
        try:
            choice = reply["choices"][0]
            ids = tuple(int(token) for token in choice["token_ids"])
            logprobs = tuple(float(value) for value in choice["logprobs"]["token_logprobs"])
            reason = str(choice.get("finish_reason") or "")
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            raise ModelError(f"{self._http.url} returned no token ids") from error
        return _checked(ids, logprobs, reason, read_usage(reply), url=self._http.url)

    async def score(self, model: str, prompt: Sequence[int], continuation: Sequence[int]) -> list[float]:
        """See `TokenModel.score_tokens`."""
        ids = [*prompt, *continuation]
        body = {"model": model, "prompt": ids, "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0}
        reply = await self._http.request("POST", "/completions", body, expect=dict)
        try:
            rows = reply["choices"][0]["prompt_logprobs"][len(prompt) :]
            return [float(row[str(token)]["logprob"]) for row, token in zip(rows, continuation, strict=True)]
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            raise ModelError(f"{self._http.url} returned no prompt log-probabilities") from error


class LlamaCppTokens:
    """The token routes of llama.cpp; their paths have no `/v1`."""

    def __init__(self, http: JsonHttp) -> None:
        self._http = http

    async def generate(self, model: str, prompt: Sequence[int], sampling: TokenSampling) -> TokenCompletion:
        """See `TokenModel.generate_tokens`."""
        reply = await self._ask(
            prompt,
            n_predict=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            **({"stop": list(sampling.stop)} if sampling.stop else {}),
            **({"seed": sampling.seed} if sampling.seed is not None else {}),
        )
        ids, rows = self._tokens(reply)
        logprobs = _aligned(ids, rows)
        usage = Usage(1, read_usage(reply).prompt_tokens, len(ids))
        known = max((at + 1 for at, value in enumerate(logprobs) if value is not None), default=0)
        if known < len(ids):
            rest: Sequence[float | None] = [None] * (len(ids) - known)
            with suppress(ModelError):
                rest = await self.score(model, [*prompt, *ids[:known]], ids[known:])
            logprobs = [*logprobs[:known], *rest]
            usage += Usage(1, 0, len(rest))
        reason = "length" if reply.get("stop_type") == "limit" else "stop"
        return _checked(ids, tuple(logprobs), reason, usage, url=self._http.url)

    async def score(self, model: str, prompt: Sequence[int], continuation: Sequence[int]) -> list[float]:  # noqa: ARG002
        """See `TokenModel.score_tokens`."""
        if not continuation:
            return []
        forced = "root ::= " + " ".join(f"<[{int(token)}]>" for token in continuation)
        reply = await self._ask(prompt, n_predict=len(continuation), temperature=0.0, grammar=forced)
        ids, rows = self._tokens(reply)
        found = _aligned(ids, rows)[: len(continuation)]
        known = [value for value in found if value is not None]
        if ids[: len(continuation)] != tuple(continuation) or len(known) < len(continuation):
            raise ModelError(f"{self._http.url} did not generate the continuation that was to be scored")
        return known

    async def _ask(self, prompt: Sequence[int], **settings: Any) -> Body:
        # The server's default samplers truncate the distribution (top_k 40, min_p 0.05).
        whole = {"top_k": 0, "min_p": 0.0, "n_probs": 1, "return_tokens": True, "cache_prompt": True}
        body = {"prompt": list(prompt), **whole, **settings}
        reply: Body = await self._http.request("POST", "/completion", body, expect=dict, beside_v1=True)
        return reply

    def _tokens(self, reply: Body) -> tuple[tuple[int, ...], list[tuple[int, float]]]:
        """The ids, and the reported ids with their log-probabilities."""
        try:
            ids = tuple(int(token) for token in reply["tokens"])
            rows = reply.get("completion_probabilities") or ()
            return ids, [(int(row["id"]), float(row["logprob"])) for row in rows]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ModelError(f"{self._http.url} returned no token ids") from error


def _aligned(ids: Sequence[int], rows: Sequence[tuple[int, float]]) -> list[float | None]:
    """For each id its reported log-probability, None for those that were left out."""
    found: list[float | None] = [None] * len(ids)
    at = 0
    for token, logprob in rows:
        while at < len(ids) and ids[at] != token:
            at += 1
        if at == len(ids):
            break
        found[at] = logprob
        at += 1
    return found


def _checked(
    ids: tuple[int, ...], logprobs: tuple[float | None, ...], reason: str, usage: Usage, *, url: str
) -> TokenCompletion:
    if len(ids) != len(logprobs):
        raise ModelError(f"{url} returned {len(ids)} token ids and {len(logprobs)} log-probabilities")
    return TokenCompletion(ids, logprobs, reason, usage)
