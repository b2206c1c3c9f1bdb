"""Scoring continuations with real weights: the embedded server says what the model says.
`scripts/bench/score.py` compares it with vLLM.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers_servers import running_llama

from src_core.chat_tokenizer import ChatTokenizer
from src_core.http_chat import HttpChatModel
from src_core.llm import Endpoint, Sampling
from src_core.llm_tokens import TokenSampling
from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import PromptStyle
from src_core.types import Search, Step
from src_infer.episode import Node
from src_infer.policy import Policy
from src_models.convert.tokenizer import write_tokenizer
from src_models.fetch import ensure_model

pytestmark = pytest.mark.slow

MODEL = "smollm2-135m"
NOISE = 0.2
"""nat; llama.cpp computes prompts and single tokens with different integer kernels (0.09 was seen)."""
CONTINUATIONS = [
    "The capital of France is Paris.",
    "The capital of France is London.",
    "Let's search the question in Wikipedia.",
    "zx qv jj",
]
NODE = Node("What is the capital of France?").child(
    Step(1, "I need the country.", Search("Which country?"), observation="France <|im_end|> is a country.")
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(ensure_model(MODEL), made)
    return made


@pytest.fixture(scope="module")
def embedded() -> Iterator[str]:
    with running_llama(MODEL) as url:
        yield url


def policy(url: str, folder: Path, *, engine: str) -> Policy:
    model = HttpChatModel(Endpoint(url=url, engine=engine))  # type: ignore[arg-type]
    style = PromptStyle(observation_role="user")
    return Policy(
        model,
        ReaRag(style),
        sampling=Sampling(),
        prompt_tokens=1500,
        tokenizer=lambda: ChatTokenizer(folder),
    )


def scores(made: Policy) -> list[list[float]]:
    async def run() -> list[list[float]]:
        await made.model.ready()
        try:
            return await made.score(NODE, CONTINUATIONS, written="Thought 2: ")
        finally:
            await made.model.close()

    return asyncio.run(run())


def test_the_tokenizer_of_a_gguf_file_is_the_servers(embedded: str, folder: Path) -> None:
    import json
    import urllib.request

    tokenizer = ChatTokenizer(folder)
    texts = [*CONTINUATIONS, "北京 naïve 12,345.6 \t\t  a\r\n\n b <|im_end|>", "   leading", "trailing   "]
    for text in texts:
        for special, ids in ((True, tokenizer.token_ids(text)), (False, tokenizer.text_ids(text))):
            body = json.dumps({"content": text, "parse_special": special}).encode()
            request = urllib.request.Request(embedded.removesuffix("/v1") + "/tokenize", body)
            with urllib.request.urlopen(request, timeout=30) as reply:
                assert json.load(reply)["tokens"] == ids, text


def test_a_continuation_has_the_log_probability_that_sampling_reports(embedded: str, folder: Path) -> None:
    """What the model writes greedily is scored again: the same values, and better than anything else."""
    made = policy(embedded, folder, engine="llama.cpp")

    async def run() -> None:
        assert isinstance(made.model, HttpChatModel)
        await made.model.ready()
        try:
            turns = made.protocol.lay_out(made.protocol.turns(NODE.question, NODE.steps))
            tokenizer = made.tokenizer()
            assert tokenizer is not None
            prompt = tokenizer.prompt_ids(turns)
            greedy = await made.model.generate_tokens(
                prompt, sampling=TokenSampling(max_tokens=12, temperature=0.0)
            )
            again = await made.model.score_tokens(prompt, greedy.ids)
            assert again == pytest.approx(list(greedy.logprobs), abs=NOISE)
            text = tokenizer.decode(greedy.ids[:3])
            cut = await made.model.generate_tokens(
                prompt, sampling=TokenSampling(max_tokens=12, temperature=0.0, stop=(text[-3:],))
            )
            assert cut.ids == greedy.ids[: len(cut.ids)]
            assert list(cut.logprobs) == pytest.approx(list(greedy.logprobs[: len(cut.ids)]), abs=NOISE)
        finally:
            await made.model.close()

    asyncio.run(run())


def test_plausible_continuations_score_higher(embedded: str, folder: Path) -> None:
    found = [sum(values) / len(values) for values in scores(policy(embedded, folder, engine="llama.cpp"))]
    assert found[0] > found[1] > found[3]
    assert found[2] > found[3]
