"""The training stage of a whole system: what a configuration and the files beside it decide."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

TRAIN = """
set -Eeuo pipefail
source deploy/system_models.sh
release() { :; }
bash() { printf '%s\\n' "$@"; }
CONFIGS=$1 SUFFIX='' NAME=mine RUNS_DIR=runs MODEL=m
train sft "$2" "there is nothing"
"""


@pytest.mark.parametrize(
    ("config", "rows", "setting"),
    [
        (
            "validation: [{path: runs/another/v.jsonl}]",
            "{}",
            "validation=[{path: FOLDER/c.validation.jsonl}]",
        ),
        ("validation: [{path: runs/another/v.jsonl}]", "", "validation=[]"),
        ("epochs: 1", "{}", ""),
    ],
)
def test_validation_files_are_those_of_the_run(tmp_path: Path, config: str, rows: str, setting: str) -> None:
    (tmp_path / "train-sft.yaml").write_text(f"{config}\n")
    (tmp_path / "c.train.jsonl").write_text("{}\n")
    (tmp_path / "c.validation.jsonl").write_text(rows)
    command = ["bash", "-c", TRAIN, "-", str(tmp_path), str(tmp_path / "c.train.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [line for line in done.stdout.splitlines() if line.startswith("validation=")]
    assert found == ([setting.replace("FOLDER", str(tmp_path))] if setting else [])
