"""Hostile replies through client, every parser and the loop: a row or a result, never an exception."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence

import pytest
from helpers_methods import CASES, answered, runtime_for
from test_core_actions_hostile import hostile_reply

from src_core.http_chat import HttpChatModel
from src_core.llm import Completion, Endpoint, Sampling
from src_core.protocols import load_protocol, protocol_names
from src_core.protocols.records import FUNCTIONS, Message, ParsedStep, ParseError
from src_core.types import Status, to_json, trajectory_from_json
from src_infer.episode import Limits

MARKS = (
    "<think>",
    "</think>",
    "<search>",
    "</search>",
    "<answer>",
    "</answer>",
    "<|begin_of_query|>",
    "<|end_of_query|>",
    "<|begin_search_query|>",
    "<|end_search_query|>",
    "Final Information:",
    "[Query 1]: ",
    "[Answer 1]: ",
    "[Final Answer]: ",
    "Follow up: ",
    "So the answer is: ",
    "\\boxed{",
    "Search[",
    "Finish[",
    "Thought:",
    "Action:",
    "<|im_end|>",
)


def any_reply(draw: random.Random) -> str:
    """A hostile reply, often with marks of other formats in it."""
    text = hostile_reply(draw)
    for _ in range(draw.choice((0, 0, 1, 3, 6))):
        at = draw.randrange(len(text) + 1)
        text = text[:at] + draw.choice(MARKS) + text[at:]
    return text


class Hostile(HttpChatModel):
    """The client over a connection that sends hostile replies, and counts them."""

    def __init__(self, seed: int) -> None:
        super().__init__(Endpoint(url="http://127.0.0.1:1/v1", model="hostile"))
        self.sent = 0
        draw = random.Random(seed)

        async def exchange(*_: object) -> tuple[int, dict[str, str], bytes]:
            self.sent += 1
            choice = {
                "message": {"content": any_reply(draw)},
                "finish_reason": draw.choice(("stop", "length", None)),
            }
            return 200, {}, json.dumps({"choices": [choice]}).encode()

        self._http._exchange._exchange = exchange  # type: ignore[method-assign,assignment]

    async def chat(self, messages: Sequence[Message], **more: object) -> Completion:  # type: ignore[override]
        return await super().chat(messages, **{"sampling": Sampling(), **more})  # type: ignore[arg-type]


def parse_everywhere(count: int) -> int:
    """Read `count` replies in every format; how many readings gave a step."""
    draw = random.Random(count)
    protocols = [load_protocol(name) for name in protocol_names()]
    steps = 0
    for _ in range(count):
        text, think = any_reply(draw), any_reply(draw) if draw.random() < 0.2 else ""
        for protocol in protocols:
            parsed = protocol.parse(text, think=think, functions=FUNCTIONS)
            assert isinstance(parsed, ParsedStep | ParseError)
            steps += isinstance(parsed, ParsedStep)
            assert isinstance(protocol.parse_conclusion(text), str)
            protocol.parse_trajectory(text)
    return steps


def answer_until(replies: int) -> int:
    """Ask one method after the other until `replies` were sent; the number of rows. Each row can be written
    and read again.
    """
    model = Hostile(replies)
    rows = 0
    while model.sent < replies:
        case = list(CASES.values())[rows % len(CASES)]
        runtime = runtime_for(model, limits=Limits(t_max=4, step_tries=2))
        row = answered(case.method, runtime, **case.settings)
        assert row.status in set(Status)
        assert not row.status.retryable, row.error
        assert trajectory_from_json(to_json(row)).status == row.status
        rows += 1
    asyncio.run(model.close())
    return rows


def test_hostile_replies_in_every_format_raise_nothing() -> None:
    assert parse_everywhere(500) > 50


def test_2000_hostile_replies_through_client_and_loop_raise_nothing() -> None:
    assert answer_until(2_000) > 100


@pytest.mark.slow
def test_20000_hostile_replies_in_every_format_raise_nothing() -> None:
    assert parse_everywhere(20_000) > 2_000


@pytest.mark.slow
def test_20000_hostile_replies_through_client_and_loop_raise_nothing() -> None:
    assert answer_until(20_000) > 1_000
