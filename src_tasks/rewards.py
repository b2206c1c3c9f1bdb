"""Rewards of trajectories for reinforcement learning: pure functions of recorded values.

Three terms, as in R3-RAG (reference r3rag.md, 1.9): the outcome, the format, and the passages that each
search found. The terms are separate; an objective adds them. Where R3-RAG asks a judge for the relevance of a
search, these use gold passages; a judge's score in [0, 1] fits `r3rag_rewards` as well. A term that cannot be
computed is None; the caller leaves it out and counts it, and never replaces it by a number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from src_core.config import Count, NotNegative, config_class
from src_tasks.metrics import cover_em, em, f1


class OutcomeMetric(StrEnum):
    """The metric of an outcome reward."""

    EM = "em"
    F1 = "f1"
    COVER_EM = "cover_em"


_METRICS = {OutcomeMetric.EM: em, OutcomeMetric.F1: f1, OutcomeMetric.COVER_EM: cover_em}


def outcome_reward(
    answer: str, golds: Sequence[str], *, metric: OutcomeMetric = OutcomeMetric.EM
) -> float | None:
    """The metric of an answer in [0, 1]; None without golds. The reward of a blank answer is 0. (R3-RAG first
    compares raw strings, then asks a judge; here normal forms replace raw strings.)
    """
    return _METRICS[metric](answer, golds) if golds else None


@config_class
class FormatCosts:
    """The penalties of deviations from a text format: `failure` for each reply that could not be parsed
    (R3-RAG's malformed step: 0.9), `fix` for each repair of the parser, at most `most` for one step.
    """

    failure: NotNegative = 0.9
    fix: NotNegative = 0.0
    most: NotNegative = 0.9


R3RAG_FORMAT = FormatCosts()


def format_reward(*, failures: int, fixes: int = 0, costs: FormatCosts = R3RAG_FORMAT) -> float:
    """The format term of one step, from -`costs.most` to 0: 0.0 for a reply that was parsed without failure
    or repair.
    """
    return -min(costs.failure * failures + costs.fix * fixes, costs.most)


def process_rewards(searches: Sequence[Sequence[str]], gold: Sequence[str]) -> list[float] | None:
    """One reward per search, in [0, 1]: the share of the gold passages that this search found first. Their
    sum is the recall of the trajectory, so that searches without a new gold passage get 0. `searches` hold
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
    """How a trajectory ended: with a right or a wrong answer, without an answer, or in a malformed step."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    UNANSWERED = "unanswered"
    MALFORMED = "malformed"


@config_class
class R3Rewards:
    """The numbers of R3-RAG as shipped (reference 1.9): factors on the relevance of searches by ending (1 +
    gamma of the paper: 0.6, -0.2, -0.1, 0), and the reward of the last step of an answer or of a malformed
    step.
    """

    correct_factor: NotNegative = 1.6
    incorrect_factor: NotNegative = 0.8
    unanswered_factor: NotNegative = 0.9
    malformed_factor: NotNegative = 1.0
    correct: Annotated[float, Field(ge=-100, le=100)] = 2.0
    incorrect: Annotated[float, Field(ge=-100, le=100)] = 0.0
    malformed: Annotated[float, Field(ge=-100, le=100)] = -0.9


R3RAG = R3Rewards()


def r3rag_rewards(
    relevance: Sequence[float],
    ending: Ending,
    *,
    numbers: R3Rewards = R3RAG,
) -> list[float]:
    """One reward per step: `relevance` of each search in [0, 1] times the factor of the ending, then the
    reward of the last step, with three decimals as there. A trajectory without an answer has no such step
    (`relevance` then covers all of its steps).
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
    return [round(value * factors[ending], 3) for value in relevance] + last[ending]


@config_class
class DeepRagRewards:
    """The numbers of DeepRAG's online variant (reference deeprag.md section 9): a right answer gets `right`
    minus `per_retrieval` for each search, of which at most `most_retrievals` count; a wrong one that is well
    formed gets `well_formed`. Below `min_sub_questions` the reward is 0: the release has no such rule, and
    pays a lucky guess without any sub-question in full.
    """

    right: NotNegative = 1.0
    per_retrieval: NotNegative = 0.1
    most_retrievals: Count = 5
    well_formed: NotNegative = 0.1
    min_sub_questions: Count = 1


DEEPRAG = DeepRagRewards()


def deeprag_reward(
    *,
    right: bool,
    retrievals: int,
    sub_questions: int,
    well_formed: bool,
    numbers: DeepRagRewards = DEEPRAG,
) -> float:
    """The reward of a whole trajectory. `well_formed`: its last line has the short answer between its tags,
    without which no answer counts as right.
    """
    if not well_formed or sub_questions < numbers.min_sub_questions:
        return 0.0
    if not right:
        return numbers.well_formed
    return numbers.right - numbers.per_retrieval * min(retrievals, numbers.most_retrievals)


@config_class
class RepairedRewards:
    """R3-RAG's three terms without its two incentives (reference 1.13, points 7 and 12): the searches of one
    question share `process`, which is less than the answer's `outcome` however many they are, and only a
    trajectory that answers gets it, so that searching on and on never pays more than an answer. A malformed
    step costs `malformed`, a question without an answer `unanswered`; both are below every answer.
    """

    outcome: NotNegative = 1.0
    process: NotNegative = 0.3
    malformed: NotNegative = 0.5
    unanswered: NotNegative = 0.2


REPAIRED = RepairedRewards()


def repaired_rewards(
    shares: Sequence[float], outcome: float, ending: Ending, *, numbers: RepairedRewards = REPAIRED
) -> list[float]:
    """One reward per search, then what the ending adds to the last step. `shares`: what each search
    contributed, in [0, 1] (`process_rewards`, or a judge's relevance); where they are more than 1 in sum they
    are divided by it. `outcome`: the metric of the answer.
    """
    if ending is Ending.MALFORMED:
        return [*(0.0 for _ in shares), -numbers.malformed]
    if ending is Ending.UNANSWERED:
        return [*(0.0 for _ in shares), -numbers.unanswered]
    whole = max(math.fsum(shares), 1.0)
    return [numbers.process * share / whole for share in shares] + [numbers.outcome * outcome]


@config_class
class SearchR1Rewards:
    """The numbers of Search-R1 (reference section 3). `format=False` is its first reward, 0 or 1 by exact
    match. With `format` (v0.3) a right answer in a malformed transcript is worth `right` minus `malformed`, a
    wrong one in a valid transcript `valid`, plus `found` where a passage of a search holds a gold answer, and
    a wrong one in a malformed transcript `answered`.
    """

    format: bool = True
    right: NotNegative = 1.0
    malformed: NotNegative = 0.2
    valid: NotNegative = 0.2
    found: NotNegative = 0.0
    answered: NotNegative = 0.1


SEARCH_R1 = SearchR1Rewards()


def search_r1_reward(
    *, right: bool, answered: bool, valid: bool, found: bool, numbers: SearchR1Rewards = SEARCH_R1
) -> float:
    """The reward of a whole trajectory. `valid`: every reply was written in the format, and the last one
    answers (a transcript that was cut off does not reach the end of the release's state machine); `found`: a
    passage holds a gold answer.
    """
    if not numbers.format:
        return numbers.right if right else 0.0
    if right:
        return numbers.right if valid else numbers.right - numbers.malformed
    if valid:
        return numbers.valid + (numbers.found if found else 0.0)
    return numbers.answered if answered else 0.0


@config_class
class Penalties:
    """Costs that are subtracted from any reward: of a trajectory without an answer (at its last step), of
    each repeated query, and of each search beyond the first `free_searches`.
    """

    no_answer: NotNegative = 0.0
    repeat: NotNegative = 0.0
    over_search: NotNegative = 0.0
    free_searches: Count = 2


NO_PENALTIES = Penalties()


def penalties(
    searches: Sequence[bool], repeated: Sequence[bool], *, answered: bool, costs: Penalties = NO_PENALTIES
) -> list[float]:
    """One value of at most 0 per step; `searches` and `repeated` say of each step whether it searched, and
    whether its query was asked before.
    """
    made, done = [], 0
    for searched, again in zip(searches, repeated, strict=True):
        done += searched
        over = searched and done > costs.free_searches
        made.append(-(costs.repeat * again + costs.over_search * over))
    if made and not answered:
        made[-1] -= costs.no_answer
    return made
