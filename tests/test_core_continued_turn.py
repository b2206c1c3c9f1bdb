"""How a reply that was begun goes to each kind of server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from helpers_llm import FakeLLM
from helpers_train import FAMILIES, tokenizer_folder

from src_core.chat_tokenizer import ChatTokenizer
from src_core.http_chat import GO_ON, HttpChatModel
from src_core.llm import Endpoint, Sampling
from src_core.protocols.deeprag import DeepRag
from src_core.protocols.records import Message
from src_core.types import DirectAnswer, Step

BEGUN = "Follow up: Who wrote Let It Be?\n"
ASKED: list[Message] = [
    {"role": "user", "content": "Question: Who?"},
    {"role": "assistant", "content": BEGUN},
]


def sent(
    messages: list[Message], reply: str = "Intermediate answer: McCartney", **endpoint: Any
) -> tuple[str, dict[str, Any]]:
    """The reply that the client makes of the server's, and the body that it sent."""

    async def run() -> tuple[str, dict[str, Any]]:
        async def handler(_: dict[str, Any]) -> str:
            return reply

        async with FakeLLM(handler) as server:
            client = HttpChatModel(Endpoint(url=server.url, model="fake", **endpoint))
            try:
                done = await client.chat(messages, sampling=Sampling(), stop=("\n",))
            finally:
                await client.close()
            return done.text, server.bodies[0]

    return asyncio.run(run())


def test_llama_cpp_goes_on_with_the_message_and_repeats_it() -> None:
    text, body = sent(ASKED, f"{BEGUN}Intermediate answer: McCartney", engine="llama.cpp")
    assert text == "Intermediate answer: McCartney"
    assert body["messages"] == ASKED


def test_vllm_is_told_to_go_on() -> None:
    text, body = sent(ASKED)
    assert text == "Intermediate answer: McCartney"
    assert (body["messages"], body["continue_final_message"], body["add_generation_prompt"]) == (
        ASKED,
        True,
        False,
    )


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_vllm_gets_the_text_of_training_where_the_tokenizer_is_known(family: str, tmp_path: Path) -> None:
    """Llama-3's template cuts the last line break of a message; the text that is sent keeps it."""
    tokenizer = ChatTokenizer(tokenizer_folder(tmp_path / "t", family))
    protocol = DeepRag()
    turns = protocol.turns("Who wrote it?", [Step(1, "", DirectAnswer("Who?", "Ann"))])
    text, body = sent(protocol.messages(turns, begun=BEGUN), tokenizer=str(tmp_path / "t"))
    assert text == "Intermediate answer: McCartney"
    assert "messages" not in body
    assert body["add_special_tokens"] is False
    more = [*turns, {"role": "assistant", "reasoning": BEGUN}]
    assert tokenizer.token_ids(body["prompt"]) == tokenizer.prompt_ids(protocol.lay_out(more))


def test_other_servers_are_asked_to_go_on_in_the_users_turn() -> None:
    text, body = sent(ASKED, engine="openai")
    assert text == "Intermediate answer: McCartney"
    assert body["messages"] == [
        {"role": "user", "content": f"Question: Who?\n\n{GO_ON}\n\n{BEGUN}"},
    ]
    system: list[Message] = [{"role": "system", "content": "Be brief."}, ASKED[1]]
    assert [message["role"] for message in sent(system, engine="openai")[1]["messages"]] == ["system", "user"]
    hello: list[Message] = [{"role": "user", "content": "Hello"}]
    assert sent(hello, engine="openai")[1]["messages"] == hello


def test_a_server_that_repeats_the_beginning_is_not_read_twice() -> None:
    begun: list[Message] = [ASKED[0], {"role": "assistant", "content": "Follow up:"}]
    assert sent(begun, "Follow up: Who?", engine="openai")[0] == " Who?"
