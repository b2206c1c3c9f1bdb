"""A new text format and a new method are two files: dropped into a copy of the project, with nothing else
touched, they run inference, construction, training data, preference pairs and a token rollout.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers_train import tokenizer_folder

ROOT = Path(__file__).resolve().parent.parent
REPLIES = [
    "I need the author.\nFIND Who wrote Emma?\nSEEN invented",
    "SO Jane Austen wrote it.",
    "KNOW What is her first name? = Jane",
    "Hm.",
    "Now the town.\nFIND Where was Jane Austen born?",
    "SO She was born in Steventon.",
    "SAY Steventon",
]
CORPUS = [
    {"id": "p1", "title": "Emma", "text": "Emma is a novel by Jane Austen."},
    {"id": "p2", "title": "Jane Austen", "text": "Jane Austen was born in Steventon."},
]
QUESTION = {"question": "Where was the author of Emma born?", "answers": ["Steventon"]}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with the two files in it."""
    copy = tmp_path / "project"
    for name in (
        "src_core",
        "src_tasks",
        "src_retrieval",
        "src_infer",
        "src_data",
        "src_train",
        "src_models",
    ):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "configs", copy / "configs")
    shutil.copy(ROOT / "tests/data/toy_protocol.py", copy / "src_core/protocols/toy.py")
    shutil.copy(ROOT / "tests/data/toy_method.py", copy / "src_infer/methods/toy.py")
    return copy


def run(project: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def lines(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_two_files_are_enough(project: Path, tmp_path: Path) -> None:
    corpus = lines(tmp_path / "corpus.jsonl", [*CORPUS])
    questions = lines(tmp_path / "questions.jsonl", [QUESTION])
    script = lines(tmp_path / "script.jsonl", [{"when": "Puzzle", "replies": REPLIES, "anywhere": True}])
    servers = {"agent.url": f"scripted:{script}", "retriever": f"toy:{corpus}", "top_k": "1"}
    run(
        project,
        *("-m", "src_infer.run", "configs/infer/gpu.yaml", "method=toy", "method_settings.steps=7"),
        *(
            f"questions={questions}",
            f"runs_dir={tmp_path}",
            "run_name=asked",
            "reader.url=scripted:" + str(script),
        ),
        *(f"{key}={value}" for key, value in servers.items()),
    )
    row = json.loads((tmp_path / "asked/trajectories.jsonl").read_text())
    assert (row["answer"], row["status"]) == ("Steventon", "finished")
    assert [step["action"]["function"] for step in row["steps"]] == [
        *("search", "direct_answer", "search", "finish")
    ]
    assert [step["conclusion"] for step in row["steps"]] == [
        *("Jane Austen wrote it.", "", "She was born in Steventon.", "")
    ]
    assert row["provenance"]["parse_failures"] == ["no_call"]

    runtime = {f"build_conv.runtime.{key}": value for key, value in servers.items()}
    run(
        project,
        *("-m", "src_data.run", "src_data/data_config.yaml", "run_name=made", f"runs_dir={tmp_path}"),
        *(f"build_conv.input_files=[{questions}]", "build_conv.n_sample=-1", "export.validation_share=0"),
        *("build_conv.runtime.protocol=toy", "build_conv.runtime.observation_mode=passages"),
        *("build_conv.runtime.thinks=false", "build_conv.runtime.prompt.system=", "build_conv.num_workers=1"),
        *("clean_conv.need_support=false", "clean_conv.bounds.min_thought_chars=0"),
        *(f"{key}={value}" for key, value in runtime.items()),
    )
    folder = tokenizer_folder(tmp_path / "tokenizer", "qwen")
    found = json.loads(
        run(
            project,
            str(ROOT / "tests/data/toy_training.py"),
            str(folder),
            str(tmp_path / "made"),
            str(script),
        )
    )
    assert found["format"] == "toy"
    assert "FIND Who wrote Emma?" in found["trained"]
    assert "SO Jane Austen wrote it." in found["trained"]
    assert "is a novel by" not in found["trained"]
    assert (found["pairs"], found["rollouts"], found["discarded"]) == (2, 1, 1)
    assert (found["status"], found["answer"]) == ("finished", "Steventon")
    assert "FIND Who wrote Emma?\nSEEN found\nSO Jane Austen wrote it." in found["rollout"]
    assert "invented" not in found["rollout"]
