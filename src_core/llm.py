"""The LLM boundary: a `ChatModel` protocol, the OpenAI-compatible HTTP client and the scripted fake behind
it.

Engines are interchangeable by URL (vLLM, llama.cpp, any OpenAI-compatible server). One `aiohttp` session with
a bounded connection pool serves all questions in flight: measured at 79 us of CPU per request against 1.3 ms
for the `openai` package (reference/performance.md, section 2). Retries live here and nowhere else: transport
errors, time-outs, 408, 429 and 5xx are tried again with exponential back-off and jitter; other 4xx are final.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import orjson
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

from src_core.config import config_class
from src_core.errors import ModelError
from src_core.grammar import Constraint
from src_core.types import Usage

Message = dict[str, str]


@config_class
class Sampling:
    """Decoding parameters of one kind of call. `seed` is combined with the question and step (see
    `derive_seed`).
    """

    max_tokens: int = 1024
    temperature: float = 1.0
    top_p: float = 0.85
    seed: int | None = None


@config_class
class RetryPolicy:
    """How often and how patiently a failing call is repeated; waits are seconds."""

    attempts: int = 5
    first_wait: float = 0.5
    longest_wait: float = 20.0


@config_class
class Endpoint:
    """Where a model is served. `model` may be left empty: then the server is asked for its only model.

    `engine` decides how a grammar is sent: `llama.cpp` (field `grammar`), `vllm` (field
    `structured_outputs`). A `url` of `scripted:FILE` is the deterministic fake.
    """

    url: str = "http://127.0.0.1:9891/v1"
    model: str = ""
    engine: str = "vllm"
    timeout: float = 360.0
    retry: RetryPolicy = RetryPolicy()


@dataclass(frozen=True, slots=True)
class Completion:
    """A reply: its text, why it ended (`stop`, `length`, …) and what it cost."""

    text: str
    finish_reason: str
    usage: Usage


class ChatModel(Protocol):
    """What the loop needs of a language model."""

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling,
        stop: Sequence[str] = (),
        constraint: Constraint | None = None,
    ) -> Completion:
        """One reply. Raises `ModelError` once retries are spent."""
        ...

    @property
    def name(self) -> str:
        """What the server calls its model; empty before `ready`."""
        ...

    async def ready(self) -> None:
        """Check that the model can be asked. Raises `ModelError`."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class HttpChatModel:
    """OpenAI-compatible `/v1/chat/completions` over one shared session."""

    def __init__(self, endpoint: Endpoint, *, connections: int = 64, token: str | None = None) -> None:
        self._endpoint = endpoint
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._model = endpoint.model

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling,
        stop: Sequence[str] = (),
        constraint: Constraint | None = None,
    ) -> Completion:
        """See `ChatModel.chat`."""
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [dict(message) for message in messages],
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if stop:
            body["stop"] = list(stop)
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        body.update(_constraint_fields(constraint, self._endpoint.engine))
        return _completion(await self._request("POST", "/chat/completions", orjson.dumps(_encodable(body))))

    @property
    def name(self) -> str:
        """The configured model name, or the one that the server listed."""
        return self._model

    async def ready(self) -> None:
        """Ask the server which models it serves; without a configured name its first one is taken."""
        listed = await self._once("GET", "/models", None)
        names = [str(row["id"]) for row in listed.get("data", []) if isinstance(row, dict) and "id" in row]
        if not names:
            raise ModelError(f"{self._endpoint.url} lists no model")
        if self._model and self._model not in names:
            raise ModelError(f"{self._endpoint.url} serves {', '.join(names)}, not {self._model}")
        self._model = self._model or names[0]

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()

    async def _request(self, method: str, path: str, data: bytes | None) -> dict[str, Any]:
        policy = self._endpoint.retry
        attempts = AsyncRetrying(
            stop=stop_after_attempt(policy.attempts),
            wait=wait_exponential(policy.first_wait, policy.longest_wait) + wait_random(0, policy.first_wait),
            retry=retry_if_exception(lambda error: isinstance(error, ModelError) and error.retryable),
            reraise=True,
        )
        return await attempts(self._once, method, path, data)

    async def _once(self, method: str, path: str, data: bytes | None) -> dict[str, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                timeout=aiohttp.ClientTimeout(total=self._endpoint.timeout, connect=30),
                headers=self._headers,
            )
        url = self._endpoint.url.rstrip("/") + path
        try:
            async with self._session.request(method, url, data=data) as response:
                payload = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise ModelError(f"{url}: {type(error).__name__} {error}".strip(), retryable=True) from error
        if status != 200:
            text = payload[:300].decode("utf-8", "replace")
            raise ModelError(f"{url}: HTTP {status}: {text}", retryable=status in (408, 429) or status >= 500)
        try:
            parsed = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise ModelError(f"{url}: the reply is not JSON", retryable=True) from error
        if not isinstance(parsed, dict):
            raise ModelError(f"{url}: the reply is not a JSON object", retryable=True)
        return parsed


def derive_seed(base: int | None, *parts: object) -> int | None:
    """A 31-bit seed from a base seed and what it is for (question id, step, try); None stays None."""
    if base is None:
        return None
    blob = "\x1f".join([str(base), *map(str, parts)]).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(blob).digest()[:4], "big") & 0x7FFFFFFF


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


def _encodable(body: dict[str, Any]) -> dict[str, Any]:
    """Replace lone surrogates in message contents, which JSON cannot carry."""
    for message in body["messages"]:
        try:
            message["content"].encode("utf-8")
        except UnicodeEncodeError:
            message["content"] = message["content"].encode("utf-8", "replace").decode("utf-8")
    return body


def _completion(payload: dict[str, Any]) -> Completion:
    """Read an OpenAI chat reply; a shape that is not one is a retryable-by-nobody `ModelError`."""
    try:
        choice = payload["choices"][0]
        text = choice["message"].get("content") or ""
        counts = payload.get("usage") or {}
        usage = Usage(1, int(counts.get("prompt_tokens") or 0), int(counts.get("completion_tokens") or 0))
        return Completion(str(text), str(choice.get("finish_reason") or ""), usage)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ModelError(f"the server's reply has no choices[0].message: {type(error).__name__}") from error
