"""How far other files of a model are from it:

    python -m src_models.convert.tokenizer smollm2-135m FOLDER
    python scripts/bench/agreement.py data=../shared/data tokenizer=FOLDER models='[
      {name: shipped, model: smollm2-135m, lora: adapters/smollm2-135m.gguf},
      {name: merged, model: MERGED.gguf}]'

The first one is the reference. It writes two steps (temperature 0) for each of `questions` dev questions of
HotpotQA, with the gold passages as the observation between them. Every one scores these replies, the
reference too. Printed: nat per token, the mean absolute difference of the log-probabilities to the reference,
and the share of tokens that have a probability above 1/2, which it would write itself.
"""

from __future__ import annotations

import asyncio
import math
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import aiohttp

from src_core.chat_tokenizer import ChatTokenizer
from src_core.config import Positive, config_class, load_config
from src_core.errors import UserError, run_main
from src_core.http_chat import HttpChatModel
from src_core.jsonl import read_jsonl
from src_core.llm import Endpoint
from src_core.llm_tokens import TokenSampling
from src_core.protocols.records import ChatTurn

REPO = Path(__file__).resolve().parents[2]
OPENING = "Question: {}\n\nReasoning process with function call:"
PASSAGE_CHARS = 450
PATIENCE = 3600.0


@config_class
class Model:
    """One file, with an adapter or without."""

    name: str
    model: str
    lora: str = ""


@config_class
class Settings:
    """What to compare."""

    models: list[Model]
    tokenizer: str
    data: str = "../shared/data"
    questions: Positive = 10
    tokens: Positive = 80
    threads: Positive = 1


class Sample(NamedTuple):
    """A prompt and the reference's reply."""

    prompt: list[int]
    reply: list[int]


def main() -> None:
    """Write the replies with the first model, score them with each, print a line for each."""
    settings = load_config(Settings, None, sys.argv[1:])
    tokenizer = ChatTokenizer(Path(settings.tokenizer))
    samples: list[Sample] = []
    wanted: list[float] = []
    print("| file | tokens | nat/token | mean difference, nat | above 1/2 |\n|---|---|---|---|---|")
    for model in settings.models:
        with serving(model, threads=settings.threads) as url:
            if not samples:
                samples = asyncio.run(write(url, tokenizer, settings))
            found = asyncio.run(score(url, samples))
        wanted = wanted or found
        difference = sum(abs(a - b) for a, b in zip(found, wanted, strict=True)) / len(found)
        own = sum(value > math.log(0.5) for value in found) / len(found)
        figures = (f"{-sum(found) / len(found):.4f}", f"{difference:.4f}", f"{own:.1%}")
        print(f"| {model.name} | {len(found)} | {' | '.join(figures)} |", flush=True)


@contextmanager
def serving(model: Model, *, threads: int) -> Iterator[str]:
    """The URL of an embedded server with the file."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "src_models.llama_server", "--port", port, "--model", model.model]
    command += ["--threads", str(threads), "--parallel", "1", *(("--lora", model.lora) if model.lora else ())]
    with subprocess.Popen(command, cwd=REPO) as process:
        try:
            asyncio.run(healthy(f"http://127.0.0.1:{port}", process))
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


async def healthy(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return when the server answers."""
    async with aiohttp.ClientSession() as session:
        while process.poll() is None:
            try:
                async with session.get(f"{url}/health") as reply:
                    if reply.status == 200:
                        return
            except aiohttp.ClientError:
                await asyncio.sleep(0.2)
    raise UserError("the server ended; its messages are above")


async def write(url: str, tokenizer: ChatTokenizer, settings: Settings) -> list[Sample]:
    """Two replies to each question."""
    data = Path(settings.data)
    texts = {
        row["id"]: f"{row['title']}: {row['text'][:PASSAGE_CHARS]}"
        for row in read_jsonl(data / "corpus.jsonl")
    }
    sampling = TokenSampling(settings.tokens, temperature=0.0)
    model = HttpChatModel(Endpoint(url=url, engine="llama.cpp", timeout=PATIENCE))
    samples = []
    rows = islice(read_jsonl(data / "hotpotqa.dev.jsonl"), settings.questions)
    for row in rows:
        turns = [ChatTurn.of("user", OPENING.format(row["question"]))]
        for step in (1, 2):
            prompt = tokenizer.prompt_ids(turns)
            reply = list((await model.generate_tokens(prompt, sampling=sampling)).ids)
            samples.append(Sample(prompt, reply))
            passages = "\n".join(texts[number] for number in row["gold_ids"])
            turns.append(ChatTurn.of("assistant", tokenizer.reply_text(reply)))
            turns.append(ChatTurn.of("user", f"Observation {step}: {passages}"))
    await model.close()
    return samples


async def score(url: str, samples: list[Sample]) -> list[float]:
    """The log-probabilities of all tokens of the replies."""
    model = HttpChatModel(Endpoint(url=url, engine="llama.cpp", timeout=PATIENCE))
    found = [await model.score_tokens(prompt, reply) for prompt, reply in samples]
    await model.close()
    return [value for row in found for value in row]


if __name__ == "__main__":
    run_main(main)
