"""The rounds of an exploration: `n_sample` questions, and as many again while they give too few training rows
(`ExploreConfig.min_rows`). A small model finds a right path for one question in five or so, and a handful of
questions may give none.

A resumed run begins with the round in which it was stopped, so that it explores the questions that it would
have explored without the stop. Gold answers decide only whether a path is right, as in the first round.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from src_data.deeprag.config import ExploreConfig
from src_data.sampling.mixture import Mixture


def begun_round(config: ExploreConfig, mixture: Mixture, done: Collection[str]) -> int:
    """The round to begin with, from 1 on: the one with the last question of `done` (ids) that is in the
    mixture.
    """
    if config.n_sample < 1:
        return 1
    last = max((at for at, question in enumerate(mixture, start=1) if question.id in done), default=1)
    return math.ceil(last / config.n_sample)


def next_round(config: ExploreConfig, mixture: Mixture, *, now: int, rows: int) -> int | None:
    """The round after `now`, which gave `rows` training rows in all; None where they are enough, or no
    further question may be asked.
    """
    asked = mixture.count(config.n_sample, rounds=now)
    more = rows < config.min_rows and now < config.max_rounds and asked < len(mixture)
    return now + 1 if more else None


def rows_note(config: ExploreConfig, mixture: Mixture, *, now: int, rows: int, goes_on: bool) -> str:
    """What comes of too few training rows, in words; "" where there are enough."""
    if rows >= config.min_rows:
        return ""
    asked = mixture.count(config.n_sample, rounds=now)
    found = f"{asked:,} questions give {rows:,} training rows, fewer than min_rows={config.min_rows}"
    if goes_on:
        further = mixture.count(config.n_sample, rounds=now + 1) - asked
        return f"{found}; {further:,} further questions (round {now + 1} of at most {config.max_rounds})"
    if now >= config.max_rounds:
        return f"{found}; take a larger n_sample (N_SAMPLES) or max_rounds"
    return f"{found}, and there are no further ones; add question sets"
