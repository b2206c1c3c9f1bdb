"""The LLM client against a real server: what is tried again, what is final, what is sent."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from helpers_llm import FakeLLM, completion

from src_core.errors import ModelError, UserError
from src_core.http_chat import HttpChatModel
from src_core.http_json import RetryPolicy
from src_core.llm import Completion, Endpoint, Sampling, Token, derive_seed
from src_core.protocols.records import Constraint, Message
from src_core.scripted import ScriptedModel
from src_core.types import Usage

AT_ONCE = RetryPolicy(attempts=4, first_wait=0)
HELLO: list[Message] = [{"role": "user", "content": "Hello"}]
Reply = str | web.StreamResponse


def chat(
    server: FakeLLM, *, token: str | None = None, engine: str = "vllm", model: str = "", **call: Any
) -> Awaitable[Completion]:
    """One call through a fresh client, which is closed after it."""

    async def run() -> Completion:
        client = HttpChatModel(
            Endpoint(url=server.url, engine=engine, model=model, retry=AT_ONCE, timeout=5), token=token
        )
        try:
            return await client.chat(**{"messages": HELLO, "sampling": Sampling(), **call})
        finally:
            await client.close()

    return run()


def serve(replies: list[Callable[[], Reply]], **call: Any) -> tuple[Completion | ModelError, FakeLLM]:
    """Answer calls with `replies` in turn; the last one goes on."""

    async def run() -> tuple[Completion | ModelError, FakeLLM]:
        async def handler(_: dict[str, Any]) -> Reply:
            return replies[min(len(server.bodies), len(replies)) - 1]()

        async with FakeLLM(handler) as server:
            try:
                return await chat(server, **call), server
            except ModelError as error:
                return error, server

    return asyncio.run(run())


def status(code: int, text: str = "busy") -> Callable[[], Reply]:
    return lambda: web.Response(status=code, text=text)


def body(payload: object) -> Callable[[], Reply]:
    return lambda: web.Response(text=payload if isinstance(payload, str) else json.dumps(payload))


def good() -> Reply:
    return "fine"


class Broken(web.StreamResponse):
    """Promises a body and breaks the connection, after `sent` bytes."""

    def __init__(self, sent: bytes) -> None:
        super().__init__(headers={"Content-Length": "1000"})
        self._sent = sent

    async def prepare(self, request: web.BaseRequest) -> Any:
        if self._sent:
            await super().prepare(request)
            await self.write(self._sent)
        assert request.transport is not None
        request.transport.abort()
        return None


@pytest.mark.parametrize(
    "failure",
    [
        status(500),
        status(503),
        status(429),
        status(408),
        lambda: Broken(b""),
        lambda: Broken(b'{"choices": ['),
        body("<html>not JSON</html>"),
        body([1, 2]),
    ],
    ids=["500", "503", "429", "408", "reset", "truncated", "not JSON", "not an object"],
)
def test_a_passing_failure_is_tried_again(failure: Callable[[], Reply]) -> None:
    result, server = serve([failure, failure, good])
    assert result == Completion("fine", "stop", Usage(1, 7, 1))
    assert len(server.bodies) == 3


def test_a_lasting_failure_ends_after_the_last_attempt() -> None:
    result, server = serve([status(503, "no worker")])
    assert isinstance(result, ModelError)
    assert result.retryable
    assert "HTTP 503: no worker" in str(result)
    assert len(server.bodies) == 4


def test_the_waits_grow_from_the_first_failure_on(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr("test_core_llm.AT_ONCE", RetryPolicy(attempts=5, first_wait=0.5, longest_wait=1.5))
    monkeypatch.setattr("asyncio.sleep", noted)
    _, server = serve([status(503)])
    assert len(server.bodies) == 5
    for wait, least in zip([wait for wait in waits if wait], [0.5, 1.0, 1.5, 1.5], strict=True):
        assert least <= wait <= least + 0.5  # and up to the first wait of jitter


@pytest.mark.parametrize("code", [400, 401, 404, 422])
def test_a_refusal_is_final(code: int) -> None:
    result, server = serve([status(code, "context too long"), good])
    assert isinstance(result, ModelError)
    assert not result.retryable
    assert f"HTTP {code}: context too long" in str(result)
    assert len(server.bodies) == 1


def test_missing_text_and_counts_are_empty_not_fatal() -> None:
    result, _ = serve([body({"choices": [{"message": {"content": None}}], "usage": None})])
    assert result == Completion("", "", Usage(1, 0, 0))


def test_a_server_that_is_not_there_is_a_retryable_model_error() -> None:
    async def run() -> None:
        client = HttpChatModel(Endpoint(url="http://127.0.0.1:1/v1", retry=AT_ONCE))
        try:
            with pytest.raises(ModelError, match=r"127\.0\.0\.1:1/v1/chat/completions: Client") as error:
                await client.chat(HELLO, sampling=Sampling())
            assert error.value.retryable
        finally:
            await client.close()

    asyncio.run(run())


def test_a_slow_reply_times_out() -> None:
    async def run() -> None:
        forever = asyncio.Event()

        async def handler(_: dict[str, Any]) -> str:
            await forever.wait()
            return ""

        async with FakeLLM(handler) as server:
            policy = RetryPolicy(attempts=2, first_wait=0)
            client = HttpChatModel(Endpoint(url=server.url, timeout=0.5, retry=policy))
            with pytest.raises(ModelError, match="Timeout"):
                await client.chat(HELLO, sampling=Sampling())
            await client.close()
            forever.set()
            assert len(server.bodies) == 2

    asyncio.run(run())


def test_the_request_carries_what_was_asked_for() -> None:
    sampling = Sampling(max_tokens=9, temperature=0.25, top_p=0.5, seed=3)
    _, server = serve([good], sampling=sampling, stop=("\nObservation",), model="m")
    assert server.bodies == [
        {
            "model": "m",
            "messages": HELLO,
            "max_tokens": 9,
            "temperature": 0.25,
            "top_p": 0.5,
            "seed": 3,
            "stop": ["\nObservation"],
        }
    ]
    _, plain = serve([good])
    assert {"seed", "stop", "grammar", "structured_outputs", "response_format"}.isdisjoint(plain.bodies[0])


@pytest.mark.parametrize(
    ("engine", "constraint", "field", "value"),
    [
        ("llama.cpp", Constraint(grammar="g"), "grammar", "g"),
        ("vllm", Constraint(grammar="g"), "structured_outputs", {"grammar": "g"}),
        (
            "vllm",
            Constraint(schema={"type": "object"}),
            "response_format",
            {
                "type": "json_schema",
                "json_schema": {"name": "step", "strict": True, "schema": {"type": "object"}},
            },
        ),
    ],
)
def test_a_constraint_goes_out_in_the_engines_dialect(
    engine: str, constraint: Constraint, field: str, value: object
) -> None:
    _, server = serve([good], engine=engine, constraint=constraint)
    assert server.bodies[0][field] == value
    assert len({"grammar", "structured_outputs", "response_format"} & set(server.bodies[0])) == 1


def with_logprobs(given: object) -> Callable[[], Reply]:
    payload = completion("Oslo it is")
    payload["choices"][0]["logprobs"] = given
    return body(payload)


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        ({"content": [{"token": "Oslo", "logprob": -0.5, "top_logprobs": []}]}, (Token("Oslo", -0.5),)),
        ({"tokens": ["Os", "lo"], "token_logprobs": [-1, -2]}, (Token("Os", -1.0), Token("lo", -2.0))),
        (
            {"content": [{"token": "A", "logprob": -1, "top_logprobs": [{"token": " B", "logprob": -2}]}]},
            (Token("A", -1.0, ((" B", -2.0),)),),
        ),
        (
            {"tokens": ["A"], "token_logprobs": [-1], "top_logprobs": [{"A": -1, "B": -3}]},
            (Token("A", -1.0, (("A", -1.0), ("B", -3.0))),),
        ),
        ({"content": [{"token": "A", "logprob": -1, "top_logprobs": [{"token": "B"}]}]}, ()),
        ({"tokens": ["Os"], "token_logprobs": []}, ()),
        ({"tokens": ["Os"], "token_logprobs": [None]}, ()),
        ({"content": [{"token": "x"}]}, ()),
        ({"content": 3}, ()),
        ("none", ()),
        (None, ()),
    ],
)
def test_log_probabilities_are_read_where_the_server_gives_them(
    given: object, tokens: tuple[Token, ...]
) -> None:
    reply, server = serve([with_logprobs(given)], logprobs=1)
    assert isinstance(reply, Completion)
    assert (reply.text, reply.tokens) == ("Oslo it is", tokens)
    assert (server.bodies[0]["logprobs"], server.bodies[0]["top_logprobs"]) == (True, 1)
    assert "logprobs" not in serve([good])[1].bodies[0]


def test_the_token_is_sent_when_set_and_no_header_otherwise() -> None:
    _, server = serve([good], token="secret")
    assert server.headers[0]["Authorization"] == "Bearer secret"
    _, server = serve([good])
    assert "Authorization" not in server.headers[0]


def test_lone_surrogates_are_replaced_on_the_way_out_and_the_caller_keeps_its_text() -> None:
    messages = [{"role": "user", "content": "a\ud800b"}]
    before = copy.deepcopy(messages)
    _, server = serve([good], messages=messages)
    assert server.bodies[0]["messages"] == [{"role": "user", "content": "a?b"}]
    assert messages == before


def test_the_connection_pool_is_bounded() -> None:
    async def run() -> int:
        async def handler(_: dict[str, Any]) -> str:
            for _ in range(5):
                await asyncio.sleep(0)
            return "x"

        async with FakeLLM(handler) as server:
            client = HttpChatModel(Endpoint(url=server.url, retry=AT_ONCE), connections=3)
            await asyncio.gather(*(client.chat(HELLO, sampling=Sampling()) for _ in range(30)))
            await client.close()
            return server.most_open

    assert 1 <= asyncio.run(run()) <= 3


def test_derived_seeds_are_stable_and_differ_by_what_they_are_for() -> None:
    assert derive_seed(None, "q", 1) is None
    assert derive_seed(1, "Who?", 2, 0) == 312_199_631
    seeds = {derive_seed(base, q, n, t) for base in (1, 2) for q in "ab" for n in range(5) for t in range(3)}
    assert len(seeds) == 60
    assert all(seed is not None and 0 <= seed < 2**31 for seed in seeds)
    assert derive_seed(1, "ab", "c") != derive_seed(1, "a", "bc")
    assert derive_seed(1, "\udcff") is not None  # what a badly encoded command line looks like


def script(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "script.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_script_answers_in_order_and_its_end_is_an_error(tmp_path: Path) -> None:
    rows = (
        {"when": "Hello", "replies": ["one two\nObservation: x", "two"]},
        {"when": "system", "replies": ["again"], "anywhere": True, "cycle": True},
    )
    model = ScriptedModel(script(tmp_path, *rows))

    async def run() -> None:
        first = await model.chat(HELLO, sampling=Sampling(), stop=("\nObservation",))
        assert first == Completion("one two", "stop", Usage(1, 1, 2))
        assert (await model.chat(HELLO, sampling=Sampling())).text == "two"
        with pytest.raises(ModelError, match="no reply left for: 'Hello'"):
            await model.chat(HELLO, sampling=Sampling())
        everything = [{"role": "system", "content": "system"}, *HELLO]
        for _ in range(3):
            assert (await model.chat(everything, sampling=Sampling())).text == "again"

    asyncio.run(run())
    assert model.name == "scripted:script.jsonl"
    assert len(model.calls) == 6


@pytest.mark.parametrize(
    "row", [{}, {"when": "x"}, {"when": 1, "replies": []}, {"when": "x", "replies": [1]}]
)
def test_a_script_that_is_none_is_one_sentence(tmp_path: Path, row: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="row 1"):
        ScriptedModel(script(tmp_path, row))
