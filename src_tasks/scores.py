"""The scores of an answered question, used by the table of a run and by `src_eval`.

A score that does not apply (no golds, no gold passages) is absent, not 0. A question that failed, or whose
answer is blank, scores 0 in every answer metric. A multiple-choice question is right or wrong by the choice
that its answer names, so that EM, F1 and `choice_accuracy` are equal there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from src_core.types import Question, Search, Status, Trajectory
from src_tasks.abstention import OUTCOMES, abstains, abstention_figures, is_unanswerable
from src_tasks.choices import choice_accuracy, gold_choices, read_choice
from src_tasks.metrics import answer_scores
from src_tasks.readers.rows import group_of_meta
from src_tasks.retrieval import retrieval_scores

RANK = 5
"""The k of recall@k and ndcg@k."""
FAILED = frozenset(status.value for status in Status if status.failed)
RETRIEVAL = tuple(retrieval_scores([], ["any"], k=RANK))
"""The names of the scores that only a run with searches has."""
Figures = dict[str, float]


class Answered(NamedTuple):
    """The scored parts of a trajectory: its answer and status, the question's golds, choices and gold
    passages, the number of searches, and the ids of the passages of each step that has passages (a step of
    `in_context` has some without a search).
    """

    answer: str
    status: str
    golds: Sequence[str]
    choices: Sequence[str]
    supporting: Sequence[str]
    searches: int
    shown: Sequence[Sequence[str]]

    @property
    def scored_answer(self) -> str:
        """The answer, or "" where the question failed."""
        return "" if self.status in FAILED else self.answer.strip()


def score(trajectory: Trajectory) -> Figures:
    """The scores of one trajectory."""
    question = trajectory.question
    found = figures(
        Answered(
            answer=trajectory.answer,
            status=trajectory.status.value,
            golds=question.answers,
            choices=question.choices,
            supporting=question.supporting,
            searches=trajectory.searches,
            shown=[
                [passage.id for passage in step.passages]
                for step in trajectory.steps
                if step.passages or isinstance(step.action, Search)
            ],
        )
    )
    return found | {"tokens": float(trajectory.usage.total_tokens), "seconds": trajectory.seconds}


def figures(answered: Answered) -> Figures:
    """Answer metrics (`em`, `f1`, `cover_em`, `rouge_l`; for multiple choice `choice_accuracy`, `em`, `f1`
    and `choice_unread`, 1.0 where an answer does not name exactly one choice), retrieval metrics, and
    `searches`.
    """
    found: Figures = {}
    if answered.golds and answered.choices:
        found = _choice_figures(answered)
    elif answered.golds:
        found = answer_scores(answered.scored_answer, answered.golds)
    found |= retrieval_scores(answered.shown, answered.supporting, k=RANK)
    return found | {"searches": float(answered.searches)}


def group_of(question: Question) -> str:
    """The group under which a question is reported; older rows, whose questions have no group, hold it in
    their meta.
    """
    return question.group or group_of_meta(question.meta)


def totals(trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    """Means over all questions and per group, outcome counts, tokens, malformed replies."""
    scores = [score(trajectory) for trajectory in trajectories]
    drop_retrieval(scores)
    add_abstention(scores, [Given(t.answer, t.status.value, t.question.answers) for t in trajectories])
    groups: dict[str, list[Figures]] = {}
    for trajectory, one in zip(trajectories, scores, strict=True):
        groups.setdefault(group_of(trajectory.question) or "all", []).append(one)
    rejected = [len(t.provenance.get("parse_failures", ())) for t in trajectories]
    failures = sum(rejected)
    replies = sum(
        replies_of(len(t.steps), rejected=n, calls=t.usage.calls)
        for t, n in zip(trajectories, rejected, strict=True)
    )
    return {
        "all": _means(scores),
        "by_group": {name: _means(rows) for name, rows in sorted(groups.items())},
        "outcomes": dict(Counter(t.status.value for t in trajectories)),
        "parse_failures": failures,
        "parse_failure_share": failures / max(replies, 1),
        "parse_fixes": dict(Counter(name for t in trajectories for s in t.steps for name in s.parse_fixes)),
        "tokens": {
            "calls": sum(t.usage.calls for t in trajectories),
            "prompt": sum(t.usage.prompt_tokens for t in trajectories),
            "completion": sum(t.usage.completion_tokens for t in trajectories),
        },
    }


def replies_of(steps: int, *, rejected: int, calls: int | None) -> int:
    """The replies of the reasoning model to one question: its steps and the `rejected` (malformed) replies,
    but no more than the model was called, since a method may add steps that no reply holds (a search with
    the question itself). Without `calls` (None, or 0 in rows of other programs) they were not counted.
    """
    both = steps + rejected
    return max(rejected, min(both, calls)) if calls else both


def drop_retrieval(scores: Iterable[Figures]) -> None:
    """Remove the retrieval metrics of a run without any search in which no gold passage was shown. In a run
    with searches, a question without a search has a recall of 0.
    """
    held = list(scores)
    if any(one["searches"] or one.get("recall") for one in held):
        return
    for one in held:
        for name in RETRIEVAL:
            one.pop(name, None)


class Given(NamedTuple):
    """An answer, how its question ended, and the question's golds."""

    answer: str
    status: str
    golds: Sequence[str]


def add_abstention(scores: Sequence[Figures], given: Sequence[Given]) -> None:
    """Add the figures of abstention (`abstention_figures`) to the scores of a run where one of its questions
    is unanswerable or one of its answers abstains. Multiple-choice questions have none, and a failed question
    or a blank answer counts as answered wrong.
    """
    scored = [
        (one, "" if each.status in FAILED else each.answer, each.golds)
        for one, each in zip(scores, given, strict=True)
        if each.golds and "em" in one and "choice_accuracy" not in one
    ]
    if any(
        is_unanswerable(golds) or abstains(answer, golds, exact=one["em"] == 1.0)
        for one, answer, golds in scored
    ):
        for one, answer, golds in scored:
            one |= abstention_figures(answer, golds, exact=one["em"] == 1.0)


def _choice_figures(answered: Answered) -> Figures:
    answer = answered.scored_answer
    picked = read_choice(answer, answered.choices) if answer else None
    right = choice_accuracy(picked, gold_choices(answered.golds, answered.choices))
    return {
        "choice_accuracy": right,
        "em": right,
        "f1": right,
        "choice_unread": float(bool(answer) and picked is None),
    }


def _means(scores: Sequence[Figures]) -> dict[str, float | int | None]:
    found: dict[str, float | int | None] = {
        "questions": len(scores),
        "without_gold": sum("em" not in one for one in scores),
    }
    shown = {"em": "em", "f1": "f1", "gold_recall": "recall", "searches": "searches"}
    shown |= {"tokens": "tokens", "seconds": "seconds"}
    found |= {name: _mean(one.get(figure) for one in scores) for name, figure in shown.items()}
    found["searches_right"] = _mean(one["searches"] for one in scores if one.get("em") == 1.0)
    found["searches_wrong"] = _mean(one["searches"] for one in scores if one.get("em", 1.0) < 1.0)
    if any("choice_accuracy" in one for one in scores):
        found["choice_accuracy"] = _mean(one.get("choice_accuracy") for one in scores)
        found["choice_unread"] = int(sum(one.get("choice_unread", 0.0) for one in scores))
    if any("coverage" in one for one in scores):
        found |= {name: int(sum(one.get(name, 0.0) for one in scores)) for name in OUTCOMES}
        found |= {name: _mean(one.get(name) for one in scores) for name in ("coverage", "em_answered")}
    return found


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None
