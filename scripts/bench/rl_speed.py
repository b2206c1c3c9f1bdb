"""What the steps of RL runs cost, from their logs: `python scripts/bench/rl_speed.py runs/NAME [runs/OTHER]`.

One column per run: steps, seconds of a step (median) and of its parts (new weights, rollouts, update),
rollouts per minute, tokens that the policy wrote per rollout, tokens trained per step and per second of the
update. Counted are steps with an update; the first one is left out where there are others, since servers warm
up in it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rich.console import Console
from rich.table import Table

from src_core.errors import UserError, run_main
from src_core.jsonl import read_jsonl

LOG = "log.jsonl"
PARTS = ("seconds_weights", "seconds_rollouts", "seconds_update")


def main(folders: Sequence[str]) -> int:
    """Print the table."""
    if not folders:
        raise UserError("name run directories: python scripts/bench/rl_speed.py runs/NAME")
    found = []
    for folder in folders:
        log = Path(folder) / LOG
        if not log.is_file():
            raise UserError(f"{folder} has no {LOG}; name the directory of an RL run with a finished step")
        found.append(speed_of(list(read_jsonl(log, torn_tail_ok=True))))
    table = Table(title="Steps of reinforcement learning", header_style="bold")
    table.add_column("")
    for folder in folders:
        table.add_column(Path(folder).name, justify="right")
    for name in found[0]:
        table.add_row(name.replace("_", " "), *(f"{figures[name]:,.1f}" for figures in found))
    Console(width=160).print(table)
    return 0


def speed_of(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The figures of one run. Raises `UserError` where no step has an update."""
    trained = [line for line in lines if line.get("updates")]
    if not trained:
        raise UserError("no step of this run has an update; look at used_groups in its log")
    timed = trained[1:] or trained
    parts = {name: median(line[name] for line in timed) for name in PARTS}
    rollouts = sum(line["rollouts"] for line in timed)
    tokens = sum(line["trained_tokens"] for line in timed)
    return {
        "steps": len(timed),
        "seconds": float(median(sum(line[name] for name in PARTS) for line in timed)),
        **parts,
        "rollouts_per_minute": 60 * rollouts / sum(line["seconds_rollouts"] for line in timed),
        "written_per_rollout": sum(line["sampled_per_rollout"] for line in timed) / len(timed),
        "trained_tokens_per_step": tokens / len(timed),
        "trained_tokens_per_second": tokens / sum(line["seconds_update"] for line in timed),
    }


if __name__ == "__main__":
    run_main(lambda: main(sys.argv[1:]))
