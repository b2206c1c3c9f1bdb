"""Scored runs for the tests and the measurement of the report: small ones, and synthetic ones of any size."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

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
from src_eval.records import Estimate, QuestionScore, RunScore
from src_tasks.metrics import exact_match, token_f1

PROSE = (
    "the river town was founded by a composer whose opera about an island queen first played in winter "
    "near harbour walls where merchants kept ledgers of salt and silver until an engineer drew canals"
)
MANIFEST = {
    "config": {"method": "rearag"},
    "models": ["qwen2.5-coder-1.5b", "qwen2.5-coder-1.5b"],
    "index": {
        "corpus": "world.jsonl",
        "rows": 339,
        "type": "bm25",
        "sparse": "bm25",
        "identity": "eb0f9998083efafb",
    },
    "started": "2026-05-01T10:00:00Z",
    "wall_seconds": 3725.0,
    "code": {"commit": "0123456789abcdef", "dirty": False},
    "packages": {"python": "3.11.2"},
    "machine": {"platform": "linux", "machine": "x86_64", "cores": 2},
}


def scored(trajectory: Trajectory) -> QuestionScore:
    """The row of `scores.jsonl` about a trajectory."""
    asked, meta = trajectory.question, trajectory.question.meta
    metrics = {"searches": float(trajectory.searches), "seconds": trajectory.seconds}
    if asked.answers:
        metrics["em"] = exact_match(trajectory.answer, asked.answers)
        metrics["f1"] = token_f1(trajectory.answer, asked.answers)
    group, source = str(meta.get("type", "")), str(meta.get("dataset", "toyset"))
    return QuestionScore(
        id=asked.id,
        question=asked.question,
        golds=asked.answers,
        prediction=trajectory.answer,
        status=trajectory.status.value,
        source=source,
        group=group,
        hops=meta.get("hops"),
        metrics=metrics,
    )


def write_run(folder: Path, trajectories: Sequence[Trajectory], *, manifest: Any = MANIFEST) -> Path:
    """A scored run directory."""
    folder.mkdir(parents=True, exist_ok=True)
    scores = [scored(trajectory) for trajectory in trajectories]
    hops = sorted({str(row.hops) for row in scores if row.hops})
    totals = RunScore(
        run=folder.name,
        method="rearag",
        model="qwen2.5-coder-1.5b",
        dataset="toyset",
        questions=len(scores),
        metrics=_means(scores),
        by={"hops": {name: _means([row for row in scores if str(row.hops) == name]) for name in hops}},
        outcomes=dict(Counter(row.status for row in scores)),
        invalid_rate=0.028,
    )
    (folder / "trajectories.jsonl").write_bytes(_lines(trajectories))
    (folder / "scores.jsonl").write_bytes(_lines(scores))
    (folder / "scores.json").write_bytes(to_json(totals))
    if manifest is not None:
        (folder / "manifest.json").write_bytes(orjson.dumps(manifest))
    return folder


def synthetic(
    n: int, *, seed: int = 0, searches: int = 3, passages: int = 3, chars: int = 700
) -> list[Trajectory]:
    """`n` trajectories, each with `searches` searches that bring `passages` passages of `chars` characters,
    none of them twice. Questions depend on their number alone, answers on `seed`.
    """
    draw = random.Random(seed)
    return [_trajectory(number, draw, searches, passages, chars) for number in range(n)]


def _trajectory(number: int, draw: random.Random, searches: int, passages: int, chars: int) -> Trajectory:
    golds = (f"Gold town {number}",)
    text = f"In which town was the composer of opera number {number} born?"
    right = draw.random() < 0.6
    status = draw.choices(list(Status)[:4], weights=[80, 10, 5, 5])[0]
    asked = Question(
        question_id(text, golds),
        text,
        golds,
        (f"p{number}-1-0",),
        meta={"dataset": "toyset" if number % 3 else "otherset", "type": ("bridge", "comparison")[number % 2]}
        | {"hops": 2 + number % 3},
    )
    steps = [
        Step(
            n=n,
            thought=f"Step {n}: {_prose(draw, 200)}",
            action=Search(f"Who wrote opera {number}, part {n}?"),
            observation=f"It says Gold town {number}. {_prose(draw, 150)}",
            passages=tuple(
                _passage(f"{number}-{n}-{at}", _prose(draw, chars), chars) for at in range(passages)
            ),
            usage=Usage(2, 900, 60),
            seconds=draw.expovariate(1 / 6),
        )
        for n in range(1, searches + 1)
    ]
    answer = golds[0] if right else "Elsewhere"
    if status is Status.FINISHED:
        steps.append(
            Step(searches + 1, _prose(draw, 120), Finish(answer), usage=Usage(1, 1200, 40), seconds=2.0)
        )
    return Trajectory(
        asked,
        tuple(steps),
        answer,
        status,
        usage=sum((step.usage for step in steps), Usage()),
        seconds=sum(step.seconds for step in steps),
        provenance={"parse_failures": ["no_action"] if status is Status.MALFORMED_THEN_ANSWERED else []},
    )


def _passage(name: str, prose: str, chars: int) -> Passage:
    text = f"Passage {name}\nIt stood in Gold town {name.split('-')[0]}; {prose}"
    return Passage(f"p{name}", f"Passage {name}", text[:chars], {"retrieval": 0.5})


def _prose(draw: random.Random, chars: int) -> str:
    return " ".join(draw.choices(PROSE.split(), k=chars // 5))[:chars]


def _means(scores: Sequence[QuestionScore]) -> dict[str, Estimate]:
    """Means with intervals that only look like some."""
    found: dict[str, list[float]] = {}
    for row in scores:
        for name, value in row.metrics.items():
            found.setdefault(name, []).append(value)
    means = {name: sum(values) / len(values) for name, values in found.items()}
    return {name: Estimate(m, 0.9 * m, min(1.1 * m, m + 0.1), len(found[name])) for name, m in means.items()}


def _lines(records: Sequence[Any]) -> bytes:
    return b"".join(to_json(record) + b"\n" for record in records)


@contextmanager
def open_browser() -> Iterator[Any]:
    """Debian's Chromium without a window, with an empty profile, as playwright drives it."""
    from playwright.sync_api import sync_playwright

    quiet = ("quic", "background-networking", "component-update", "sync", "gpu")
    arguments = ["--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in quiet)]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        yield browser
        browser.close()
