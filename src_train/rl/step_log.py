"""The log of a run, one JSON line per step: rewards, lengths, searches, format, mask rate, speed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from src_core.types import Search
from src_tasks.reward_judge import ratings_agree
from src_tasks.reward_rules import Scored, Verdicts, is_malformed
from src_tasks.rewards import Ending, process_rewards
from src_train.rl.attempts import Attempt, Key
from src_train.rl.credit import Group, Played

REWARD_BINS = (-math.inf, -1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0, 4.0, math.inf)
LENGTH_BINS = (0, 64, 128, 256, 512, 1024, 2048, math.inf)


def step_facts(groups: Sequence[Sequence[Attempt]], scored: Sequence[Group], kept: int) -> dict[str, Any]:
    """What the rollouts of a step were like. Means are over the rollouts that have a reward; `mask_rate` is
    the share of tokens that the policy sampled, `used_groups` the groups that are trained on, `scores` the
    reward and the ending of each rollout (`Attempt.row_key`).
    """
    attempts = [attempt for group in groups for attempt in group]
    played = [each for group in scored for each in group]
    done = [attempt for attempt in attempts if not attempt.failed]
    lengths = [_tokens(attempt) for attempt in done]
    sampled = [_sampled(attempt) for attempt in done]
    return {
        "rollouts": len(attempts),
        "failed": len(attempts) - len(done),
        "first_error": next((a.trajectory.error for a in attempts if a.failed), None),
        "without_reward": len(done) - len(played),
        "groups": len(groups),
        "used_groups": kept,
        "reward": _mean([each.scored.total for each in played]),
        "outcome": _mean([each.scored.outcome for each in played]),
        "process": _mean([e.scored.process for e in played if e.scored.process is not None]),
        "searches": _mean([each.attempt.trajectory.searches for each in played]),
        "answered": _share(played, lambda scored: scored.ending in (Ending.CORRECT, Ending.INCORRECT)),
        "correct": _share(played, lambda scored: scored.ending is Ending.CORRECT),
        "malformed": _mean([is_malformed(attempt.trajectory) for attempt in done]),
        "valid_steps": _valid_steps(done),
        "cut": _mean([attempt.is_cut for attempt in done]),
        "tokens": sum(lengths),
        "mask_rate": sum(sampled) / max(sum(lengths), 1),
        "sampled_per_rollout": _mean(sampled),
        "discarded": sum(attempt.discarded for attempt in done),
        "logprob": _logprob(played),
        "logprob_correct": _logprob([e for e in played if e.scored.ending is Ending.CORRECT]),
        "versions": _counted(attempt.policy_version for attempt in done),
        "endings": _counted(each.scored.ending.value for each in played),
        "searches_histogram": _counted(min(each.attempt.trajectory.searches, 9) for each in played),
        "scores": {each.attempt.row_key: [each.scored.total, each.scored.ending.value] for each in played},
        "reward_histogram": histogram([each.scored.total for each in played], REWARD_BINS),
        "length_histogram": histogram(sampled, LENGTH_BINS),
    }


def judge_facts(
    groups: Sequence[Sequence[Attempt]], verdicts: Mapping[Key, Verdicts]
) -> dict[str, float | None]:
    """What a judge said: its mean relevance, how often it agrees with the gold passages, and the searches
    and answers that it did not rate. Empty without a judge.
    """
    if not verdicts:
        return {}
    rated: list[float] = []
    gold: list[float] = []
    unrated = 0
    for attempt in (each for group in groups for each in group):
        verdict = verdicts.get(attempt.key, Verdicts())
        given = verdict.relevance
        unrated += sum(value is None for value in given) + verdict.unsure
        found = [
            [] if step.repeated else [passage.id for passage in step.passages]
            for step in attempt.trajectory.steps
            if isinstance(step.action, Search)
        ]
        shares = process_rewards(found, attempt.trajectory.question.supporting)
        if shares is not None and len(shares) == len(given):
            pairs = [(a, b) for a, b in zip(given, shares, strict=True) if a is not None]
            rated += [a for a, _ in pairs]
            gold += [b for _, b in pairs]
    return {
        "judge_relevance": _mean(rated),
        "judge_agreement": ratings_agree(rated, gold),
        "judge_unrated": float(unrated),
    }


def histogram(values: Sequence[float], bins: Sequence[float]) -> dict[str, int]:
    """The number of values from each bound up to below the next one; empty bins are left out."""
    found = {
        f"{low:g} to {high:g}": sum(low <= value < high for value in values) for low, high in pairwise(bins)
    }
    return {name: count for name, count in found.items() if count}


def _valid_steps(done: Sequence[Attempt]) -> float:
    """The share of sampled replies that were a step at once: R3-RAG's format adherence."""
    replies = good = 0
    for attempt in done:
        steps = attempt.trajectory.steps
        failures = len(attempt.trajectory.provenance.get("parse_failures", ()))
        replies += len(steps) + failures
        good += sum(not step.parse_failures and not step.parse_fixes for step in steps)
    return good / max(replies, 1)


def _tokens(attempt: Attempt) -> int:
    return sum(len(sample.ids) for sample in attempt.samples)


def _sampled(attempt: Attempt) -> int:
    return sum(len(span.ids) for sample in attempt.samples for span in sample.spans if span.trainable)


def _logprob(played: Sequence[Played]) -> float | None:
    """The mean log-probability of sampled tokens: minus it estimates the entropy, and its fall for correct
    rollouts comes before a collapse (reference r3rag.md, section 6).
    """
    spans = [s for each in played for sample in each.attempt.samples for s in sample.spans if s.trainable]
    return _mean([value for span in spans for value in span.logprobs if value is not None])


def _share(played: Sequence[Played], fits: Callable[[Scored], bool]) -> float | None:
    return _mean([fits(each.scored) for each in played])


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _counted(values: Iterable[Any]) -> dict[str, int]:
    return {str(name): count for name, count in sorted(Counter(values).items())}
