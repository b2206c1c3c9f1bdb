"""A small world for RADIO's stages: 24 passages, questions, a scripted model, and a run of any stage."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

from src_core.errors import UserError
from src_data.radio.run import main

TOWNS = [f"Town{n}" for n in range(24)]
Rows = list[dict[str, Any]]


def corpus() -> Rows:
    """A passage per town; all of them match a question about a river."""
    return [
        {
            "id": f"p{n}",
            "title": town,
            "text": f"{town} lies on the river Aare and was founded in {1200 + n}.",
        }
        for n, town in enumerate(TOWNS)
    ]


def questions(count: int = 6) -> Rows:
    """Questions about founding years, each with its gold passage."""
    return [
        {
            "id": f"q{n}",
            "question": f"When was {TOWNS[n]} on the river Aare founded?",
            "answers": [str(1200 + n)],
            "supporting_ids": [f"p{n}"],
        }
        for n in range(count)
    ]


def write_rows(path: Path, rows: Sequence[object]) -> Path:
    """Write rows as JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_rows(path: Path) -> Rows:
    """The rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Radio:
    """A run in a folder of its own."""

    def __init__(self, folder: Path, *, passages: Rows | None = None, asked: Rows | None = None) -> None:
        self.folder = folder
        self.run = folder / "runs/radio"
        write_rows(folder / "corpus.jsonl", corpus() if passages is None else passages)
        write_rows(folder / "questions.jsonl", questions() if asked is None else asked)
        self.script([("", ["The chronicle of the abbey dates its charter to that year."])])
        self.settings = {
            "runs_dir": str(folder / "runs"),
            "questions": f"[{folder}/questions.jsonl]",
            "rationales.endpoint.url": f"scripted:{folder}/model.jsonl",
            "rationales.in_flight": "2",
            "candidates.retriever": f"toy:{folder}/corpus.jsonl",
            "candidates.top_n": "20",
            "scores.encoder": "toy",
            "held_out": "0",
        }
        (folder / "radio.yaml").write_text("run_name: radio\n", encoding="utf-8")

    def script(self, rows: Sequence[tuple[str, Sequence[str]]], *, cycle: bool = True) -> None:
        """What the model replies: `(text of the last message, replies)`."""
        lines = [
            {"when": when, "replies": list(replies), "cycle": cycle, "anywhere": True}
            for when, replies in rows
        ]
        write_rows(self.folder / "model.jsonl", lines)

    def stage(self, name: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run one stage in this process; `a__b` is the key `a.b`."""
        changed = self.settings | {key.replace("__", "."): value for key, value in settings.items()}
        arguments = [f"{key}={value}" for key, value in changed.items()]
        out, err = io.StringIO(), io.StringIO()
        given = ["run", name, str(self.folder / "radio.yaml"), *arguments]
        with patch.object(sys, "argv", given), redirect_stdout(out), redirect_stderr(err):
            try:
                status = main()
            except UserError as error:
                status = 2
                print(f"error: {error}", file=err)
        return subprocess.CompletedProcess([], status, out.getvalue(), err.getvalue())

    def stages(self, *names: str, **settings: str) -> None:
        """Run stages that have to succeed."""
        for name in names:
            done = self.stage(name, **settings)
            assert done.returncode == 0, done.stderr

    def rows(self, name: str) -> Rows:
        """The rows of a file of the run."""
        return read_rows(self.run / name)

    def record(self, stage: str) -> dict[str, Any]:
        """The record of a stage."""
        found: dict[str, Any] = json.loads((self.run / f"{stage}.json").read_text(encoding="utf-8"))
        return found
