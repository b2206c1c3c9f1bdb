"""The main job for real: `bash infer.sh` with the smallest embedded model, real servers, the sample world."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    port = str(free_port())
    return {
        **os.environ,
        "VENV": sys.prefix,
        "PROFILE": "cpu",
        "MODEL": "smollm2-135m",
        "REARAG_PORT": port,
        "ANSWER_LLM_PORT": port,
        "RETRIEVER_PORT": str(free_port()),
        "STATE_DIR": str(tmp_path / "state"),
        "LOG_DIR": str(tmp_path / "logs"),
    }


def infer(environment: dict[str, str], runs: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "infer.sh", f"runs_dir={runs}", "limits.t_max=3"],
        cwd=ROOT,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def port_answers(port: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


def test_infer_answers_sample_questions_and_stops_its_servers(
    environment: dict[str, str], tmp_path: Path
) -> None:
    done = infer(environment, tmp_path, N_QUESTIONS="2", RUN_NAME="two")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in (tmp_path / "two/trajectories.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    for row in rows:
        assert row["steps"], "the grammar makes even the smallest model act"
        assert row["steps"][0]["action"]["function"] == "search"
        assert row["steps"][0]["passages"]
        assert row["usage"]["completion_tokens"] > 0
    manifest = json.loads((tmp_path / "two/manifest.json").read_text())
    assert manifest["index"] and manifest["models"] == ["smollm2-135m"]
    assert not port_answers(environment["REARAG_PORT"])
    assert not port_answers(environment["RETRIEVER_PORT"])


def test_one_question_prints_its_steps(environment: dict[str, str], tmp_path: Path) -> None:
    done = infer(environment, tmp_path, QUESTION="Who composed The Planets: whom?", RUN_NAME="one")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Thought 1:" in done.stdout
    assert "Observation 1:" in done.stdout
    assert "Answer:" in done.stdout
