"""The LLM boundary: the `ChatModel` protocol, its endpoint, sampling and replies. `http_chat` is the client
of servers, `scripted` the fake.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from src_core.config import Positive, Seconds, Seed, Temperature, TopP, config_class
from src_core.http_json import RetryPolicy
from src_core.protocols.records import Constraint, Message
from src_core.request_fields import OptionalField, Renames
from src_core.served import Facts
from src_core.server_url import Addresses
from src_core.types import Usage

Engine = Literal["vllm", "llama.cpp", "openai"]
"""The dialect of a server in what the OpenAI API leaves open."""


@config_class
class Sampling:
    """Decoding parameters of one kind of call. `seed` is combined with the question id and the step number
    (see `derive_seed`).
    """

    max_tokens: Positive = 1024
    temperature: Temperature = 1.0
    top_p: TopP = 0.85
    seed: Seed | None = None


@config_class
class Endpoint:
    """Where a model is served. With an empty `model` the server must list exactly one (an adapter counts as
    its base model).

    `engine` selects the request field of a grammar: `grammar` for `llama.cpp`, `structured_outputs` for
    `vllm`; `openai` servers have none. `api: completions` sends text that the client renders with the chat
    template of the `tokenizer` folder, for servers without a chat route. A `url` of `scripted:FILE` is the
    deterministic fake. `key_env` names the variable of the environment that holds the key of a server which
    is not ours; an `openai` server is tried first, and fields that it refuses are added to the next two.
    `omit` are request fields that are not sent because the server refuses them (without `stop`
    the client cuts the reply), `rename` gives fields the name that the server knows (`max_tokens:
    max_completion_tokens`). A list of addresses, or a text with commas, is several servers of one model.
    """

    url: Addresses = "http://127.0.0.1:9891/v1"
    model: str = ""
    engine: Engine = "vllm"
    api: Literal["chat", "completions"] = "chat"
    tokenizer: str = ""
    key_env: str = ""
    timeout: Seconds = 360.0
    retry: RetryPolicy = RetryPolicy()
    omit: tuple[OptionalField, ...] = ()
    rename: Renames = ()


class Token(NamedTuple):
    """One generated token and the natural logarithm of its probability. `likeliest` are the most likely
    tokens at its position with theirs, as many as were requested.
    """

    text: str
    logprob: float
    likeliest: tuple[tuple[str, float], ...] = ()


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
        logprobs: int = 0,
    ) -> Completion:
        """One reply; with `logprobs` above 0 also its tokens, and at each position that many of the most
        likely ones (servers give up to 20). Raises `ModelError` after all retries.
        """
        ...

    @property
    def name(self) -> str:
        """The server's name of its model; empty before `ready`."""
        ...

    @property
    def facts(self) -> Facts:
        """What the server reports of its model; empty before `ready`."""
        ...

    def watch(self, on_reply: Callable[[str], None], on_facts: Callable[[Facts], None]) -> None:
        """Call `on_reply` with the model that each reply names, `on_facts` with the facts of a server that
        answers again after a failure.
        """
        ...

    async def ready(self) -> None:
        """Check that the server is up and serves the model. Raises `ModelError`."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


def derive_seed(base: int | None, *parts: object) -> int | None:
    """A 31-bit seed from a base seed and its use (question id, step, attempt); None if the base seed is
    None.
    """
    if base is None:
        return None
    blob = "\x1f".join([str(base), *map(str, parts)]).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(blob).digest()[:4], "big") & 0x7FFFFFFF
