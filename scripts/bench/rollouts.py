"""Rollouts per minute for reinforcement learning, by the number in flight, against the release of R3-RAG:

    python scripts/bench/rollouts.py CONFIG.yaml --server http://127.0.0.1:9891/v1 [rollouts=64]
        [in_flight=[1,8,64]] [questions=FILE] [retriever=http://127.0.0.1:9892]

CONFIG.yaml is one of `scripts/rl.sh`; a server of its model, with the adapter that the run starts from, and a
retriever have to run. All sides play the same rollouts (same questions, seeds and limits) through `Player`,
as a training step does. The release plays one rollout at a time and gives the model the whole prompt again at
each step (reference r3rag.md, 1.8: serial generation). On the embedded server that is asked for with
`cache_prompt: false`; another server reuses its prefix cache on all sides.

The release goes first, then the numbers in flight in their order, so what the server keeps between two sides
helps ours by at most the prompts of the questions. Printed for each side: rollouts, failed ones, searches and
written tokens per rollout, seconds, rollouts per minute, and the ratio to the release. The last line is JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rich.console import Console
from rich.table import Table

from src_core.access_token import read_token
from src_core.chat_tokenizer import ChatTokenizer
from src_core.config import Positive, config_class, load_config
from src_core.endpoints import make_model
from src_core.errors import ModelError, UserError, run_main
from src_core.http_json import JsonHttp
from src_core.llm import Endpoint
from src_core.llm_tokens import LlamaCppTokens, TokenCompletion, TokenModel, TokenSampling
from src_infer.runtime import Runtime, open_runtime
from src_models.llm_folder import llm_folder
from src_train.rl.attempts import Attempt
from src_train.rl.config import RlConfig
from src_train.rl.play import Player, play_groups, questions_of, rollout_protocol, training_questions


@config_class
class Settings:
    """What to play: `rollouts` of each side, `group` of each question, from the configuration's questions or
    a file.
    """

    rollouts: Positive = 64
    group: Positive = 8
    in_flight: tuple[Positive, ...] = (1, 8, 64)
    questions: str = ""
    retriever: str = ""


class Side(NamedTuple):
    """A side: its name, the rollouts in flight, whether the prompt is computed again at each step."""

    name: str
    in_flight: int
    whole_prompt: bool = False


class _WholePrompts(LlamaCppTokens):
    """llama.cpp's token routes without its prefix cache."""

    async def _ask(self, prompt: Sequence[int], **settings: Any) -> dict[str, Any]:
        return await super()._ask(prompt, **settings, cache_prompt=False)


class _Afresh:
    """A `TokenModel` that gives the server the whole prompt each time."""

    def __init__(self, http: JsonHttp) -> None:
        self._tokens = _WholePrompts(http)

    async def generate_tokens(self, prompt: Sequence[int], *, sampling: TokenSampling) -> TokenCompletion:
        """See `TokenModel`."""
        return await self._tokens.generate("", prompt, sampling)

    async def score_tokens(self, prompt: Sequence[int], continuation: Sequence[int]) -> list[float]:
        """See `TokenModel`."""
        return await self._tokens.score("", prompt, continuation)


def main(arguments: Sequence[str]) -> int:
    """Measure each side, print."""
    if len(arguments) < 3 or arguments[1] != "--server":
        raise UserError(
            "name a configuration and a server: python scripts/bench/rollouts.py CONFIG.yaml --server URL"
        )
    settings = load_config(Settings, None, arguments[3:])
    changed = [f"runtime.agent.url={arguments[2]}", f"group_size={settings.group}"]
    changed += [f"questions=[{{path: {settings.questions}}}]"] if settings.questions else []
    changed += [f"runtime.retriever={settings.retriever}"] if settings.retriever else []
    config = load_config(RlConfig, Path(arguments[0]), changed)
    sides = [Side("release", 1, whole_prompt=True)]
    sides += [Side("ours", count) for count in settings.in_flight]
    asyncio.run(_measure(sides, settings, config))
    return 0


async def _measure(sides: Sequence[Side], settings: Settings, config: RlConfig) -> None:
    tokenizer = ChatTokenizer(llm_folder(config.learner.model))
    known = training_questions(config)
    chosen = questions_of(0, known, size=max(1, settings.rollouts // settings.group), seed=config.seed)
    rows: list[dict[str, Any]] = []
    async with open_runtime(
        config.runtime, needs_agent=False, needs_reader=False, section="runtime."
    ) as runtime:
        for side in sides:
            async with _model(config.runtime.agent, side) as model:
                player = _player(model, config, runtime, tokenizer)
                begun = time.perf_counter()
                groups = await play_groups(
                    chosen,
                    player,
                    size=settings.group,
                    in_flight=side.in_flight,
                    have={},
                    on_done=lambda _: None,
                )
                seconds = time.perf_counter() - begun
            rows.append(_figures(side, [attempt for group in groups for attempt in group], seconds))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    _report(rows)


def _player(model: TokenModel, config: RlConfig, runtime: Runtime, tokenizer: ChatTokenizer) -> Player:
    return Player(
        model=model,
        protocol=rollout_protocol(config.runtime),
        tokenizer=tokenizer,
        runtime=runtime,
        tokens=config.rollout,
        seed=config.seed,
        version=0,
    )


@asynccontextmanager
async def _model(agent: Endpoint, side: Side) -> Any:
    if side.whole_prompt and agent.engine == "llama.cpp":
        http = JsonHttp(
            agent.url,
            error=ModelError,
            token=read_token(),
            connections=1,
            timeout=agent.timeout,
            retry=agent.retry,
        )
        try:
            yield _Afresh(http)
        finally:
            await http.close()
        return
    client = make_model(replace(agent, model=""), connections=side.in_flight, token=read_token())
    try:
        await client.ready()
        if not isinstance(client, TokenModel):
            raise UserError(f"{agent.url} has no token routes; start vLLM or the embedded server")
        yield client
    finally:
        await client.close()


def _figures(side: Side, attempts: Sequence[Attempt], seconds: float) -> dict[str, Any]:
    done = [attempt for attempt in attempts if not attempt.failed]
    if not done:
        raise UserError(f"all rollouts failed ({attempts[0].trajectory.error}); look at the server")
    searches = sum(attempt.trajectory.searches for attempt in done)
    return {
        "side": side.name,
        "in_flight": side.in_flight,
        "rollouts": len(attempts),
        "failed": len(attempts) - len(done),
        "searches": round(searches / len(done), 2),
        "written": round(sum(attempt.trajectory.usage.completion_tokens for attempt in done) / len(done), 1),
        "seconds": round(seconds, 1),
        "per_minute": round(60 * len(attempts) / seconds, 1),
    }


def _report(rows: Sequence[dict[str, Any]]) -> None:
    table = Table(title="Rollouts", header_style="bold")
    for name in (*rows[0], "ratio"):
        table.add_column(name.replace("_", " "), justify="left" if name == "side" else "right")
    for row in rows:
        row["ratio"] = round(row["per_minute"] / rows[0]["per_minute"], 2)
        table.add_row(*map(str, row.values()))
    Console(width=120).print(table)
    print(json.dumps(rows))


if __name__ == "__main__":
    run_main(lambda: main(sys.argv[1:]))
