"""Engines, model files and thread settings in alternation: `python scripts/bench/engines.py engines='[…]'`

    python scripts/bench/engines.py rounds=2 beside='[0, 1]' engines='[
      {name: shipped, model: qwen2.5-coder-0.5b, lora: adapters/qwen2.5-coder-0.5b.gguf},
      {name: merged, model: MERGED.gguf, environment: {GOMP_SPINCOUNT: "1000"}},
      {name: openvino, kind: openvino, model: Q4_0.gguf, python: VENV/bin/python}]'

Each engine is a child that stays loaded; every job goes to one after the other, so that what else the
machine does hits all alike. `beside` are numbers of busy processes that run meanwhile. Jobs, with random
token ids: `step`, 500 prompt tokens of which nothing is cached and 40 written ones; `read`, 532 prompt
tokens; `write`, 64 tokens; `four`, four steps at once.

Printed per job: the least CPU seconds and the least wall seconds of all rounds. With one thread nothing
spins, and CPU seconds are the work itself whatever else runs. OpenVINO (`pip install openvino-genai`) is no
requirement of this project: name the interpreter of an environment that has it.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, field
from pathlib import Path
from typing import Literal, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src_core.config import Positive, config_class, load_config
from src_core.errors import UserError, run_main

JOBS = {"step": (1, 500, 40), "read": (1, 532, 1), "write": (1, 16, 64), "four": (4, 500, 40)}
"""Requests at once, prompt tokens and written tokens of each job."""
IDS = (1_000, 40_000)
"""Token ids of prompts: ordinary words in the vocabularies of the models here."""


class Cost(NamedTuple):
    """What one job took in one engine."""

    cpu: float
    wall: float


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that keep a core busy."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


@config_class
class Engine:
    """One engine: llama.cpp as the embedded server runs it, or OpenVINO GenAI."""

    name: str
    model: str
    kind: Literal["llama.cpp", "openvino"] = "llama.cpp"
    lora: str = ""
    threads: Positive = 2
    environment: dict[str, str] = field(default_factory=dict)
    python: str = sys.executable


@config_class
class Settings:
    """What to measure, in which worlds."""

    engines: list[Engine]
    jobs: tuple[str, ...] = tuple(JOBS)
    rounds: Positive = 2
    beside: tuple[int, ...] = (0,)


class Child:
    """One loaded engine in a process of its own."""

    def __init__(self, engine: Engine) -> None:
        script = Path(__file__).with_name("engine_process.py")
        command = [engine.python, str(script), json.dumps(asdict(engine))]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **engine.environment},
        )
        self.loaded = self._read()

    def ask(self, prompts: Sequence[Sequence[int]], tokens: int) -> Cost:
        """Answer all prompts at once."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"prompts": prompts, "tokens": tokens}) + "\n")
        self._process.stdin.flush()
        return Cost(**self._read())

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise UserError("an engine ended; its messages are above")
        found: dict[str, float] = json.loads(line)
        return found


def main() -> None:
    """Load all engines, run all jobs in alternation, print a table for each world."""
    settings = load_config(Settings, None, sys.argv[1:])
    with ExitStack() as stack:
        children: dict[str, Child] = {}
        for engine in settings.engines:
            child = Child(engine)
            stack.callback(child.close)
            children[engine.name] = child
            found = child.loaded
            print(
                f"{engine.name}: loaded in {found['seconds']:.1f} s ({found['cpu']:.1f} s of CPU), "
                f"{found['mib']:.0f} MiB",
                flush=True,
            )
        for count in settings.beside:
            print(f"\nbusy processes beside: {count}; load average {os.getloadavg()[0]:.1f}", flush=True)
            with busy(count):
                _table(_measure(children, settings.jobs, settings.rounds))


def _measure(
    children: dict[str, Child], jobs: Sequence[str], rounds: int
) -> dict[str, dict[str, list[Cost]]]:
    """The costs of each round by job and engine. Every engine gets the same prompts."""
    costs: dict[str, dict[str, list[Cost]]] = {job: {name: [] for name in children} for job in jobs}
    numbers = random.Random(time.time_ns())
    for _ in range(rounds):
        for job in jobs:
            count, length, tokens = JOBS[job]
            prompts = [[numbers.randrange(*IDS) for _ in range(length)] for _ in range(count)]
            for name, child in children.items():
                costs[job][name].append(child.ask(prompts, tokens))
    return costs


def _table(costs: dict[str, dict[str, list[Cost]]]) -> None:
    names = list(next(iter(costs.values())))
    print(f"| least CPU s / least wall s | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for job, found in costs.items():
        cells = [f"{min(c.cpu for c in row):.2f} / {min(c.wall for c in row):.2f}" for row in found.values()]
        print(f"| {job} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    run_main(main)
