"""Servers that refuse a request field: which setting to type, and what is sent with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web
from helpers_replies import Called, called, refused

from src_core.config import build_config, dump
from src_core.errors import ModelError, UserError
from src_core.llm import Completion, Endpoint, Sampling, Token
from src_infer.config import InferConfig

STOPS = ("\nObservation", "<|user|>")
SAMPLING = Sampling(max_tokens=9, seed=3)
LONG = "Thought 1: t\nObservation: made up <|user|> more"


def good(text: str = LONG, **choice: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}, "finish_reason": "stop", **choice}]}


def ask(
    *replies: object, omit: tuple[str, ...] = (), rename: dict[str, str] | None = None, **call: Any
) -> Called:
    settings = {"sampling": SAMPLING, "stop": STOPS, **call}
    return called(replies, endpoint={"omit": omit, "rename": rename or {}}, **settings)


def test_what_is_left_out_and_renamed_is_not_sent_under_its_own_name() -> None:
    found = ask(good(), omit=("top_p", "stop", "seed"), rename={"max_tokens": "max_completion_tokens"})
    assert set(found.bodies[0]) == {"model", "messages", "temperature", "max_completion_tokens"}
    assert found.bodies[0]["max_completion_tokens"] == 9


@pytest.mark.parametrize("omit", [(), ("stop",)])
def test_without_stop_strings_the_client_cuts_the_reply_as_the_server_would(omit: tuple[str, ...]) -> None:
    logprobs = {
        "content": [{"token": token, "logprob": -1} for token in ("Thought 1:", " t", "\nObs", "ervation")]
    }
    found = ask(good(logprobs=logprobs, finish_reason="length"), omit=omit)
    assert isinstance(found.result, Completion)
    assert (found.result.text, found.result.finish_reason) == ("Thought 1: t", "stop")
    assert found.result.tokens == (Token("Thought 1:", -1.0), Token(" t", -1.0))


def test_a_continued_text_may_hold_stop_strings() -> None:
    begun = "<search>a</search> b"
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": begun}]
    for text in (f"{begun} c</search> d", " c</search> d"):  # llama.cpp repeats the beginning, vLLM does not
        assert ask(good(text), messages=messages, stop=("</search>",)).text == " c"


def picky(*unknown: str, words: str = "Unsupported parameter: '{}' is not supported with this model.") -> Any:
    """A server that refuses the first of these fields that a request has."""

    def reply(body: dict[str, Any]) -> web.Response:
        for key in unknown:
            if key in body:
                return refused(words.format(key))
        return web.json_response(good("fine"))

    return reply


def test_following_the_advice_leads_to_an_answer() -> None:
    """As a person does: set what the error says until the server answers."""
    words = "Unsupported parameter: '{}' is not supported. Use 'max_completion_tokens' instead."
    openai = picky("max_tokens", words=words)
    others = picky("top_p", "stop", "seed", "temperature")

    def server(body: dict[str, Any]) -> web.Response:
        refusal = openai(body)
        return refusal if refusal.status != 200 else others(body)

    typed: list[str] = []
    for _ in range(6):
        config = build_config(InferConfig, {}, typed, where="the test")
        found = called(
            [server],
            endpoint={"omit": config.agent.omit, "rename": dict(config.agent.rename)},
            sampling=SAMPLING,
            stop=STOPS,
        )
        if isinstance(found.result, Completion):
            break
        typed += str(found.result).partition("; set ")[2].split(" ")
    assert found.text == "fine"
    assert typed == [
        "agent.rename.max_tokens=max_completion_tokens",
        "agent.omit=[top_p]",
        "agent.omit=[top_p,stop]",
        "agent.omit=[top_p,stop,seed]",
        "agent.omit=[top_p,stop,seed,temperature]",
    ]


@pytest.mark.parametrize(
    ("reply", "advice"),
    [
        (
            refused("Unsupported parameter: max_tokens"),
            "; set agent.omit=[max_tokens] (or agent.rename.max_tokens=max_completion_tokens, if the server "
            "knows that name)",
        ),
        (
            refused("stop: Extra inputs are not permitted; seed: Extra inputs", code=422),
            "; set agent.omit=[stop,seed]",
        ),
        (refused("This model's maximum context length is 512 tokens: reduce max_tokens"), ""),
        (refused("no such model"), ""),
        (refused("unstoppable"), ""),
        (refused("top_p", code=401), ""),
    ],
)
def test_the_error_says_what_to_type(reply: web.Response, advice: str) -> None:
    found = ask(reply)
    assert isinstance(found.result, ModelError)
    assert str(found.result).endswith(advice)
    assert ("; set " in str(found.result)) == bool(advice)
    assert len(found.bodies) == 1


def test_the_settings_are_checked_and_kept() -> None:
    config = build_config(
        InferConfig, {"agent": {"rename": {"max_tokens": "n"}}}, ["agent.omit=[seed, stop]"], where="the test"
    )
    assert config.agent == Endpoint(omit=("seed", "stop"), rename=(("max_tokens", "n"),))
    assert hash(config.agent)
    plain = json.loads(json.dumps(dump(config)))
    assert plain["agent"]["rename"] == {"max_tokens": "n"}
    assert build_config(InferConfig, plain, [], where="the file").agent == config.agent
    for wrong in ("agent.omit=[messages]", "agent.rename={prompt: x}", "agent.omit=7"):
        with pytest.raises(UserError, match="agent"):
            build_config(InferConfig, {}, [wrong], where="the test")
