"""From a recorded trajectory to one reward per step, by the name of a rule.

The rules are tables of `rewards`; this module reads what they need from a trajectory. A step is a reply that
the model wrote, the malformed one at the end included. Nothing is invented: a question without gold passages
has no term for its searches (`Scored.process` is None, the same for all its trajectories), and a trajectory
whose outcome is not known, or for which the judge gave no verdict, has no reward at all. The caller counts
both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

from src_core.config import NotNegative, config_class
from src_core.types import DirectAnswer, Finish, Search, Status, Step, Trajectory
from src_tasks.answers import normalize_answer
from src_tasks.rewards import (
    NO_PENALTIES,
    DeepRagRewards,
    Ending,
    FormatCosts,
    OutcomeMetric,
    Penalties,
    R3Rewards,
    RepairedRewards,
    SearchR1Rewards,
    deeprag_reward,
    format_reward,
    outcome_reward,
    penalties,
    process_rewards,
    r3rag_rewards,
    repaired_rewards,
    search_r1_reward,
)


class Rule(StrEnum):
    """The rule of a run: the outcome alone, R3-RAG as shipped and repaired, DeepRAG, Search-R1."""

    OUTCOME = "outcome"
    R3RAG = "r3rag"
    R3RAG_REPAIRED = "r3rag_repaired"
    DEEPRAG = "deeprag"
    SEARCH_R1 = "search_r1"


@config_class
class RewardConfig:
    """The reward of a run. `metric` scores the answer; an answer counts as right from `right_from` on
    (R3-RAG, DeepRAG, Search-R1 ask for right or wrong). `penalties` and the cost of repaired replies
    (`format`) are added to every rule; the other sections hold the numbers of one rule each.

    `relevance` is what R3-RAG pays a search for: the share of the gold passages that it found first
    (`gold_share`), 1 for any such passage and `anything_new` for passages that were not seen before
    (`gold_hit`), or the score of a judge (`judge`).
    """

    rule: Rule = Rule.R3RAG_REPAIRED
    metric: OutcomeMetric = OutcomeMetric.F1
    right_from: NotNegative = 1.0
    relevance: Literal["gold_share", "gold_hit", "judge"] = "gold_share"
    anything_new: NotNegative = 0.1
    format: FormatCosts = FormatCosts(failure=0.0, fix=0.0)
    penalties: Penalties = NO_PENALTIES
    r3rag: R3Rewards = R3Rewards()
    repaired: RepairedRewards = RepairedRewards()
    deeprag: DeepRagRewards = DeepRagRewards()
    search_r1: SearchR1Rewards = SearchR1Rewards()


def rates_searches(config: RewardConfig) -> bool:
    """Whether a judge has to rate each search."""
    return config.relevance == "judge" and config.rule in (Rule.R3RAG, Rule.R3RAG_REPAIRED)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a judge said of one trajectory: the relevance of each search in [0, 1] (None where it gave no
    rating) and whether the answer is right (None where it was not asked, or, with `unsure`, gave no verdict).
    """

    relevance: tuple[float | None, ...] = ()
    right: bool | None = None
    unsure: bool = False


class Scored(NamedTuple):
    """The rewards of one trajectory: one per step, and for the log the metric of the answer, the summed
    relevance of the searches (None where it is not known) and how the trajectory ended.
    """

    steps: tuple[float, ...]
    outcome: float
    process: float | None
    ending: Ending

    @property
    def total(self) -> float:
        """The reward of the whole trajectory."""
        return sum(self.steps)


def answer_of(done: Trajectory) -> str:
    """The answer that the model itself gave, "" for none."""
    last = done.steps[-1].action if done.steps else None
    return last.answer if isinstance(last, Finish) else ""


def is_malformed(done: Trajectory) -> bool:
    """Whether the last reply could not be read."""
    return done.status is Status.MALFORMED_THEN_ANSWERED


def right_by_metric(done: Trajectory, config: RewardConfig) -> bool:
    """Whether the metric alone finds the answer right, so that no judge has to be asked."""
    found = outcome_reward(answer_of(done), done.question.answers, metric=config.metric)
    return found is not None and found >= config.right_from


def score(done: Trajectory, config: RewardConfig, verdicts: Verdicts | None = None) -> Scored | None:
    """The rewards of a trajectory, None where a term is not known. An answer that the judge finds right has
    the outcome 1, whatever the metric says.
    """
    answer = answer_of(done)
    outcome = outcome_reward(answer, done.question.answers, metric=config.metric)
    if outcome is None or (verdicts is not None and verdicts.unsure):
        return None
    if verdicts is not None and verdicts.right:
        outcome = 1.0
    ending = _ending(done, right=outcome >= config.right_from)
    relevance = _relevance(done, config, verdicts)
    if relevance is None and rates_searches(config):
        return None
    paid = [0.0] * done.searches if relevance is None else relevance
    rewards = _by_rule(done, config, ending, outcome=outcome, relevance=paid)
    costs = _costs(done, config, ending)
    steps = tuple(a + b for a, b in zip(rewards, costs, strict=True))
    return Scored(steps, outcome, None if relevance is None else sum(relevance), ending)


def _ending(done: Trajectory, *, right: bool) -> Ending:
    if is_malformed(done):
        return Ending.MALFORMED
    if not answer_of(done):
        return Ending.UNANSWERED
    return Ending.CORRECT if right else Ending.INCORRECT


def _by_rule(
    done: Trajectory, config: RewardConfig, ending: Ending, *, outcome: float, relevance: Sequence[float]
) -> list[float]:
    """One reward per step under the rule alone."""
    if config.rule is Rule.R3RAG:
        return _spread(done, r3rag_rewards(relevance, ending, numbers=config.r3rag))
    if config.rule is Rule.R3RAG_REPAIRED:
        return _spread(done, repaired_rewards(relevance, outcome, ending, numbers=config.repaired))
    whole = outcome
    if config.rule is Rule.DEEPRAG:
        whole = deeprag_reward(
            right=ending is Ending.CORRECT,
            retrievals=done.searches,
            sub_questions=sum(isinstance(step.action, Search | DirectAnswer) for step in done.steps),
            well_formed=ending in (Ending.CORRECT, Ending.INCORRECT),
            numbers=config.deeprag,
        )
    elif config.rule is Rule.SEARCH_R1:
        whole = search_r1_reward(
            right=ending is Ending.CORRECT,
            answered=bool(answer_of(done)),
            valid=bool(answer_of(done)) and not any(_deviates(step) for step in done.steps),
            found=_found_gold(done),
            numbers=config.search_r1,
        )
    return [*([0.0] * (_replies(done) - 1)), whole] if _replies(done) else []


def _spread(done: Trajectory, rewards: Sequence[float]) -> list[float]:
    """Rewards of the searches and what the ending adds, one per step: a direct answer has none of its own."""
    searches = [isinstance(step.action, Search) for step in done.steps]
    left = list(rewards)
    made = [left.pop(0) if searched else 0.0 for searched in searches]
    if is_malformed(done):
        return [*made, *left]
    if left and made:  # the first call of a rollout may fail, which leaves no step at all
        made[-1] += left[0]
    return made


def _costs(done: Trajectory, config: RewardConfig, ending: Ending) -> list[float]:
    """The penalties and the costs of the format, one value per step."""
    searches = [isinstance(step.action, Search) for step in done.steps]
    repeated = [step.repeated for step in done.steps]
    forms = [
        format_reward(failures=step.parse_failures, fixes=len(step.parse_fixes), costs=config.format)
        for step in done.steps
    ]
    if is_malformed(done):
        searches, repeated = [*searches, False], [*repeated, False]
        forms.append(format_reward(failures=1, costs=config.format))
    answered = ending in (Ending.CORRECT, Ending.INCORRECT)
    costs = penalties(searches, repeated, answered=answered, costs=config.penalties)
    return [a + b for a, b in zip(costs, forms, strict=True)]


def _replies(done: Trajectory) -> int:
    return len(done.steps) + is_malformed(done)


def _relevance(done: Trajectory, config: RewardConfig, verdicts: Verdicts | None) -> list[float] | None:
    """The relevance of each search, None where it is not known."""
    found = [_ids(step) for step in done.steps if isinstance(step.action, Search)]
    if rates_searches(config):
        given = verdicts.relevance if verdicts else ()
        known = [value for value in given if value is not None]
        return known if len(known) == len(found) else None
    shares = process_rewards(found, done.question.supporting)
    if shares is None or config.relevance == "gold_share":
        return shares
    seen: set[str] = set()
    hits = []
    for ids, share in zip(found, shares, strict=True):
        hits.append(1.0 if share else config.anything_new if set(ids) - seen else 0.0)
        seen.update(ids)
    return hits


def _ids(step: Step) -> list[str]:
    return [] if step.repeated else [passage.id for passage in step.passages]


def _deviates(step: Step) -> bool:
    return bool(step.parse_failures or step.parse_fixes)


def _found_gold(done: Trajectory) -> bool:
    golds = [f" {normalize_answer(gold)} " for gold in done.question.answers if normalize_answer(gold)]
    texts = (passage.contents for step in done.steps for passage in step.passages)
    return any(gold in f" {normalize_answer(text)} " for text in texts for gold in golds)
