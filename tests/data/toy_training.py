"""Training data, preference pairs and a token rollout of the toy format; prints what came of them as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from src_core.chat_tokenizer import ChatTokenizer
from src_core.endpoints import make_model
from src_core.llm import Endpoint
from src_core.protocols import load_protocol
from src_core.protocols.records import PromptStyle
from src_core.types import Question, Step
from src_infer.episode import Limits, Observation
from src_infer.rollout import RolloutLimits, rollout
from src_infer.rollout_record import rollout_row
from src_train.config import DataFile
from src_train.pairs import read_pairs
from src_train.rollouts import read_rollouts
from src_train.rows import read_rows


async def search(_query: str, _steps: Sequence[Step]) -> Observation:
    """The same for every query."""
    return Observation("found")


def main(folder: Path, data: Path, script: Path) -> None:
    """Read the exported conversation, make a pair of it, play an episode."""
    tokenizer, style = ChatTokenizer(folder), PromptStyle()
    made = data / "conversations.train.jsonl"
    limits = {"max_length": 900, "drop_long": False, "seed": 1}
    encoded = read_rows([DataFile(path=str(made))], tokenizer, style, **limits).rows[0].encoded
    row = json.loads(made.read_text().splitlines()[0])
    turns = row["messages"]
    wrong = [{"role": "assistant", "reasoning": "SAY Bath"}]
    pair = {"format": "toy", "prompt": turns[:1], "chosen": turns[1:], "rejected": wrong}
    (data / "pairs.jsonl").write_text(json.dumps(pair) + "\n")
    pairs = read_pairs([DataFile(path=str(data / "pairs.jsonl"))], tokenizer, style, **limits)
    model = make_model(Endpoint(url=f"scripted:{script}", tokenizer=str(folder)), connections=1, token=None)
    done = asyncio.run(
        rollout(
            Question("q", turns[0]["content"].removeprefix("Puzzle: ")),
            model=model,
            protocol=load_protocol("toy"),
            tokenizer=tokenizer,
            search=search,
            limits=Limits(step_tries=2),
            tokens=RolloutLimits(),
        )
    )
    (data / "rollouts.jsonl").write_text(json.dumps(rollout_row(done, [1.0] * len(done.samples))) + "\n")
    rollouts = read_rollouts([DataFile(path=str(data / "rollouts.jsonl"))], tokenizer.vocabulary, **limits)
    found = {
        "format": row["format"],
        "trained": tokenizer.decode(encoded.ids[encoded.trainable].tolist()),
        "pairs": len(pairs.rows),
        "status": done.episode.status,
        "answer": done.episode.steps[-1].action.answer,
        "rollout": tokenizer.decode(done.samples[0].ids),
        "rollouts": len(rollouts.rows),
        "discarded": len(done.discarded),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
