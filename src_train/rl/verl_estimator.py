"""Credit per step inside verl (0.9), under the name `step`: `advantages.step_leave_one_out` over the rewards
that `verl_loop` puts at the last token of each step.

verl imports the modules that `VERL_USE_EXTERNAL_MODULES` names in each of its processes (scripts/rl_verl.sh
names this one), and knows the estimator from then on. verl's own estimators spread one number over a rollout,
and a baseline for each turn index would carry a bonus for further turns (verl issue 7244).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch

from src_train.rl.advantages import step_leave_one_out

ESTIMATOR = "step"


def step_advantages(
    token_level_rewards: torch.Tensor,
    response_mask: torch.Tensor,
    index: Sequence[Any],
    config: Any = None,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages and returns (rollouts, tokens), 0 where the mask is 0. `index` is the question of each
    rollout; a run of tokens with mask 1 is a step. `config.gamma` discounts per step. All advantages are
    divided by their root mean square over the steps of the batch, as `credit` does.
    """
    gamma = 1.0 if config is None else float(config.get("gamma", 1.0))
    spans = [_runs(row.tolist()) for row in response_mask]
    rewards = [
        [float(row[begin:end].sum()) for begin, end in found]
        for row, found in zip(token_level_rewards, spans, strict=True)
    ]
    steps: list[list[float]] = [[] for _ in spans]
    for question in dict.fromkeys(index):
        rows = [at for at, each in enumerate(index) if each == question]
        for at, values in zip(
            rows, step_leave_one_out([rewards[row] for row in rows], gamma=gamma), strict=True
        ):
            steps[at] = values
    flat = [value**2 for values in steps for value in values]
    size = (sum(flat) / len(flat)) ** 0.5 if flat else 0.0
    made = torch.zeros_like(token_level_rewards)
    for row, found in enumerate(spans):
        for (begin, end), value in zip(found, steps[row], strict=True):
            made[row, begin:end] = value / size if size else value
    return made, made


def _runs(mask: Sequence[float]) -> list[tuple[int, int]]:
    """Begin and end of each run of ones."""
    found, at = [], 0
    for value, run in groupby(mask, key=bool):
        length = len(list(run))
        if value:
            found.append((at, at + length))
        at += length
    return found


def register() -> None:
    """Make the estimator known to verl."""
    from verl.trainer.ppo.core_algos import register_adv_est

    register_adv_est(ESTIMATOR)(step_advantages)


if "verl" in sys.modules:  # it is verl that imports this module (see above); nothing happens otherwise
    register()
