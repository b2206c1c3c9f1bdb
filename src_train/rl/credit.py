"""From scored rollouts to the advantage of every token.

Tokens of the environment have advantage 0 and are not in the loss at all; a token of the policy has the
advantage of its step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from src_infer.rollout_record import Sample
from src_tasks.reward_rules import Scored
from src_train.packing import ADVANTAGES, OLD_LOGPROBS, REF_LOGPROBS
from src_train.rl.advantages import (
    all_equal,
    batch_relative,
    gae,
    group_relative,
    leave_one_out,
    most_different,
    step_leave_one_out,
    whiten,
)
from src_train.rl.attempts import Attempt
from src_train.rl.config import AdvantageConfig
from src_train.rows import TrainRow

OLD_VALUES, RETURNS = "old_values", "returns"
"""Names of values per token: of the value head before the update, and what it has to learn."""
Floats = npt.NDArray[np.float32]


class Played(NamedTuple):
    """A rollout with its rewards and its rows (one per sample; none where the others of its group are only
    compared with it).
    """

    attempt: Attempt
    scored: Scored
    rows: list[TrainRow]


Group = list[Played]


def kept_groups(groups: Sequence[Group], config: AdvantageConfig) -> list[Group]:
    """The groups that teach something: not empty, and, with `drop_equal_groups`, without those in which no
    rollout has an advantage over the others. A value head learns from equal groups too, so `ppo` keeps them.
    """
    filtered = config.drop_equal_groups and config.name != "ppo"
    return [group for group in groups if group and not (filtered and _teaches_nothing(group, config))]


def _teaches_nothing(group: Group, config: AdvantageConfig) -> bool:
    if config.name != "step":
        return all_equal([played.scored.total for played in group])
    steps = step_leave_one_out([played.scored.steps for played in group], gamma=config.gamma)
    return len(group) < 2 or all(all_equal([0.0, value]) for values in steps for value in values)


def trained_part(group: Group, most: int) -> Group:
    """The group with the rows of `most` of its rollouts only (0: of all): those whose rewards differ most
    (`most_different`). The others stay, as the baseline.
    """
    if not 0 < most < len(group):
        return group
    chosen = set(most_different([played.scored.total for played in group], most))
    return [played if at in chosen else played._replace(rows=[]) for at, played in enumerate(group)]


def with_advantages(groups: Sequence[Group], config: AdvantageConfig) -> list[TrainRow]:
    """The rows of all rollouts with the values `advantages`, for `ppo` also `returns`, which needs rows with
    `old_values`.
    """
    if config.name == "ppo":
        rows = [
            row for group in groups for played in group if played.rows for row in _ppo_rows(played, config)
        ]
        return _whitened(rows) if config.whiten else rows
    made = []
    for group, steps in zip(groups, _step_advantages(groups, config), strict=True):
        for played, values in zip(group, steps, strict=True):
            if not played.rows:
                continue
            for sample, row in zip(played.attempt.samples, played.rows, strict=True):
                spread = spread_steps(sample, dict(enumerate(values, start=1)))
                made.append(_with(row, {ADVANTAGES: spread}))
    return made


def spread_steps(sample: Sample, by_step: Mapping[int, float]) -> Floats:
    """(n,) for each id of a sample the value of its step, 0 where the environment inserted it. Raises
    `KeyError` for a step without a value.
    """
    parts, number = [], 0
    for span in sample.spans:
        value = 0.0
        if span.trainable:
            value = by_step[sample.steps[number]]
            number += 1
        parts.append(np.full(len(span.ids), value, dtype=np.float32))
    return np.concatenate(parts)


def _step_advantages(groups: Sequence[Group], config: AdvantageConfig) -> list[list[list[float]]]:
    """For each rollout of each group the advantage of each of its steps."""
    if config.name == "step":
        made = [
            step_leave_one_out([played.scored.steps for played in group], gamma=config.gamma)
            for group in groups
        ]
        return _scaled(made) if config.whiten else made
    totals = [[played.scored.total for played in group] for group in groups]
    if config.name == "reinforce_pp":
        whole = batch_relative(totals)
    elif config.name == "rloo":
        whole = [leave_one_out(rewards) for rewards in totals]
    else:
        whole = [group_relative(rewards, scale=config.name == "grpo") for rewards in totals]
    return [
        [[value] * len(played.scored.steps) for played, value in zip(group, values, strict=True)]
        for group, values in zip(groups, whole, strict=True)
    ]


def _scaled(groups: list[list[list[float]]]) -> list[list[list[float]]]:
    """All divided by one number, their root mean square over the batch: a centre of its own would be a bonus
    or a cost per step.
    """
    flat = np.asarray([value for group in groups for steps in group for value in steps])
    size = float(np.sqrt(np.mean(flat**2))) if len(flat) else 0.0
    return [[[v / size if size else v for v in steps] for steps in group] for group in groups]


class _Token(NamedTuple):
    """A sampled token: its row, its position in it, the number of its step."""

    row: int
    at: int
    step: int


def _tokens(samples: Sequence[Sample]) -> list[_Token]:
    """The trained tokens of a rollout in their order."""
    found = []
    for row, sample in enumerate(samples):
        at, number = 0, 0
        for span in sample.spans:
            if span.trainable:
                known = [offset for offset, value in enumerate(span.logprobs) if value is not None]
                found += [_Token(row, at + offset, sample.steps[number]) for offset in known]
                number += 1
            at += len(span.ids)
    return found


def _ppo_rows(played: Played, config: AdvantageConfig) -> list[TrainRow]:
    """GAE over the tokens of each step, or over all tokens of the rollout (`across_steps`). The reward of a
    step stands at its last token.
    """
    tokens = _tokens(played.attempt.samples)
    made = [
        {name: np.zeros(len(row.encoded.ids), dtype=np.float32) for name in (ADVANTAGES, RETURNS)}
        for row in played.rows
    ]
    numbers = sorted({token.step for token in tokens})
    sequences = [tokens] if config.across_steps else [[t for t in tokens if t.step == n] for n in numbers]
    for sequence in sequences:
        rewards = _token_rewards(sequence, played, config)
        values = [float(played.rows[t.row].values[OLD_VALUES][t.at]) for t in sequence]
        advantages, wanted = gae(rewards, values, gamma=config.gamma, lam=config.lam)
        for token, advantage, value in zip(sequence, advantages, wanted, strict=True):
            made[token.row][ADVANTAGES][token.at] = advantage
            made[token.row][RETURNS][token.at] = value
    return [_with(row, values) for row, values in zip(played.rows, made, strict=True)]


def _token_rewards(sequence: Sequence[_Token], played: Played, config: AdvantageConfig) -> list[float]:
    """The reward of each token: that of its step at the step's last one, minus the log-ratio to the
    reference. Across steps, a step without a token (an empty reply, or none of known probability) has its
    reward at the token before it.
    """
    rewards = [0.0] * len(sequence)
    last = {token.step: number for number, token in enumerate(sequence)}
    before = 0
    for step, reward in enumerate(played.scored.steps, start=1):
        before = last.get(step, before)
        if step in last or config.across_steps:
            rewards[before] += reward
    if config.kl_coef:
        for number, token in enumerate(sequence):
            values = played.rows[token.row].values
            rewards[number] -= config.kl_coef * float(
                values[OLD_LOGPROBS][token.at] - values[REF_LOGPROBS][token.at]
            )
    return rewards


def _whitened(rows: Sequence[TrainRow]) -> list[TrainRow]:
    """Advantages with mean 0 and standard deviation 1 over all sampled tokens."""
    masks = [row.encoded.trainable for row in rows]
    flat = [float(v) for row, mask in zip(rows, masks, strict=True) for v in row.values[ADVANTAGES][mask]]
    scaled = np.asarray(whiten(flat), dtype=np.float32)
    made, start = [], 0
    for row, mask in zip(rows, masks, strict=True):
        values = np.zeros(len(mask), dtype=np.float32)
        values[mask] = scaled[start : start + int(mask.sum())]
        start += int(mask.sum())
        made.append(_with(row, {ADVANTAGES: values}))
    return made


def _with(row: TrainRow, values: Mapping[str, Floats]) -> TrainRow:
    return row._replace(values={**row.values, **values})
