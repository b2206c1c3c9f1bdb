"""The files that verl needs for a run: `python -m src_train.rl.verl_data CONFIG.yaml FOLDER` writes the
questions as `train.parquet` and the settings of the agent loop as `agent.yaml`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from src_core.config import dump, load_config
from src_core.errors import UserError, run_main
from src_core.terminal import answer
from src_core.types import Question, to_json
from src_train.rl.config import RlConfig
from src_train.rl.play import training_questions
from src_train.rl.verl_loop import AGENT

USAGE = "usage: .venv/bin/python -m src_train.rl.verl_data CONFIG.yaml FOLDER [key=value …]"


def main(arguments: Sequence[str]) -> int:
    """Write both files and the resolved settings."""
    if len(arguments) < 2 or "=" in arguments[0] + arguments[1]:
        raise UserError(USAGE)
    config = load_config(RlConfig, Path(arguments[0]), arguments[2:])
    folder = Path(arguments[1])
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "rl.yaml"
    settings.write_text(yaml.safe_dump(dump(config), sort_keys=False, allow_unicode=True), encoding="utf-8")
    agent = [
        {"name": AGENT, "_target_": "src_train.rl.verl_loop.make_loop", "settings": str(settings.absolute())}
    ]
    (folder / "agent.yaml").write_text(yaml.safe_dump(agent, sort_keys=False), encoding="utf-8")
    rows = verl_rows(training_questions(config))
    _write_parquet(folder / "train.parquet", rows)
    answer(f"written: {folder}/{{rl.yaml, agent.yaml, train.parquet}} ({len(rows):,} questions)")
    return 0


def verl_rows(questions: Sequence[Question]) -> list[dict[str, Any]]:
    """A row per question; the prompt is only shown, the agent loop renders its own."""
    return [
        {
            "data_source": "rearag-lab",
            "agent_name": AGENT,
            "prompt": [{"role": "user", "content": question.question}],
            "reward_model": {"style": "rule", "ground_truth": list(question.answers)},
            "extra_info": {"index": number, "question": to_json(question).decode()},
        }
        for number, question in enumerate(questions)
    ]


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    parquet.write_table(arrow.Table.from_pylist(rows), path)


if __name__ == "__main__":
    run_main(lambda: main(sys.argv[1:]))
