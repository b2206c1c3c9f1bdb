"""Every reply shape of OpenAI-compatible servers and gateways, with its outcome; hostile bodies."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any, NamedTuple

import pytest
from helpers_replies import AT_ONCE, called

from src_core.errors import ModelError
from src_core.http_chat import HttpChatModel
from src_core.llm import Completion, Endpoint, Sampling
from src_core.protocols.rearag import parse_step
from src_core.protocols.records import ParsedStep
from src_core.replies import read_reply
from src_core.types import Finish, Question, Search, Status, Trajectory, Usage, to_json, trajectory_from_json
from src_core.wire_json import ReplyError, error_inside, seconds_asked

USAGE = {"prompt_tokens": 7, "completion_tokens": 1}


def message(finish: object = "stop", **fields: object) -> dict[str, Any]:
    """A chat reply whose message has these fields."""
    choice = {"index": 0, "message": {"role": "assistant", **fields}, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion", "choices": [choice], "usage": USAGE}


def call(name: str, arguments: object) -> dict[str, Any]:
    return {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}


class Shape(NamedTuple):
    """A body with what must come of it: text, thinking, finish reason, usage; or words of the error and how
    often the server is asked.
    """

    body: object
    text: str = "Oslo"
    think: str = ""
    reason: str = "stop"
    usage: Usage = Usage(1, 7, 1)
    error: str = ""
    asked: int = 1


TEXT = {"type": "text", "text": "Oslo"}
ACTION = 'Action: \n```\n{"function": "search", "parameters": {"query": "Q"}}\n```'
NOTHING = Usage(1, 0, 0)
SHAPES = {
    # content
    "a string": Shape(message(content="Oslo")),
    "an empty string": Shape(message(content=""), ""),
    "null": Shape(message(content=None), ""),
    "no content": Shape(message(), ""),
    "a text part": Shape(message(content=[TEXT])),
    "two text parts": Shape(
        message(content=[{"type": "text", "text": "Os"}, {"type": "text", "text": "lo"}])
    ),
    "output_text parts": Shape(message(content=[{"type": "output_text", "text": "Oslo", "annotations": []}])),
    "strings in a list": Shape(message(content=["Os", "lo"])),
    "an annotated text": Shape(message(content=[{"type": "text", "text": {"value": "Oslo"}}])),
    "one part, no list": Shape(message(content=TEXT)),
    "a part without type": Shape(message(content=[{"text": "Oslo"}])),
    "no parts": Shape(message(content=[]), ""),
    "null parts": Shape(message(content=[None, TEXT, {"type": "text", "text": None}])),
    "a picture and text": Shape(message(content=[{"type": "image_url", "image_url": {"url": "x"}}, TEXT])),
    "only a picture": Shape(
        message(content=[{"type": "image_url"}]), error="no text, only image_url", asked=3
    ),
    "a number": Shape(message(content=42), error="the content of the reply is int", asked=3),
    "a boolean": Shape(message(content=True), error="the content of the reply is bool", asked=3),
    "half a character": Shape(
        b'{"choices": [{"message": {"content": "O\\ud800slo"}}]}', "O\ufffdslo", "", "", NOTHING
    ),
    "a null byte": Shape(message(content="O\0slo"), "O\0slo"),
    "bytes that are no UTF-8": Shape(
        b'{"choices": [{"message": {"content": "O\xffslo"}}]}', "O�slo", "", "", NOTHING
    ),
    # thinking
    "thinking in the text": Shape(message(content="<think>hm</think>Oslo"), think="hm"),
    "a thinking part": Shape(message(content=[{"type": "thinking", "thinking": "hm"}, TEXT]), think="hm"),
    "a nested thinking part": Shape(
        message(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, TEXT]),
        think="hm",
    ),
    "a reasoning part": Shape(message(content=[{"type": "reasoning", "text": "hm"}, TEXT]), think="hm"),
    "reasoning_content": Shape(message(content="Oslo", reasoning_content="hm"), think="hm"),
    "reasoning": Shape(message(content="Oslo", reasoning="hm"), think="hm"),
    "both names": Shape(message(content="Oslo", reasoning="hm", reasoning_content="hm"), think="hm"),
    "reasoning as an object": Shape(message(content="Oslo", reasoning={"content": "hm"}), think="hm"),
    "reasoning_details": Shape(
        message(content="Oslo", reasoning_details=[{"type": "reasoning.text", "text": "hm"}]), think="hm"
    ),
    "only reasoning": Shape(message("length", content=None, reasoning_content="hm"), "", "hm", "length"),
    "an open think block": Shape(message("length", content="<think>hm"), "", "hm", "length"),
    # calls and refusals
    "a call of our action": Shape(
        message("tool_calls", content=None, tool_calls=[call("search", '{"query": "Q"}')]),
        ACTION,
        "",
        "tool_calls",
    ),
    "a call with arguments as an object": Shape(
        message("tool_calls", content="", tool_calls=[call("search", {"query": "Q"})]),
        ACTION,
        "",
        "tool_calls",
    ),
    "a thought and a call": Shape(
        message("tool_calls", content="I look.", tool_calls=[call("search", {"query": "Q"})]),
        f"I look.\n{ACTION}",
        "",
        "tool_calls",
    ),
    "the old function_call": Shape(
        message(content=None, function_call={"name": "search", "arguments": '{"query": "Q"}'}), ACTION
    ),
    "a tool_use part": Shape(
        message(content=[{"type": "tool_use", "name": "search", "input": {"query": "Q"}}]), ACTION
    ),
    "a call of another tool": Shape(
        message("tool_calls", content=None, tool_calls=[call("get_weather", "{}")]),
        error="tool 'get_weather'",
    ),
    "a call whose arguments are cut": Shape(
        message("tool_calls", content=None, tool_calls=[call("search", '{"query": "')]), error="tool 'search'"
    ),
    "no calls": Shape(message(content="Oslo", tool_calls=[])),
    "null calls": Shape(message(content="Oslo", tool_calls=None, function_call=None, refusal=None)),
    "a refusal": Shape(message(content=None, refusal="I cannot."), "I cannot."),
    "a refusal part": Shape(message(content=[{"type": "refusal", "refusal": "I cannot."}]), "I cannot."),
    "withheld by a filter": Shape(message("content_filter", content=None), error="content filter withheld"),
    "cut by a filter": Shape(message("content_filter", content="Os"), "Os", "", "content_filter"),
    # finish reasons
    "length": Shape(message("length", content="Oslo"), reason="length"),
    "max_tokens": Shape(message("max_tokens", content="Oslo"), reason="length"),
    "eos": Shape(message("eos", content="Oslo")),
    "null reason": Shape(message(None, content="Oslo"), reason=""),
    "a number as reason": Shape(message(3, content="Oslo"), reason=""),
    "an unknown reason": Shape(message("abort", content="Oslo"), reason="abort"),
    # usage
    "no usage": Shape({"choices": message(content="Oslo")["choices"]}, usage=NOTHING),
    "null usage": Shape({**message(content="Oslo"), "usage": None}, usage=NOTHING),
    "null counts": Shape({**message(content="Oslo"), "usage": {"prompt_tokens": None}}, usage=NOTHING),
    "counts as text": Shape(
        {**message(content="Oslo"), "usage": {"prompt_tokens": "7", "completion_tokens": "1.0"}}
    ),
    "other names of counts": Shape(
        {**message(content="Oslo"), "usage": {"input_tokens": 7, "output_tokens": 1}}
    ),
    "nonsense as counts": Shape(
        {**message(content="Oslo"), "usage": {"prompt_tokens": -3, "completion_tokens": "many"}},
        usage=NOTHING,
    ),
    "usage as a list": Shape({**message(content="Oslo"), "usage": [7, 1]}, usage=NOTHING),
    # other shapes
    "a text completion": Shape({"choices": [{"text": "Oslo", "finish_reason": "stop"}], "usage": USAGE}),
    "a delta": Shape({"choices": [{"delta": {"content": "Oslo"}, "finish_reason": "stop"}], "usage": USAGE}),
    "a message as text": Shape({"choices": [{"message": "Oslo", "finish_reason": "stop"}], "usage": USAGE}),
    "Anthropic": Shape(
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, TEXT],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 7, "output_tokens": 1},
        },
        think="hm",
    ),
    "Gemini": Shape(
        {
            "candidates": [
                {
                    "content": {
                        "parts": [{"text": "hm", "thought": True}, {"text": "Oslo"}],
                        "role": "model",
                    },
                    "finishReason": "STOP",
                }
            ],
            "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 1},
        },
        think="hm",
    ),
    "Ollama": Shape(
        {
            "model": "m",
            "message": {"role": "assistant", "content": "Oslo", "thinking": "hm"},
            "done_reason": "stop",
            "prompt_eval_count": 7,
            "eval_count": 1,
        },
        think="hm",
    ),
    "Responses API": Shape(
        {
            "output": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
                {
                    "type": "message",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": "Oslo"}],
                },
            ],
            "usage": {"input_tokens": 7, "output_tokens": 1},
        },
        think="hm",
        reason="",
    ),
    # errors inside HTTP 200, and no reply at all: as a 502, with the server's words
    "an error object": Shape(
        {"error": {"message": "overloaded", "code": 502}},
        error="HTTP 502 inside HTTP 200: overloaded",
        asked=3,
    ),
    "an error without a code": Shape({"error": {"message": "overloaded"}}, error="overloaded", asked=3),
    "an error as text": Shape({"error": "overloaded"}, error="overloaded", asked=3),
    "an error beside null choices": Shape(
        {"choices": None, "error": {"message": "overloaded"}}, error="overloaded", asked=3
    ),
    "an error object of old vLLM": Shape(
        {"object": "error", "message": "overloaded", "code": 503},
        error="HTTP 503 inside HTTP 200: overloaded",
        asked=3,
    ),
    "an error of the request": Shape(
        {"error": {"message": "no such model", "code": 404}}, error="HTTP 404 inside HTTP 200: no such model"
    ),
    "an error in the choice": Shape(
        {"choices": [{"error": {"message": "overloaded"}, "message": {"content": ""}}]},
        error="overloaded",
        asked=3,
    ),
    "a null error": Shape({**message(content="Oslo"), "error": None}),
    "no choices": Shape(
        {"choices": [], "detail": "out of memory"}, error="no choices: out of memory", asked=3
    ),
    "null choices": Shape({"choices": None}, error="no choices", asked=3),
    "a null choice": Shape({"choices": [None]}, error="unreadable choice", asked=3),
    "an empty choice": Shape({"choices": [{}]}, error="unreadable choice", asked=3),
    "a choice without a message": Shape({"choices": [{"index": 0}]}, error="without a message", asked=3),
    "choices as an object": Shape({"choices": {"a": 1}}, error="unreadable choice", asked=3),
    "an empty object": Shape({}, error="no choices", asked=3),
    "a list": Shape([message(content="Oslo")], error="not a JSON dict", asked=3),
    "null as the body": Shape(None, error="not a JSON dict", asked=3),
    "a page": Shape(b"<html>Bad gateway</html>", error="not JSON: <html>Bad gateway</html>", asked=3),
    "an empty body": Shape(b"", error="not JSON", asked=3),
    "a stream": Shape(b'data: {"choices": []}\n\ndata: [DONE]\n\n', error="not JSON: data:", asked=3),
    "nested 100,000 deep": Shape(b"[" * 100_000, error="not JSON", asked=3),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_each_reply_shape_is_read_or_is_an_error_with_the_servers_words(shape: Shape) -> None:
    found = called([shape.body])
    assert len(found.bodies) == shape.asked
    if shape.error:
        assert isinstance(found.result, ModelError)
        assert shape.error in str(found.result)
        assert found.result.retryable == (shape.asked > 1)
    else:
        assert found.result == Completion(shape.text, shape.reason, shape.usage, think=shape.think)


def test_a_call_of_an_action_is_the_action() -> None:
    """vLLM with a tool parser takes the model's `finish` out of its text."""
    found = called(
        [message(content="Thought 2: I know it.", tool_calls=[call("finish", '{"answer": "Oslo"}')])]
    )
    parsed = parse_step(found.text)
    assert isinstance(parsed, ParsedStep)
    assert (parsed.thought, parsed.action) == ("I know it.", Finish("Oslo"))
    bare = parse_step(called([SHAPES["a call of our action"].body]).text)
    assert isinstance(bare, ParsedStep)
    assert bare.action == Search("Q")


def test_an_error_inside_200_passes_as_a_502_does() -> None:
    found = called([{"error": {"message": "overloaded"}}, {"choices": []}, message(content="Oslo")])
    assert found.text == "Oslo"
    assert len(found.bodies) == 3


def test_half_characters_and_null_bytes_survive_in_rows() -> None:
    text = called([b'{"choices": [{"message": {"content": "O\\ud800\\u0000slo"}}]}']).text
    row = Trajectory(Question("id", text), (), text, Status.FINISHED, error=text)
    again = trajectory_from_json(to_json(row))
    assert again.answer == again.error == "O\ufffd\0slo"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("15", 15.0),
        ("0", 0.0),
        ("0.2", 1.0),
        ("-3", 0.0),
        ("soon", 0.0),
        ("nan", 0.0),
        ("inf", 0.0),
        ("Wed, 01 Jan 2025 00:01:00 GMT", 60.0),
        ("Tue, 31 Dec 2024 00:00:00 GMT", 0.0),
    ],
)
def test_the_seconds_of_retry_after(value: str, seconds: float) -> None:
    assert seconds_asked({"Retry-After": value, "Date": "Wed, 01 Jan 2025 00:00:00 GMT"}) == seconds


PIECES = (None, True, 0, -1, 1e308, "", "Oslo", "\ud800", "\0", "<think>", "</think>", [], {}, "search")
KEYS = (
    "choices", "message", "content", "text", "type", "delta", "error", "usage", "finish_reason", "thinking",
    "reasoning_content", "tool_calls", "function", "name", "arguments", "refusal", "code", "logprobs",
    "tokens", "token_logprobs", "parts", "candidates", "output", "prompt_tokens", "object", "role", "model",
)  # fmt: skip


def hostile_body(draw: random.Random, depth: int = 0) -> object:
    """A JSON value with the keys of replies in any nesting."""
    kind = draw.random()
    if depth > 6 or kind < 0.25:
        return draw.choice(PIECES)
    if kind < 0.5:
        return [hostile_body(draw, depth + 1) for _ in range(draw.randint(0, 3))]
    return {draw.choice(KEYS): hostile_body(draw, depth + 1) for _ in range(draw.randint(0, 5))}


def near_miss(draw: random.Random) -> object:
    """A right reply with one part replaced."""
    body: Any = json.loads(
        json.dumps(draw.choice([s.body for s in SHAPES.values() if isinstance(s.body, dict)]))
    )
    place = body
    while isinstance(place, dict | list) and place:
        key = draw.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if draw.random() < 0.4 or not isinstance(place[key], dict | list):
            place[key] = hostile_body(draw, 4)
            break
        place = place[key]
    return body


def read_bodies(count: int) -> int:
    """How many of `count` hostile bodies were read; anything but a reply or a `ReplyError` fails."""
    draw = random.Random(count)
    read = 0
    for _ in range(count):
        body = near_miss(draw) if draw.random() < 0.6 else hostile_body(draw)
        error_inside(body)
        try:
            reply = read_reply(body)
        except ReplyError as error:
            assert str(error)
            continue
        read += 1
        assert all(
            isinstance(value, str) for value in (reply.text, reply.think, reply.finish_reason, reply.model)
        )
        assert min(reply.usage.prompt_tokens, reply.usage.completion_tokens) >= 0
        assert not reply.text.startswith(("[{'", "{'"))  # never Python's notation
    return read


def test_2000_hostile_bodies_raise_nothing_else() -> None:
    assert 200 < read_bodies(2_000) < 2_000


@pytest.mark.slow
def test_20000_hostile_bodies_raise_nothing_else() -> None:
    assert 2_000 < read_bodies(20_000) < 20_000


def test_deep_nesting_in_a_readable_body_is_an_error() -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = [deep]
    found = called([{"choices": [{"message": {"content": deep}}]}, message(content="Oslo")])
    assert isinstance(found.result, ModelError | Completion)


def test_the_loop_takes_hostile_bodies(tmp_path: Any) -> None:
    """Client and parser together: any body gives a completion or a `ModelError`."""

    async def run() -> None:
        client = HttpChatModel(Endpoint(url="http://127.0.0.1:1/v1", model="m", retry=AT_ONCE))
        draw = random.Random(7)

        async def exchange(*_: object) -> tuple[int, dict[str, str], bytes]:
            body = json.dumps(near_miss(draw)).encode()
            return 200, {}, body[: draw.randint(0, len(body))] if draw.random() < 0.1 else body

        client._http._exchange._exchange = exchange  # type: ignore[method-assign,assignment]
        for _ in range(500):
            try:
                reply = await client.chat(
                    [{"role": "user", "content": "x"}], sampling=Sampling(), stop=("\n",)
                )
            except ModelError:
                continue
            parse_step(reply.text)
        await client.close()

    asyncio.run(run())
