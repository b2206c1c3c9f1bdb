"""Which decoding constraint an unknown server obeys, tried once: a grammar in the dialect of llama.cpp or of
vLLM, a JSON schema in OpenAI's, or none. Servers that do not know a field ignore it or refuse the request, so
that only a reply shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import orjson

from src_core.errors import ModelError
from src_core.http_chat import HttpChatModel
from src_core.llm import Sampling
from src_core.protocols.base import Protocol
from src_core.protocols.records import Constrain, Constraint, Message, ParseError

_WORD = "zebra"
_GRAMMAR = Constraint(grammar=f'root ::= "{_WORD}"')
_ASKED: list[Message] = [{"role": "user", "content": "Name the capital of France in one word."}]
_QUESTION: list[Message] = [{"role": "user", "content": "Which river flows through Paris?"}]
_DIALECTS: tuple[Literal["llama.cpp", "vllm"], ...] = ("llama.cpp", "vllm")


async def usable_constraint(model: HttpChatModel, protocol: Protocol, *, sampling: Sampling) -> Constrain:
    """The strongest constraint of the format that the server obeys; the model then speaks its dialect. A
    failure of a try counts as "not obeyed": a server that is down fails at the first question.
    """
    with model.probing(attempts=2):
        return await _strongest(model, protocol, sampling=sampling)


async def _strongest(model: HttpChatModel, protocol: Protocol, *, sampling: Sampling) -> Constrain:
    if Constrain.GRAMMAR in protocol.supports:
        for dialect in _DIALECTS:
            model.engine = dialect
            reply = await _reply(model, _ASKED, _GRAMMAR, sampling=replace(sampling, max_tokens=16))
            if reply.strip() == _WORD:
                return Constrain.GRAMMAR
    model.engine = "openai"
    if Constrain.JSON_SCHEMA in protocol.supports:
        wanted = protocol.constraint(Constrain.JSON_SCHEMA, n=1)
        reply = await _reply(model, _QUESTION, wanted, sampling=sampling)
        if _is_object(reply) and not isinstance(protocol.parse(reply), ParseError):
            return Constrain.JSON_SCHEMA
    return Constrain.OFF


async def _reply(
    model: HttpChatModel, messages: Sequence[Message], constraint: Constraint | None, *, sampling: Sampling
) -> str:
    try:
        return (await model.chat(messages, sampling=sampling, constraint=constraint)).text
    except ModelError:
        return ""


def _is_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False
