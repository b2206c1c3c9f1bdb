"""What scoring costs: python scripts/bench/scoring.py [rows=10000]

Writes a run of synthetic trajectories (four steps of three passages, as long as real ones), scores it with
`src_eval.scoring.score_run`, and prints wall and CPU seconds. Metrics, bootstrap intervals with three
breakdowns, and both files are included. The last line is one JSON object.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src_core.config import config_class, load_config
from src_core.errors import run_main
from src_core.types import (
    Finish,
    Passage,
    Question,
    Search,
    Status,
    Step,
    Trajectory,
    Usage,
    question_id,
    to_json,
)
from src_eval.scoring import score_run

WORDS = ["the", "river", "northern", "town", "was", "founded", "by", "an", "explorer", "mountains", "winter"]


@config_class
class Settings:
    """What to measure: how many rows."""

    rows: int = 10_000


def main() -> None:
    """Write, score, print."""
    settings = load_config(Settings, None, sys.argv[1:])
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = {"config": {"method": "rearag", "questions": "synthetic.jsonl"}, "models": ["synthetic"]}
        (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        with (folder / "trajectories.jsonl").open("wb") as rows:
            rows.writelines(to_json(_trajectory(at, draw)) + b"\n" for at in range(settings.rows))
        megabytes = (folder / "trajectories.jsonl").stat().st_size / 1e6
        wall, cpu = time.perf_counter(), time.process_time()
        scored = score_run(folder)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{settings.rows} rows, {megabytes:.0f} MB: {wall:.2f} s, {cpu:.2f} s of CPU")
    figures = {"rows": scored.run.questions, "megabytes": round(megabytes, 1)}
    print(json.dumps({**figures, "seconds": round(wall, 3), "cpu_seconds": round(cpu, 3)}))


def _trajectory(at: int, draw: random.Random) -> Trajectory:
    golds = tuple(_text(draw, draw.randint(1, 5)) for _ in range(draw.randint(1, 3)))
    text = f"Which is number {at}? {_text(draw, 12)}"
    meta = {"dataset": "synthetic", "type": draw.choice(["bridge", "comparison"]), "hops": draw.randint(2, 4)}
    question = Question(question_id(text, golds), text, golds, (f"p{at}", f"q{at}"), meta=meta)
    steps = [_search(n, at, draw) for n in range(1, 4)]
    answer = golds[0] if draw.random() < 0.4 else _text(draw, 3)
    steps.append(Step(4, _text(draw, 20), Finish(answer), reply=_text(draw, 40)))
    usage = Usage(9, draw.randint(4000, 9000), draw.randint(200, 900))
    return Trajectory(question, tuple(steps), answer, Status.FINISHED, usage, draw.random() * 30)


def _search(n: int, at: int, draw: random.Random) -> Step:
    ids = draw.sample([f"p{at}", f"q{at}", "x1", "x2", "x3", "x4"], 3)
    passages = tuple(
        Passage(name, _text(draw, 3), _text(draw, 90), {"retrieval": draw.random()}) for name in ids
    )
    query, reply = Search(_text(draw, 10)), _text(draw, 40)
    return Step(n, _text(draw, 30), query, observation=_text(draw, 15), passages=passages, reply=reply)


def _text(draw: random.Random, words: int) -> str:
    return " ".join(draw.choices(WORDS, k=words))


if __name__ == "__main__":
    run_main(main)
