"""The same continuations scored by two servers of the same weights: `python scripts/bench/score.py
EMBEDDED_URL VLLM_URL TOKENIZER_FOLDER`.

    python -m src_models.convert.tokenizer smollm2-135m TOKENIZER_FOLDER
    python -m src_models.llama_server --model smollm2-135m --port 9971 &
    bash scripts/vllm_cpu.sh convert smollm2-135m DIR; bash scripts/vllm_cpu.sh serve DIR --port 9972 &
    python scripts/bench/score.py http://127.0.0.1:9971/v1 http://127.0.0.1:9972/v1 TOKENIZER_FOLDER

Prints the mean and the largest difference per token in nat, and whether both order the continuations alike.
The weights differ by rounding alone: 4 bits in integers, and widened to bf16.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src_core.chat_tokenizer import ChatTokenizer
from src_core.errors import UserError, run_main
from src_core.http_chat import HttpChatModel
from src_core.llm import Endpoint, Sampling
from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import PromptStyle
from src_core.types import Search, Step
from src_infer.episode import Node
from src_infer.policy import Policy

CONTINUATIONS = (
    "The capital of France is Paris.",
    "The capital of France is London.",
    "Let's search the question in Wikipedia.",
    "zx qv jj",
)
NODE = Node("What is the capital of France?").child(
    Step(1, "I need the country.", Search("Which country?"), observation="France is a country in Europe.")
)


async def scores(url: str, engine: Literal["vllm", "llama.cpp"], folder: Path) -> list[list[float]]:
    """The log-probabilities of all continuations, from one server."""
    model = HttpChatModel(Endpoint(url=url, engine=engine))
    style = PromptStyle(observation_role="user")
    policy = Policy(
        model, ReaRag(style), sampling=Sampling(), prompt_tokens=1500, tokenizer=ChatTokenizer(folder)
    )
    try:
        await model.ready()
        return await policy.score(NODE, CONTINUATIONS, written="Thought 2: ")
    finally:
        await model.close()


def main() -> None:
    """Ask both, print the comparison."""
    if len(sys.argv) != 4:
        raise UserError("usage: python scripts/bench/score.py EMBEDDED_URL VLLM_URL TOKENIZER_FOLDER")
    folder = Path(sys.argv[3])
    ours = asyncio.run(scores(sys.argv[1], "llama.cpp", folder))
    theirs = asyncio.run(scores(sys.argv[2], "vllm", folder))
    differences = [
        abs(a - b) for one, two in zip(ours, theirs, strict=True) for a, b in zip(one, two, strict=True)
    ]
    print("| continuation | embedded, nat/token | vLLM, nat/token |\n|---|---:|---:|")
    for text, one, two in zip(CONTINUATIONS, ours, theirs, strict=True):
        print(f"| {text} | {sum(one) / len(one):.3f} | {sum(two) / len(two):.3f} |")
    orders = [
        sorted(range(len(found)), key=lambda at: sum(found[at]) / len(found[at])) for found in (ours, theirs)
    ]
    mean = sum(differences) / len(differences)
    print(
        f"{len(differences)} tokens: mean difference {mean:.3f} nat, largest {max(differences):.3f} nat; ",
        end="",
    )
    print("same order" if orders[0] == orders[1] else "another order")


if __name__ == "__main__":
    run_main(main)
