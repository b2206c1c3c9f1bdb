"""Uncertainty: bootstrap intervals, paired randomisation tests, Holm's correction, detectable differences.

All functions are deterministic: random draws use a fixed seed. With 100 questions the interval is about plus
or minus nine points (reference section 10.4), so every score is shown with its interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src_eval.records import Estimate

Floats = NDArray[np.float64]

RESAMPLES = (1_000, 5_000)  # minimum and maximum; between them as many as the draws allow
DRAWS = 10_000_000
FLIPS = 10_000
EXACT_UP_TO = 16  # differing questions: 65,536 sign patterns
_SEED = 0
_DRAWS_AT_ONCE = 1_000_000
_DRAWS_PER_BIN = 25  # the cost of one binomial draw, in draws of questions
_SLACK = 1e-9


class Comparison(NamedTuple):
    """Two runs over the `n` questions that both answered: the mean difference (first minus second), its
    two-sided p-value, the number of questions that differ, and the variance of the differences.
    """

    difference: float
    p: float
    n: int
    differing: int
    variance: float


def bootstrap(columns: Mapping[str, Sequence[float] | Floats]) -> dict[str, Estimate]:
    """Mean and percentile 95 % interval of every column over resampled questions (Efron 1979). Raises
    `ValueError` for a column without values.
    """
    means: dict[str, Floats] = {}
    by_length: dict[int, dict[str, Floats]] = {}
    for name, values in columns.items():
        column = np.asarray(values, dtype=np.float64)
        n = len(column)
        if not n:
            raise ValueError(f"{name} has no values to take a mean of")
        resamples = min(max(DRAWS // n, RESAMPLES[0]), RESAMPLES[1])
        distinct, counts = np.unique(column, return_counts=True)
        if len(distinct) * _DRAWS_PER_BIN <= n:
            means[name] = _binned_means(distinct, counts, resamples)
        else:
            by_length.setdefault(n, {})[name] = column
    for n, group in by_length.items():
        means |= _drawn_means(group, n=n, resamples=min(max(DRAWS // n, RESAMPLES[0]), RESAMPLES[1]))
    return {name: _estimate(columns[name], means[name]) for name in columns}


def bootstrap_counts(
    rows: Sequence[Sequence[int]], figures: Callable[[Sequence[int]], Mapping[str, float]]
) -> dict[str, Estimate]:
    """Figures of summed counts with percentile 95 % intervals over resampled rows: `rows` holds k counts for
    each question, `figures` takes their k sums. Questions are drawn, so that the decisions of one question
    stay together. Raises `ValueError` without rows.
    """
    if not rows:
        raise ValueError("no question to draw from")
    n = len(rows)
    distinct, counts = np.unique(np.asarray(rows, dtype=np.int64), axis=0, return_counts=True)
    drawn = np.random.default_rng(_SEED).multinomial(n, counts / n, size=RESAMPLES[0])
    sums = drawn @ distinct
    samples = [figures(each) for each in sums.tolist() if any(each)]  # a draw may hold no decision at all
    found = figures((counts @ distinct).tolist())
    estimates = {}
    for name, value in found.items():
        low, high = np.percentile([sample[name] for sample in samples], [2.5, 97.5])
        estimates[name] = Estimate(value, float(low), float(high), n)
    return estimates


def compare(ours: Mapping[str, float], theirs: Mapping[str, float]) -> Comparison:
    """The paired randomisation test of two runs' scores by question id (Fisher; Smucker et al. 2007), over
    the questions that both have. Raises `ValueError` without a shared question.
    """
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        raise ValueError("the runs share no question")
    differences = np.array([ours[name] - theirs[name] for name in shared], dtype=np.float64)
    return Comparison(
        difference=float(differences.mean()),
        p=sign_flip_p(differences.tolist()),
        n=len(shared),
        differing=int(np.count_nonzero(differences)),
        variance=float(differences.var(ddof=1)) if len(shared) > 1 else 0.0,
    )


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided p-value: the share of random sign patterns whose sum is at least as large in absolute value.
    Exact when all non-zero differences have one size (the sign test) or few are non-zero; else sampled, (1 +
    hits) / (1 + draws).
    """
    values = np.array([value for value in differences if value], dtype=np.float64)
    if not len(values):
        return 1.0
    sizes = np.abs(values)
    observed = abs(float(values.sum())) - _SLACK * float(
        sizes.sum()
    )  # sums of one value in other orders differ
    if np.allclose(sizes, sizes[0], rtol=_SLACK, atol=0.0):
        return _sign_test_p(int((values > 0).sum()), len(values))
    if len(values) <= EXACT_UP_TO:
        patterns = np.arange(2 ** len(values))[:, None] >> np.arange(len(values)) & 1
        return float((np.abs((2 * patterns - 1) @ values) >= observed).mean())
    random = np.random.default_rng(_SEED)
    hits, left = 0, FLIPS
    while left:
        rows = min(left, max(_DRAWS_AT_ONCE // len(values), 1))
        signs = 2.0 * random.integers(0, 2, size=(rows, len(values)), dtype=np.int8) - 1.0
        hits += int((np.abs(signs @ values) >= observed).sum())
        left -= rows
    return (1 + hits) / (1 + FLIPS)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values, in the order given: rejecting those below alpha bounds the probability
    of any false rejection by alpha.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = highest
    return adjusted


def detectable_difference(
    *, variance: float, n: int, power: float = 0.8, alpha: float = 0.05
) -> float | None:
    """The smallest true mean difference that a two-sided paired test over `n` questions would find with
    `power`: (z of 1 - alpha/2 + z of power) * sqrt(variance / n), in the unit of the metric. `variance` is
    that of the paired differences (`Comparison`, or `discordance_variance`). None where the variance is 0: it
    cannot be estimated from two runs that never differ.
    """
    if n < 1:
        raise ValueError("a sample needs at least one question")
    if variance <= 0:
        return None
    normal = NormalDist()
    return (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)) * math.sqrt(variance / n)


def discordance_variance(discordant: float, difference: float = 0.0) -> float:
    """The variance of paired differences of a right-or-wrong metric, from the share of questions on which two
    runs disagree and their mean difference.
    """
    if not 0 <= discordant <= 1 or abs(difference) > discordant:
        raise ValueError("the share of discordant questions lies in [|difference|, 1]")
    return discordant - difference**2


def _sign_test_p(positive: int, n: int) -> float:
    """Both tails of the binomial distribution with p = 0.5, in integers: 2,000 trials overflow floats."""
    tail, ways = 0, 1
    for k in range(min(positive, n - positive) + 1):
        tail += ways
        ways = ways * (n - k) // (k + 1)
    coins: int = 2**n
    return min(1.0, 2 * tail / coins)


def _estimate(column: Sequence[float] | Floats, means: Floats) -> Estimate:
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(math.fsum(column) / len(column), float(low), float(high), len(column))


def _binned_means(values: Floats, counts: NDArray[np.int64], resamples: int) -> Floats:
    """Means over resampled questions where many questions share few values: the counts of the values are
    drawn from a multinomial distribution, which gives the same distribution with fewer draws.
    """
    n = int(counts.sum())
    drawn = np.random.default_rng(_SEED).multinomial(n, counts / n, size=resamples)
    means: Floats = (drawn * values).sum(axis=1) / n
    return means


def _drawn_means(columns: Mapping[str, Floats], *, n: int, resamples: int) -> dict[str, Floats]:
    """Means of columns of one length over questions drawn with replacement, the same draws for all columns;
    in blocks, to bound memory.
    """
    random = np.random.default_rng(_SEED)
    means = {name: np.empty(resamples) for name in columns}
    block = max(_DRAWS_AT_ONCE // n, 1)
    for start in range(0, resamples, block):
        drawn = random.integers(0, n, size=(min(block, resamples - start), n), dtype=np.int32)
        for name, column in columns.items():
            means[name][start : start + len(drawn)] = column[drawn].mean(axis=1)
    return means
