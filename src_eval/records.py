"""The records of evaluation: a scored question, and the scores of a run.

A run directory (`src_core.rundir`) holds `manifest.json` and `trajectories.jsonl`; scoring adds
`scores.jsonl`, one `QuestionScore` per trajectory in the same order, and `scores.json`, one `RunScore`. Pages
and tables read only these four files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from src_core.types import Status
from src_tasks.metric_names import FEWEST, TOO_FEW

SCORE_ROWS = "scores.jsonl"
SCORE_TOTALS = "scores.json"


@dataclass(frozen=True, slots=True)
class QuestionScore:
    """One question of one run. `metrics` maps a metric's name (`em`, `f1`, `cover_em`, `rouge_l`,
    `choice_accuracy`, `choice_unread`, `recall`, `recall@5`, `ndcg@5`, `searches`, `searches_right`,
    `searches_wrong`, `direct_answers`, `steps`, `calls`, `prompt_tokens`, `completion_tokens`, `tokens`,
    `seconds`, `parse_failures`, `replies`, `acc_l`) to its value; a metric that does not apply (no gold
    passages, no verdict) is absent, never 0. `hops` is None where the set does not state it.
    """

    id: str
    question: str
    golds: tuple[str, ...]
    prediction: str
    status: str
    source: str
    group: str = ""
    hops: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over `n` questions with its 95 % interval (percent bootstrap, `src_eval.stats`)."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def too_few(self) -> bool:
        """Whether the questions are too few for the interval: the bootstrap of four equal answers says
        [100.0, 100.0].
        """
        return self.n < FEWEST

    def text(self, form: Callable[[float], str]) -> str:
        """`66.7 [56.0, 76.2]`, or `66.7 (too few)`: what every table and page shows of an estimate."""
        if self.too_few:
            return f"{form(self.mean)} ({TOO_FEW})"
        return f"{form(self.mean)} [{form(self.low)}, {form(self.high)}]"


@dataclass(frozen=True, slots=True)
class RunScore:
    """A run; `without_gold` of its `questions` have no golds and no answer metrics; `left_out` rows are of
    questions that the run no longer has. `metrics` over all questions; `by` maps a breakdown (`source`,
    `group`, `hops`) to its groups' metrics; `outcomes` counts statuses; `invalid_rate` is malformed replies
    over all replies, in [0, 1].
    """

    run: str
    method: str
    model: str
    dataset: str
    questions: int
    metrics: dict[str, Estimate]
    by: dict[str, dict[str, dict[str, Estimate]]]
    outcomes: dict[str, int]
    invalid_rate: float
    without_gold: int = 0
    left_out: int = 0
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def failures(self) -> str:
        """`20 of 40 questions failed and count as wrong: 20 model error (…)`, "" for none: what tables
        and pages say beside the figures of the run.
        """
        found = {status: self.outcomes.get(status.value, 0) for status in Status if status.failed}
        parts = [
            f"{count} {status.value.replace('_', ' ')} ({status.meaning})"
            for status, count in found.items()
            if count
        ]
        failed = f"{sum(found.values())} of {self.questions} questions failed and count as wrong"
        return f"{failed}: {'; '.join(parts)}" if parts else ""
