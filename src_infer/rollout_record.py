"""What a rollout records, and its rows in a rollout file: spans of token ids, samples of spans, the episode.

A span is `(ids, trainable, logprobs, policy_version)`: tokens that the policy sampled, with their
log-probabilities, or tokens that the environment inserted (prompt, turn ends, observations).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from src_core.types import Question
from src_infer.episode import Episode


class Span(NamedTuple):
    """Consecutive token ids from one source. `logprobs` has one value per id where the policy sampled them
    (None where the server did not say), and is empty where the environment inserted them; `policy_version` is
    the number of weight updates before the span was sampled.
    """

    ids: tuple[int, ...]
    trainable: bool
    logprobs: tuple[float | None, ...] = ()
    policy_version: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """One sequence to train on. `steps` are the numbers of the steps in its trainable spans, in order."""

    spans: tuple[Span, ...]
    steps: tuple[int, ...]

    @property
    def ids(self) -> list[int]:
        """All ids."""
        return [token for span in self.spans for token in span.ids]

    @property
    def trainable(self) -> list[bool]:
        """For each id, whether the policy sampled it with a known probability."""
        return [value is not None for span in self.spans for value in _values(span)]

    @property
    def logprobs(self) -> list[float]:
        """For each id its log-probability when it was sampled, 0.0 where it is not trainable."""
        return [value or 0.0 for span in self.spans for value in _values(span)]


def _values(span: Span) -> tuple[float | None, ...]:
    return span.logprobs if span.trainable else (None,) * len(span.ids)


@dataclass(frozen=True, slots=True)
class Rollout:
    """An episode with its tokens. `discarded` are the sampled spans of malformed replies."""

    question: Question
    episode: Episode
    samples: tuple[Sample, ...]
    discarded: tuple[Span, ...] = ()


def rollout_row(done: Rollout, advantages: Sequence[float | Sequence[float]]) -> dict[str, Any]:
    """A row of a rollout file for training (`src_train.rollouts`), with one advantage, or one per id, for
    each sample. Raises `ValueError` unless there are as many as samples.
    """
    pairs = zip(done.samples, advantages, strict=True)
    return {
        "question_id": done.question.id,
        "samples": [sample_row(sample, advantage) for sample, advantage in pairs],
    }


def sample_row(sample: Sample, advantages: float | Sequence[float]) -> dict[str, Any]:
    """A sample as in `rollout_row`."""
    return {
        "ids": sample.ids,
        "trainable": [int(each) for each in sample.trainable],
        "logprobs": sample.logprobs,
        "advantages": advantages if isinstance(advantages, int | float) else list(advantages),
        "policy_version": max((span.policy_version for span in sample.spans if span.trainable), default=0),
    }
