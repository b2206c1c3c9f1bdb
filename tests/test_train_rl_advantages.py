"""Advantages: worked out by hand, and unbiased for a policy that chooses when to stop."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.training

from src_train.rl.advantages import (  # noqa: E402
    all_equal,
    batch_relative,
    gae,
    group_relative,
    leave_one_out,
    most_different,
    returns,
    step_leave_one_out,
    whiten,
)

Advantages = Callable[[Sequence[Sequence[float]]], list[list[float]]]


def test_group_relative_with_and_without_the_deviation() -> None:
    deviation = math.sqrt(1 / 3)  # of the sample 1, 0, 0, 1
    wanted = [0.5 / (deviation + 1e-4) * sign for sign in (1, -1, -1, 1)]
    assert group_relative([1, 0, 0, 1], scale=True) == pytest.approx(wanted)
    assert group_relative([1, 0, 0, 1], scale=False) == [0.5, -0.5, -0.5, 0.5]
    assert group_relative([0.7, 0.7], scale=True) == pytest.approx([0.0, 0.0])
    assert group_relative([3.0], scale=True) == [0.0]


def test_leave_one_out_and_the_whole_batch() -> None:
    assert leave_one_out([1, 0, 0, 1]) == pytest.approx([2 / 3, -2 / 3, -2 / 3, 2 / 3])
    assert leave_one_out([0.4]) == [0.4]
    # group means 0.5 and 3, centred +-0.5 and +-1, mean 0, variance (0.25 + 0.25 + 1 + 1) / 4
    size = math.sqrt(0.625)
    found = batch_relative([[1, 0], [4, 2]])
    assert found == [pytest.approx([0.5 / size, -0.5 / size]), pytest.approx([1 / size, -1 / size])]
    assert whiten([2.0, 2.0]) == [0.0, 0.0]
    assert whiten([]) == []


def test_the_group_filter() -> None:
    assert all_equal([0.3, 0.3, 0.3])
    assert not all_equal([0.3, 0.31])


def test_the_most_different_rewards() -> None:
    assert sorted(most_different([0.5, 1.0, 0.0, 0.5], 2)) == [1, 2]
    assert [at in (3, 4) for at in most_different([0.0, 0.0, 0.0, 1.0, 1.0], 4)].count(True) == 2
    assert sorted(most_different([0.0, 0.6, 0.5, 1.0, 0.9], 3)) == [0, 3, 4]
    assert sorted(most_different([0.2, 0.9, 1.0, 0.1], 4)) == [0, 1, 2, 3]


def test_returns_of_steps() -> None:
    assert returns([0.1, 0.2, 1.0]) == pytest.approx([1.3, 1.2, 1.0])
    assert returns([0.0, 0.0, 1.0], gamma=0.5) == [0.25, 0.5, 1.0]
    assert returns([]) == []


def test_credit_of_steps_against_the_other_rollouts() -> None:
    """The second rollout ended after one step: its last return is the baseline of the first one's later
    steps.
    """
    found = step_leave_one_out([[0.1, 1.0], [0.5]])
    assert found == [pytest.approx([1.1 - 0.5, 1.0 - 0.5]), pytest.approx([0.5 - 1.1])]
    assert step_leave_one_out([[1.0, 2.0]]) == [[3.0, 2.0]]


def test_gae_by_hand() -> None:
    """r = 0, 0, 1; V = 0.5, 0.6, 0.7; gamma 0.9, lambda 0.8."""
    d2 = 1.0 - 0.7
    d1 = 0.9 * 0.7 - 0.6
    d0 = 0.9 * 0.6 - 0.5
    a1 = d1 + 0.72 * d2
    wanted = [d0 + 0.72 * a1, a1, d2]
    advantages, targets = gae([0, 0, 1], [0.5, 0.6, 0.7], gamma=0.9, lam=0.8)
    assert advantages == pytest.approx(wanted)
    assert targets == pytest.approx([a + v for a, v in zip(wanted, (0.5, 0.6, 0.7), strict=True)])


def test_gae_with_gamma_and_lambda_one_is_the_return_minus_the_value() -> None:
    advantages, _ = gae([0.1, 0.2, 1.0], [0.5, 0.6, 0.7], gamma=1, lam=1)
    assert advantages == pytest.approx([1.3 - 0.5, 1.2 - 0.6, 1.0 - 0.7])


# A policy that chooses when to stop. At each turn it searches (with probability 1 - p) or answers, at the
# third turn it answers. A search costs 0.2, an answer pays nothing: the best policy never searches.
STOP, COST, TURNS = 0.4, -0.2, 3


def trajectories() -> list[tuple[float, list[float], float]]:
    """All trajectories: their probability, their reward per turn, the derivative of the log-probability by p
    of each choice summed up (turn by turn in `choices`).
    """
    made = []
    for searches in range(TURNS):
        chosen = searches < TURNS - 1
        probability = (1 - STOP) ** searches * (STOP if chosen else 1.0)
        made.append((probability, [COST] * searches + [0.0], float(chosen)))
    return made


def slopes(rewards: Sequence[float], chosen: float) -> list[float]:
    """Of each turn, the derivative of the log-probability of its choice by p."""
    return [-1 / (1 - STOP)] * (len(rewards) - 1) + [chosen / STOP]


def expected_gradient(advantages: Advantages, *, group: int = 3) -> float:
    """The exact expectation of the policy gradient over all groups of trajectories."""
    total = 0.0
    for drawn in itertools.product(trajectories(), repeat=group):
        chance = math.prod(each[0] for each in drawn)
        found = advantages([each[1] for each in drawn])
        for (_, rewards, chosen), values in zip(drawn, found, strict=True):
            pairs = zip(values, slopes(rewards, chosen), strict=True)
            total += chance * sum(value * slope for value, slope in pairs) / group
    return total


def true_gradient() -> float:
    """The derivative of the expected reward by p: -0.2 (1 - p) - 0.2 (1 - p)^2."""
    return -COST * (1 + 2 * (1 - STOP))


def per_turn_index(group: Sequence[Sequence[float]]) -> list[list[float]]:
    """What verl issue 7244 describes: each turn's reward minus the mean reward of that turn, then summed up
    from there on.
    """
    means = [
        sum(rewards[turn] for rewards in group if turn < len(rewards))
        / sum(turn < len(rewards) for rewards in group)
        for turn in range(max(map(len, group)))
        if any(turn < len(rewards) for rewards in group)
    ]
    return [returns([r - m for r, m in zip(rewards, means, strict=False)]) for rewards in group]


def test_step_credit_has_no_hidden_bonus_for_further_turns() -> None:
    assert expected_gradient(step_leave_one_out) == pytest.approx(true_gradient())
    assert true_gradient() > 0.4, "stopping earlier is better"


def test_normalising_by_turn_index_has_one() -> None:
    """The comparison has something to find: most of the cost of a search is gone there."""
    assert expected_gradient(per_turn_index) < 0.7 * true_gradient()
