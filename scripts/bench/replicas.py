"""One server against several behind one setting: python scripts/bench/replicas.py [servers=4 slots=32]

Runs the real `rearag` method through the real client and runner, against processes of `fake_llm.py` whose
replies take lognormal times (0.25 to 0.8 s in the median) and which work on `slots` requests at once each, as
a model server with so many sequences. The same questions are asked of one server and of all of them.
Reported: questions per second of both, their ratio, and the share of questions whose requests all went to one
server. The last line is one JSON object; the exit status is 1 where the ratio is below `least`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fake_servers import fake_replicas
from load import Measured, print_figures
from runner import REPO, all_right, ask_all, item_question, settings_for

from src_core.config import config_class, load_config
from src_core.errors import run_main


@config_class
class Settings:
    """What to measure."""

    questions: int = 1500
    in_flight: int = 512
    servers: int = 4
    slots: int = 32
    least: float = 3.6


def main() -> int:
    """Measure one server, then all, print."""
    settings = load_config(Settings, None, sys.argv[1:])
    os.chdir(REPO)
    one, _ = _measured(settings, servers=1)
    all_, together = _measured(settings, servers=settings.servers)
    ratio = all_.rate / one.rate
    figures = {
        "questions": settings.questions,
        "calls": all_.calls,
        "slots_per_server": settings.slots,
        "one_server_seconds": round(one.spent.seconds, 2),
        "one_server_questions_per_second": round(one.rate, 2),
        "servers": settings.servers,
        "seconds": round(all_.spent.seconds, 2),
        "questions_per_second": round(all_.rate, 2),
        "ratio": round(ratio, 2),
        "questions_at_one_server": round(together, 4),
    }
    print_figures("servers behind one setting", figures)
    return int(ratio < settings.least)


def _measured(settings: Settings, *, servers: int) -> tuple[Measured, float]:
    """The run, and the share of questions of which one server alone was asked."""
    questions = [item_question(item) for item in range(settings.questions)]
    with fake_replicas(servers, slots=settings.slots) as ports, tempfile.TemporaryDirectory() as folder:
        config = settings_for(ports, Path(folder), in_flight=settings.in_flight)
        done = asyncio.run(ask_all(config, questions, rows=Path(folder) / "rows.jsonl"))
        all_right(done.rows, questions)
        return done, _at_one(ports)


def _at_one(ports: Sequence[int]) -> float:
    seen: Counter[int] = Counter()
    for port in ports:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/items", timeout=30) as reply:
            seen.update(orjson.loads(reply.read()))
    return sum(count == 1 for count in seen.values()) / len(seen)


if __name__ == "__main__":
    run_main(main)
