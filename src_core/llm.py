"""The LLM boundary: a `ChatModel` protocol, the OpenAI-compatible HTTP client and the scripted fake behind
it.

Engines are interchangeable by URL (vLLM, llama.cpp, any OpenAI-compatible server). One session with a bounded
connection pool serves all questions in flight; `http_json` retries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from src_core.chat_template import ChatTemplate
from src_core.config import config_class
from src_core.errors import ModelError, UserError
from src_core.http_json import JsonHttp, RetryPolicy
from src_core.llm_tokens import LlamaCppTokens, TokenCompletion, TokenSampling, VllmTokens
from src_core.protocols.records import Constraint, Message
from src_core.think import split_think
from src_core.types import Usage


@config_class
class Sampling:
    """Decoding parameters of one kind of call. `seed` is combined with the question id and the step number
    (see `derive_seed`).
    """

    max_tokens: int = 1024
    temperature: float = 1.0
    top_p: float = 0.85
    seed: int | None = None


@config_class
class Endpoint:
    """Where a model is served. With an empty `model` the first model that the server lists is used.

    `engine` selects the request field of a grammar: `grammar` for `llama.cpp`, `structured_outputs` for
    `vllm`. `api: completions` sends text that the client renders with the chat template of the `tokenizer`
    folder, for servers without a chat route. A `url` of `scripted:FILE` is the deterministic fake.
    """

    url: str = "http://127.0.0.1:9891/v1"
    model: str = ""
    engine: Literal["vllm", "llama.cpp"] = "vllm"
    api: Literal["chat", "completions"] = "chat"
    tokenizer: str = ""
    timeout: float = 360.0
    retry: RetryPolicy = RetryPolicy()


class Token(NamedTuple):
    """One generated token and the natural logarithm of its probability."""

    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Completion:
    """A reply: its text without the think block, its finish reason (`stop`, `length`, …), its token usage,
    and the think block of a reasoning model. `tokens` are the tokens of the whole reply where
    log-probabilities were requested and the server returns them, else empty.
    """

    text: str
    finish_reason: str
    usage: Usage
    think: str = ""
    tokens: tuple[Token, ...] = ()


class ChatModel(Protocol):
    """The interface of a language model that the loop uses."""

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling,
        stop: Sequence[str] = (),
        constraint: Constraint | None = None,
        logprobs: bool = False,
    ) -> Completion:
        """One reply, with its tokens and their log-probabilities if `logprobs` is true. Raises `ModelError`
        after all retries.
        """
        ...

    @property
    def name(self) -> str:
        """The server's name of its model; empty before `ready`."""
        ...

    async def ready(self) -> None:
        """Check that the server is up and serves the model. Raises `ModelError`."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class HttpChatModel:
    """OpenAI-compatible `/v1/chat/completions` or `/v1/completions` over one shared session."""

    def __init__(self, endpoint: Endpoint, *, connections: int = 64, token: str | None = None) -> None:
        self._engine = endpoint.engine
        self._model = endpoint.model
        self._template = _template(endpoint)
        self._http = JsonHttp(
            endpoint.url,
            error=ModelError,
            token=token,
            connections=connections,
            timeout=endpoint.timeout,
            retry=endpoint.retry,
        )
        self._tokens = VllmTokens(self._http) if self._engine == "vllm" else LlamaCppTokens(self._http)

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling,
        stop: Sequence[str] = (),
        constraint: Constraint | None = None,
        logprobs: bool = False,
    ) -> Completion:
        """See `ChatModel.chat`. If the last message is the assistant's, the model continues it; the reply is
        the continuation.
        """
        body: dict[str, Any] = {
            "model": self._model,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if stop:
            body["stop"] = list(stop)
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        body.update(_constraint_fields(constraint, self._engine))
        if logprobs:
            body.update({"logprobs": True, "top_logprobs": 1} if self._template is None else {"logprobs": 1})
        begun = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
        if self._template is None:
            body["messages"] = list(messages)
            if begun and self._engine == "vllm":
                body.update({"continue_final_message": True, "add_generation_prompt": False})
            reply = await self._http.request("POST", "/chat/completions", body, expect=dict)
            return _without_beginning(_completion(reply), begun)
        body["prompt"] = self._template.render(messages[:-1] if begun else messages) + begun
        return _completion(await self._http.request("POST", "/completions", body, expect=dict))

    async def generate_tokens(self, prompt: Sequence[int], *, sampling: TokenSampling) -> TokenCompletion:
        """See `llm_tokens.TokenModel`."""
        return await self._tokens.generate(self._model, prompt, sampling)

    async def score_tokens(self, prompt: Sequence[int], continuation: Sequence[int]) -> list[float]:
        """See `llm_tokens.TokenModel`."""
        return await self._tokens.score(self._model, prompt, continuation)

    @property
    def name(self) -> str:
        """The configured model name, or the one that the server listed."""
        return self._model

    async def ready(self) -> None:
        """Request the server's list of models; without a configured name the first one is used."""
        listed = await self._http.request("GET", "/models", expect=dict, attempts=1)
        names = [str(row["id"]) for row in listed.get("data", []) if isinstance(row, dict) and "id" in row]
        if not names:
            raise ModelError(f"{self._http.url} lists no model")
        if self._model and self._model not in names:
            raise ModelError(f"{self._http.url} serves {', '.join(names)}, not {self._model}")
        self._model = self._model or names[0]

    async def close(self) -> None:
        """Close the session."""
        await self._http.close()


def derive_seed(base: int | None, *parts: object) -> int | None:
    """A 31-bit seed from a base seed and its use (question id, step, attempt); None if the base seed is
    None.
    """
    if base is None:
        return None
    blob = "\x1f".join([str(base), *map(str, parts)]).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(blob).digest()[:4], "big") & 0x7FFFFFFF


def _template(endpoint: Endpoint) -> ChatTemplate | None:
    """The chat template of a completion endpoint; None for a chat endpoint."""
    if endpoint.api == "chat":
        return None
    if not endpoint.tokenizer:
        raise UserError(
            "api=completions has no chat template; set `tokenizer` to the model's tokenizer folder"
        )
    return ChatTemplate(Path(endpoint.tokenizer))


def _constraint_fields(constraint: Constraint | None, engine: str) -> dict[str, Any]:
    """Request fields for a constraint, in the dialect of the engine."""
    if constraint is None:
        return {}
    if constraint.grammar is not None:
        if engine == "llama.cpp":
            return {"grammar": constraint.grammar}
        return {"structured_outputs": {"grammar": constraint.grammar}}
    return {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "step", "strict": True, "schema": constraint.schema},
        }
    }


def _completion(payload: Any) -> Completion:
    """Parse an OpenAI chat or completion reply; any other shape is a `ModelError`. Servers with a reasoning
    parser send the think block in a separate field (`reasoning_content`, in newer servers `reasoning`).
    """
    try:
        choice = payload["choices"][0]
        message = choice["message"] if "message" in choice else {"content": choice["text"]}
        thinking = split_think(str(message.get("content") or ""))
        apart = message.get("reasoning_content") or message.get("reasoning") or ""
        counts = payload.get("usage") or {}
        usage = Usage(1, int(counts.get("prompt_tokens") or 0), int(counts.get("completion_tokens") or 0))
        reason = str(choice.get("finish_reason") or "")
        think = str(apart) or thinking.think
        return Completion(thinking.text, reason, usage, think=think, tokens=_tokens(choice))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ModelError("the reply of the server has no choices[0].message") from error


def _without_beginning(reply: Completion, begun: str) -> Completion:
    """The continuation without the text that it continues: llama.cpp's reply begins with that text, vLLM's
    does not.
    """
    return replace(reply, text=reply.text.removeprefix(begun)) if begun else reply


def _tokens(choice: dict[str, Any]) -> tuple[Token, ...]:
    """The tokens of a reply in the shape of chat (`content`) or of completions (two lists); () where the
    reply has none.
    """
    found = choice.get("logprobs") or {}
    try:
        if found.get("content"):
            pairs = [(row["token"], row["logprob"]) for row in found["content"]]
        else:
            pairs = list(zip(found.get("tokens") or (), found.get("token_logprobs") or (), strict=True))
        return tuple(Token(str(text), float(logprob)) for text, logprob in pairs)
    except (KeyError, TypeError, ValueError, AttributeError):
        return ()
