"""Advantages from rewards, as pure functions of numbers.

A group holds the rollouts of one question. Functions on whole trajectories take one reward per rollout, those
on steps one list of rewards per rollout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_TINY = 1e-6
_SMALL_STD = 1e-4
"""Added to a standard deviation, as in GRPO's usual implementations (TRL 1.16, verl 0.9)."""

Rewards = Sequence[float]


def group_relative(rewards: Rewards, *, scale: bool) -> list[float]:
    """GRPO (arXiv 2402.03300, section 4.1.2): the reward minus the group's mean, divided by the group's
    standard deviation (of the sample, as in TRL) with `scale`; without it Dr. GRPO (arXiv 2503.20783). A
    group of one has advantage 0.
    """
    mean = _mean(rewards)
    centred = [reward - mean for reward in rewards]
    if not scale or len(rewards) < 2:
        return centred
    deviation = math.sqrt(sum(value * value for value in centred) / (len(rewards) - 1))
    return [value / (deviation + _SMALL_STD) for value in centred]


def leave_one_out(rewards: Rewards) -> list[float]:
    """RLOO (arXiv 2402.14740): the reward minus the mean of the other rollouts of the group; a group of one
    has no baseline.
    """
    total, others = sum(rewards), len(rewards) - 1
    return [reward - (total - reward) / others if others else reward for reward in rewards]


def batch_relative(groups: Sequence[Rewards]) -> list[list[float]]:
    """REINFORCE++ with the group's mean as baseline (arXiv 2501.03262, section 3.2): the reward minus its
    group's mean, then centred and divided by the standard deviation of the whole batch.
    """
    centred = [group_relative(group, scale=False) for group in groups]
    flat = whiten([value for group in centred for value in group])
    sizes, made = [len(group) for group in groups], []
    for size in sizes:
        made.append(flat[:size])
        flat = flat[size:]
    return made


def whiten(values: Sequence[float]) -> list[float]:
    """`values` with mean 0 and standard deviation 1; all 0 where they are equal."""
    if not values:
        return []
    mean, deviation = _mean(values), math.sqrt(_variance(values))
    return [(value - mean) / deviation if deviation > _TINY else 0.0 for value in values]


def all_equal(rewards: Rewards) -> bool:
    """Whether a group teaches nothing: all its rewards are the same (DAPO's filter, arXiv 2503.14476)."""
    return max(rewards) - min(rewards) < _TINY


def most_different(rewards: Rewards, count: int) -> list[int]:
    """The places of the `count` rewards with the largest variance: some of the lowest and some of the highest
    ones (PODS, arXiv 2504.13818, theorem 1). There their own mean and deviation are the baseline; here the
    whole group's are, since its rewards are known.
    """
    order = sorted(range(len(rewards)), key=lambda at: (rewards[at], at))
    chosen = [order[:low] + order[len(order) - (count - low) :] for low in range(count + 1)]
    return max(chosen, key=lambda places: _variance([rewards[at] for at in places]))


def _variance(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.fsum((value - mean) ** 2 for value in values) / len(values)


def returns(rewards: Rewards, *, gamma: float = 1.0) -> list[float]:
    """Of each step, its own reward and those of the later steps, discounted by `gamma` per step."""
    made: list[float] = []
    later = 0.0
    for reward in reversed(rewards):
        later = reward + gamma * later
        made.append(later)
    return made[::-1]


def step_leave_one_out(group: Sequence[Rewards], *, gamma: float = 1.0) -> list[list[float]]:
    """Credit per step: the return from that step on, minus a baseline made of the other rollouts only: the
    mean of their returns from the same step on, or from their last step where they ended before.

    The baseline does not depend on what this rollout did, so the gradient is unbiased also for a policy that
    chooses when to stop. Subtracting the mean *reward* of each turn index is not: a turn that exists is
    compared with turns that exist, its mean reward is taken out of the objective, and every further turn
    carries a hidden bonus of minus that mean (verl issue 7244).
    """
    played = [returns(rewards, gamma=gamma) for rewards in group]
    made = []
    for own, values in enumerate(played):
        others = [other for at, other in enumerate(played) if at != own and other]
        made.append(
            [
                value - (_mean([other[min(at, len(other) - 1)] for other in others]) if others else 0.0)
                for at, value in enumerate(values)
            ]
        )
    return made


def gae(
    rewards: Rewards, values: Sequence[float], *, gamma: float, lam: float
) -> tuple[list[float], list[float]]:
    """Generalised advantage estimation (arXiv 1506.02438, eq. 16) and the returns that the value head has to
    learn (advantage plus value), for one sequence of tokens that ends in a terminal state.
    """
    advantages: list[float] = []
    later, next_value = 0.0, 0.0
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        later = reward + gamma * next_value - value + gamma * lam * later
        next_value = value
        advantages.append(later)
    advantages.reverse()
    return advantages, [a + v for a, v in zip(advantages, values, strict=True)]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
