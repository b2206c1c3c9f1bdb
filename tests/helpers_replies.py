"""One call of the LLM client against a server that sends given bodies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiohttp import web
from helpers_llm import FakeLLM

from src_core.errors import ModelError
from src_core.http_chat import HttpChatModel
from src_core.http_json import RetryPolicy
from src_core.llm import Completion, Endpoint, Sampling
from src_core.protocols.records import Message

AT_ONCE = RetryPolicy(attempts=3, first_wait=0)
HELLO: list[Message] = [{"role": "user", "content": "Hello"}]


class Called(NamedTuple):
    """The client's result, and the bodies of its requests."""

    result: Completion | ModelError
    bodies: list[dict[str, Any]]

    @property
    def text(self) -> str:
        """The text of a result that is a completion."""
        assert isinstance(self.result, Completion), self.result
        return self.result.text


def called(
    replies: Sequence[object], *, messages: list[Message] = HELLO, endpoint: object = None, **call: Any
) -> Called:
    """Ask once; the server sends `replies` in turn, the last one again and again: bytes, a response, or what
    is sent as JSON. `endpoint` are further settings of the endpoint.
    """

    async def run() -> Called:
        async def handler(_: dict[str, Any]) -> web.StreamResponse:
            reply = replies[min(len(server.bodies), len(replies)) - 1]
            if callable(reply):
                reply = reply(server.bodies[-1])
            if isinstance(reply, web.StreamResponse):
                return reply
            return web.Response(body=reply if isinstance(reply, bytes) else json.dumps(reply).encode())

        async with FakeLLM(handler) as server:
            settings = {"url": server.url, "retry": AT_ONCE, "timeout": 5, **dict(endpoint or {})}  # type: ignore[call-overload]
            client = HttpChatModel(Endpoint(**settings))
            try:
                result: Completion | ModelError = await client.chat(
                    **{"messages": messages, "sampling": Sampling(), **call}
                )
            except ModelError as error:
                result = error
            finally:
                await client.close()
            return Called(result, server.bodies)

    return asyncio.run(run())


def refused(words: object, code: int = 400, **headers: str) -> web.Response:
    """A response with an error in OpenAI's shape."""
    return web.json_response({"error": {"message": words}}, status=code, headers=headers)
