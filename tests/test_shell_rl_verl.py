"""The script that starts verl with our settings, or not at all. A fake Python stands for verl's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FAKE = """#!/usr/bin/env bash
case $2 in
  src_train.rl.verl_data) printf '%s\\n' "$@" > data.arguments ;;
  src_train.rl.verl_settings)
    [[ -z ${REFUSES:-} ]] || { echo "error: $REFUSES" >&2; exit 2; }
    printf 'a=1\\nb=[0.9,0.95]\\n' ;;
  *) printf '%s\\n' "$@" > verl.arguments ;;
esac
"""


def started(folder: Path, *arguments: str, refuses: str = "") -> subprocess.CompletedProcess[str]:
    """The script in a copy of what it needs, called from its folder `mine`."""
    for name in ("scripts", "deploy"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "mine/model").mkdir(parents=True)
    for name in ("mine/rl.yaml", "mine/q.jsonl"):
        (folder / name).write_text("")
    fake = folder / "python"
    fake.write_text(FAKE)
    fake.chmod(0o755)
    environment = {**os.environ, "VERL_PYTHON": str(fake), "MODEL_DIR": "model", "REFUSES": refuses}
    command = ["bash", str(folder / "scripts/rl_verl.sh"), "rl.yaml", *arguments]
    return subprocess.run(command, cwd=folder / "mine", env=environment, capture_output=True, text=True)


def test_verl_gets_our_settings_then_its_own(tmp_path: Path) -> None:
    done = started(tmp_path, "questions=[{path: q.jsonl}]", "--", "trainer.total_epochs=4")
    assert done.returncode == 0, done.stderr
    given = (tmp_path / "verl.arguments").read_text().splitlines()
    assert given[1] == "verl.trainer.main_ppo"
    assert given[-3:] == ["a=1", "b=[0.9,0.95]", "trainer.total_epochs=4"]
    assert f"actor_rollout_ref.model.path={tmp_path}/mine/model" in given
    assert f"questions=[{{path: {tmp_path}/mine/q.jsonl}}]" in (tmp_path / "data.arguments").read_text()


def test_verl_is_not_started_without_them(tmp_path: Path) -> None:
    done = started(tmp_path, refuses="verl trains all weights here")
    assert done.returncode == 2
    assert "verl trains all weights here" in done.stderr
    assert not (tmp_path / "verl.arguments").exists()
