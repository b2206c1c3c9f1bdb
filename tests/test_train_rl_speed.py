"""The table of what the steps of a run cost, and the script that measures on a GPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from src_core.config import load_config
from src_core.errors import UserError
from src_train.rl.config import RlConfig

SCRIPT = Path("scripts/bench/rl_speed.py")
GPU = Path("scripts/bench/gpu.sh")


def module() -> Any:
    spec = importlib.util.spec_from_file_location("rl_speed", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def line(step: int, *, rollouts: float, update: float, updates: float = 1.0) -> dict[str, Any]:
    seconds = {"seconds_weights": 2.0, "seconds_rollouts": rollouts, "seconds_update": update}
    counts = {"rollouts": 64, "sampled_per_rollout": 200.0, "trained_tokens": 50_000.0}
    return {"step": step, "updates": updates, **seconds, **(counts if updates else {"rollouts": 64})}


def test_figures_are_those_of_the_steps_after_the_first() -> None:
    lines = [
        line(1, rollouts=900, update=900),
        line(2, rollouts=120, update=200),
        line(3, rollouts=200, update=300),
    ]
    found = module().speed_of([*lines, line(4, rollouts=1, update=0, updates=0.0)])
    assert found["steps"] == 2
    assert found["seconds"] == (322 + 502) / 2
    assert found["rollouts_per_minute"] == pytest.approx(60 * 128 / 320)
    assert found["trained_tokens_per_second"] == pytest.approx(100_000 / 500)
    with pytest.raises(UserError, match="no step of this run has an update"):
        module().speed_of([line(4, rollouts=1, update=0, updates=0.0)])


def test_the_table_of_two_runs(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.jsonl").write_text(json.dumps(line(1, rollouts=10, update=10)) + "\n")
    command = [sys.executable, str(SCRIPT), str(tmp_path / "a"), str(tmp_path / "b")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "rollouts per minute" in " ".join(done.stdout.split())
    missing = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert missing.returncode == 2
    assert "has no log.jsonl" in missing.stderr


def test_the_gpu_script_refuses_without_one_and_its_settings_load(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for tool in ("bash", "dirname", "sed", "grep", "cat"):
        (tmp_path / "bin" / tool).symlink_to(
            next(p for d in os.get_exec_path() if (p := Path(d, tool)).exists())
        )
    done = subprocess.run(
        ["bash", str(GPU)], capture_output=True, text=True, check=False, env={"PATH": str(tmp_path / "bin")}
    )
    assert done.returncode != 0
    assert "there is no GPU here" in done.stderr
    words = (
        GPU.read_text(encoding="utf-8")
        .split("rl-smollm2-135m-cpu.yaml", 1)[1]
        .split("rl_speed", 1)[0]
        .split()
    )
    plain = [word for word in words if "=" in word and '"' not in word and "$" not in word]
    assert "questions_per_step=32" in plain
    load_config(RlConfig, Path("configs/systems/rearag/rl-smollm2-135m-cpu.yaml"), plain)
