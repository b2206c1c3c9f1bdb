"""Statistics against values that are known in closed form or by enumeration."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from src_eval.stats import (
    FLIPS,
    bootstrap,
    compare,
    detectable_difference,
    discordance_variance,
    holm,
    sign_flip_p,
)


def enumerated(differences: list[float]) -> float:
    """The exact p-value, every sign pattern written out."""
    exact = [Fraction(str(difference)) for difference in differences]
    observed = abs(sum(exact, Fraction(0)))
    patterns = list(itertools.product((1, -1), repeat=len(exact)))
    hits = sum(
        abs(sum((s * d for s, d in zip(signs, exact, strict=True)), Fraction(0))) >= observed
        for signs in patterns
    )
    return hits / len(patterns)


def test_a_constant_has_no_width_and_a_coin_has_the_known_one() -> None:
    constant = bootstrap({"x": [0.5] * 40})["x"]
    assert (constant.mean, constant.low, constant.high, constant.n) == (0.5, 0.5, 0.5, 40)
    coin = bootstrap({"x": [0.0, 1.0] * 200})["x"]
    half = 1.96 * math.sqrt(0.25 / 400)
    assert coin.low == pytest.approx(0.5 - half, abs=0.006)
    assert coin.high == pytest.approx(0.5 + half, abs=0.006)


def test_columns_keep_their_order_and_lengths_and_draws_repeat() -> None:
    columns = {"b": [1.0, 0.0, 1.0], "a": [0.2, 0.4], "c": [0.0, 1.0, 1.0]}
    found = bootstrap(columns)
    assert list(found) == ["b", "a", "c"]
    assert [found[name].n for name in "bac"] == [3, 2, 3]
    assert found["a"].mean == pytest.approx(0.3)
    assert bootstrap(columns) == found == {**found, "a": bootstrap({"a": [0.2, 0.4]})["a"]}
    with pytest.raises(ValueError, match="no values"):
        bootstrap({"x": []})


def test_nine_points_at_a_hundred_questions() -> None:
    found = bootstrap({"em": [1.0] * 60 + [0.0] * 40})["em"]
    assert (found.high - found.low) / 2 == pytest.approx(0.096, abs=0.012)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([0.0, 0.0], 1.0),
        ([1.0], 1.0),
        ([1.0] * 5, 2 / 32),
        ([1.0] * 8 + [-1.0] * 2, 2 * (1 + 10 + 45) / 1024),
        ([1.0, -1.0], 1.0),
        ([1.0, 2.0, 3.0], 2 / 8),
        ([1.0, 2.0, -3.0], 1.0),
        ([3.0, 1.0, -1.0], 6 / 8),
    ],
)
def test_exact_p_values(differences: list[float], p: float) -> None:
    assert sign_flip_p(differences) == pytest.approx(p, abs=1e-12)
    assert enumerated(differences) == pytest.approx(p, abs=1e-12)


@given(st.lists(st.sampled_from([-1.0, -0.5, -0.25, 0.0, 0.3, 0.5, 1.0]), min_size=1, max_size=9))
@example([-1.0, -0.5, -0.5, 0.3, 0.3, 0.3, 0.3, 0.3, 0.5])  # a sum of nothing but rounding
def test_few_differences_are_enumerated(differences: list[float]) -> None:
    assert sign_flip_p(differences) == pytest.approx(enumerated(differences), abs=1e-12)


def test_a_thousand_questions_of_one_size_are_exact_too() -> None:
    expected = 2 * sum(math.comb(1000, k) for k in range(451)) / 2**1000
    assert sign_flip_p([1.0] * 550 + [-1.0] * 450) == pytest.approx(expected, rel=1e-12)


def test_many_differences_are_sampled_with_the_correction_and_repeat() -> None:
    clear = [0.5, 0.7] * 30
    assert sign_flip_p(clear) == 1 / (FLIPS + 1)
    mixed = [0.5, -0.4, 0.3, -0.2] * 10
    assert sign_flip_p(mixed) == sign_flip_p(mixed)
    spread = math.sqrt(sum(value**2 for value in mixed))
    normal = math.erfc(sum(mixed) / spread / math.sqrt(2))
    assert sign_flip_p(mixed) == pytest.approx(normal, abs=0.03)


def test_sampling_agrees_with_enumeration(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [0.9, 0.8, -0.7, 0.6, 0.5, -0.4, 0.3, 0.2, 0.1, 0.35]
    exact = sign_flip_p(values)
    monkeypatch.setattr("src_eval.stats.EXACT_UP_TO", 0)
    assert sign_flip_p(values) == pytest.approx(exact, abs=0.015)


def test_runs_are_compared_over_shared_questions() -> None:
    found = compare({"a": 1.0, "b": 1.0, "c": 0.0, "x": 1.0}, {"a": 0.0, "b": 1.0, "c": 0.0, "y": 0.0})
    assert (found.n, found.differing, found.p) == (3, 1, 1.0)
    assert found.difference == pytest.approx(1 / 3)
    assert found.variance == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="share no question"):
        compare({"a": 1.0}, {"b": 1.0})


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_detectable_difference() -> None:
    # 100 questions, 30 of which are answered rightly by one run only, without a true difference
    found = detectable_difference(variance=discordance_variance(0.3), n=100)
    assert found == pytest.approx((1.959964 + 0.841621) * math.sqrt(0.3 / 100), rel=1e-6)
    assert detectable_difference(variance=0.0, n=100) is None
    assert discordance_variance(0.3, 0.1) == pytest.approx(0.29)
    with pytest.raises(ValueError, match="discordant"):
        discordance_variance(0.1, 0.2)
    with pytest.raises(ValueError, match="at least one"):
        detectable_difference(variance=1.0, n=0)
