"""Run directories as a run leaves them, with the rows that a test wants."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


def answered(
    text: str,
    answer: str,
    *golds: str,
    searches: Sequence[Sequence[str]] = (),
    supporting: Sequence[str] = (),
    status: Status = Status.FINISHED,
    rejected: int = 0,
    **meta: Any,
) -> Trajectory:
    """A trajectory that found the passages of `searches` and ended with `answer`."""
    question = Question(question_id(text, golds), text, golds, tuple(supporting), meta=meta)
    steps = [
        Step(n, "", Search(f"{text} {n}"), "seen", tuple(Passage(name, name, name) for name in found))
        for n, found in enumerate(searches, start=1)
    ]
    if searches:
        steps.append(Step(len(steps) + 1, "", Finish(answer)))
    provenance = {"parse_failures": ["?"] * rejected} if rejected else {}
    usage = Usage(max(2, len(steps) + rejected), 100, 10)
    return Trajectory(question, tuple(steps), answer, status, usage, 1.5, provenance=provenance)


def write_run(
    folder: Path,
    rows: Sequence[Trajectory],
    *,
    method: str = "rearag",
    questions: str = "set.dev.jsonl",
    tags: str = "",
) -> Path:
    """A finished run directory of `rows`; `tags` are the digests that the model's server reports."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trajectories.jsonl").write_bytes(b"".join(to_json(row) + b"\n" for row in rows))
    manifest: dict[str, Any] = {
        "config": {"method": method, "questions": questions},
        "models": ["fake"],
        "wall_seconds": 3.0,
    }
    servers = [{"agent": {"model": "fake", "tags": [tags]}, "retriever": {"identity": folder.name}}]
    manifest |= {"servers": servers} if tags else {}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder
