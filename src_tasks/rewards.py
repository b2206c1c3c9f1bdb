"""Rewards of trajectories for reinforcement learning: pure functions of what is on record.

Three terms, as in R3-RAG (reference r3rag.md, 1.9): the outcome, the format, and what each search found. They
are kept apart; an objective adds them. Where R3-RAG asks a judge for the relevance of a search, these use
gold passages; a judge's score in [0, 1] fits `r3rag_rewards` as well. A term that cannot be known is None and
is to be left out and counted, never replaced by a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from src_core.config import config_class
from src_tasks.metrics import cover_em, em, f1


class OutcomeMetric(StrEnum):
    """What an outcome reward pays."""

    EM = "em"
    F1 = "f1"
    COVER_EM = "cover_em"


_METRICS = {OutcomeMetric.EM: em, OutcomeMetric.F1: f1, OutcomeMetric.COVER_EM: cover_em}


def outcome_reward(
    answer: str, golds: Sequence[str], *, metric: OutcomeMetric = OutcomeMetric.EM
) -> float | None:
    """The metric of an answer in [0, 1]; None without golds. A blank answer earns 0. (R3-RAG compares raw
    strings first and asks a judge then; normal forms replace the first.)
    """
    return _METRICS[metric](answer, golds) if golds else None


@config_class
class FormatCosts:
    """What deviations from a text format cost: `failure` each reply that could not be parsed (R3-RAG's
    malformed step: 0.9), `fix` each repair that the parser made, up to `most` for one step.
    """

    failure: float = 0.9
    fix: float = 0.0
    most: float = 0.9


R3RAG_FORMAT = FormatCosts()


def format_reward(*, failures: int, fixes: int = 0, costs: FormatCosts = R3RAG_FORMAT) -> float:
    """The format term of one step, from -`costs.most` to 0: 0.0 for a reply that was parsed at once."""
    return -min(costs.failure * failures + costs.fix * fixes, costs.most)


def process_rewards(searches: Sequence[Sequence[str]], gold: Sequence[str]) -> list[float] | None:
    """One reward per search, in [0, 1]: the share of the gold passages that this search found first. Their
    sum is the recall of the trajectory, so that neither repeated nor idle searches pay. `searches` hold
    passage ids; None without gold passages.
    """
    wanted = set(gold)
    if not wanted:
        return None
    seen: set[str] = set()
    rewards = []
    for found in searches:
        new = wanted.intersection(found) - seen
        seen |= new
        rewards.append(len(new) / len(wanted))
    return rewards


class Ending(StrEnum):
    """How a trajectory ended: answered rightly or wrongly, not at all, or in a malformed step."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    UNANSWERED = "unanswered"
    MALFORMED = "malformed"


@config_class
class R3Rewards:
    """The numbers of R3-RAG as shipped (reference 1.9): factors on the relevance of searches by ending (1 +
    gamma of the paper: 0.6, -0.2, -0.1, 0), and what the last step of an answer or a malformed step pays.
    """

    correct_factor: float = 1.6
    incorrect_factor: float = 0.8
    unanswered_factor: float = 0.9
    malformed_factor: float = 1.0
    correct: float = 2.0
    incorrect: float = 0.0
    malformed: float = -0.9


R3RAG = R3Rewards()


def r3rag_rewards(
    relevance: Sequence[float],
    ending: Ending,
    *,
    numbers: R3Rewards = R3RAG,
) -> list[float]:
    """One reward per step: `relevance` of each search in [0, 1] times the factor of the ending, then the last
    step's own. A trajectory without an answer has no such step (`relevance` then covers all of its steps).
    """
    factors = {
        Ending.CORRECT: numbers.correct_factor,
        Ending.INCORRECT: numbers.incorrect_factor,
        Ending.UNANSWERED: numbers.unanswered_factor,
        Ending.MALFORMED: numbers.malformed_factor,
    }
    last = {
        Ending.CORRECT: [numbers.correct],
        Ending.INCORRECT: [numbers.incorrect],
        Ending.UNANSWERED: [],
        Ending.MALFORMED: [numbers.malformed],
    }
    return [value * factors[ending] for value in relevance] + last[ending]
