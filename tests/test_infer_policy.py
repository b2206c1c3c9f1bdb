"""The policy: what it sends, at which temperature, and how a conversation is cut to the server's context."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from test_infer_rag import Recorder, policy_with

from src_core.errors import ContextFullError, ModelError
from src_core.llm import Completion
from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import Constrain, Message
from src_core.types import Search, Step, Usage
from src_infer.policy import RETRY_TEMPERATURE, Policy


def test_the_policy_sends_the_rendered_conversation_and_warms_up_on_a_retry() -> None:
    model = Recorder("reply")
    policy = policy_with(model, constrain=Constrain.GRAMMAR)
    steps = [Step(1, "t", Search("q"), "o")]

    async def run() -> None:
        for attempt in (0, 0, 1):
            await policy.generate("Q?", steps, n=2, attempt=attempt, functions=("finish",))

    asyncio.run(run())
    assert [message["role"] for message in model.calls[0]] == ["system", "user", "assistant", "observation"]
    assert model.calls[0] == model.calls[2]
    assert [s.temperature for s in model.samplings] == [0.0, 0.0, RETRY_TEMPERATURE]
    seeds = [s.seed for s in model.samplings]
    assert seeds[0] == seeds[1] != seeds[2]
    assert set(model.stops) == {ReaRag().stops}
    assert "Thought 2: " in model.constraints[0].grammar  # type: ignore[attr-defined]
    assert "call-search" not in model.constraints[0].grammar  # type: ignore[attr-defined]


def test_a_long_conversation_is_cut_to_the_context() -> None:
    model = Recorder("reply")
    steps = [Step(n, "t", Search(f"q{n}"), "word " * 300) for n in range(1, 6)]
    asyncio.run(
        policy_with(model, prompt_tokens=1000).generate("Q?", steps, n=6, attempt=0, functions=("finish",))
    )
    assert sum(len(message["content"]) for message in model.calls[0]) <= 3000
    with pytest.raises(ModelError, match="does not fit"):
        asyncio.run(policy_with(model, prompt_tokens=50).generate("Q?", steps, n=6, attempt=0, functions=()))


class Narrow(Recorder):
    """A server with a context of `room` characters: it refuses longer conversations as `refusal` says, or
    (without one) answers them with a reply that was cut short.
    """

    def __init__(self, room: int, refusal: str = "") -> None:
        super().__init__("reply")
        self._room = room
        self._refusal = refusal

    async def chat(self, messages: Sequence[Message], **more: object) -> Completion:  # type: ignore[override]
        reply = await super().chat(messages, **more)  # type: ignore[arg-type]
        size = sum(len(message["content"]) for message in messages)
        if size <= self._room:
            return reply
        if self._refusal:
            raise ModelError(f"http://host/v1/chat/completions: HTTP 400: {self._refusal}")
        return Completion("half a rep", "length", Usage(1, 2001, 2))

    def sizes(self) -> list[int]:
        return [sum(len(message["content"]) for message in call) for call in self.calls]


LLAMA = (
    '{"error":{"code":400,"message":"request (4100 tokens) exceeds the available context size (4096 '
    'tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":4100,"n_ctx":4096}}'
)
VLLM = '{"error":{"message":"This model\'s maximum context length is 8192 tokens. However, you requested 8200'
LONG = [Step(n, "t" * 150, Search(f"q{n}"), "word " * 200) for n in range(1, 6)]


def generate(policy: Policy, steps: Sequence[Step]) -> Completion:
    return asyncio.run(policy.generate("Q?", steps, n=len(steps) + 1, attempt=0, functions=("finish",)))


@pytest.mark.parametrize("refusal", [LLAMA, VLLM, ""])
def test_what_the_server_finds_too_long_is_cut_further(refusal: str) -> None:
    model = Narrow(3500, refusal)
    reply = generate(policy_with(model), LONG)
    sizes = model.sizes()
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-2] > 3500 >= sizes[-1] > 2500
    assert reply.text == "reply"
    repeated = 0 if refusal else len(sizes) - 1  # a refusal costs nothing, a reply that was cut short does
    assert reply.usage == Usage(1 + repeated, 300 + 2001 * repeated, 2 + 2 * repeated)
    last = [len(message["content"]) for message in model.calls[-1] if message["role"] == "observation"]
    assert last == sorted(last)  # the oldest are the shortest


def test_a_context_that_the_shortest_form_fills_is_a_full_context() -> None:
    for refusal in (LLAMA, VLLM):
        model = Narrow(100, refusal)
        with pytest.raises(ContextFullError, match="the server refuses"):
            generate(policy_with(model), LONG)
        assert model.sizes()[-1] < 5 * (60 + 300)  # the shortest form was tried
    assert generate(policy_with(Narrow(100)), LONG).text == "half a rep"
    with pytest.raises(
        ModelError, match="HTTP 400"
    ) as first:  # nothing to shorten: a wrong setting, not a full context
        generate(policy_with(Narrow(1, VLLM)), [])
    assert not isinstance(first.value, ContextFullError)
    with pytest.raises(ModelError, match="no such grammar"):
        generate(policy_with(Narrow(100, "no such grammar")), LONG)


def test_what_is_sent_does_not_depend_on_other_questions() -> None:
    model = Recorder("reply")
    policy = policy_with(model, prompt_tokens=1000)
    generate(policy, LONG)
    for text in ("中" * 900, "word " * 250):
        generate(policy, [Step(1, "t", Search("q"), text)])
    generate(policy, LONG)
    assert model.calls[0] == model.calls[-1]
