"""The data of a page of one or two runs: questions with a row per run, and every passage once.

A passage that many searches returned is stored once and referenced by its index, so that a page of 1,000
trajectories with nine passages each takes a few megabytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from src_core.malformed import malformed_page
from src_core.page_step import page_number, page_scores, page_step, page_usage
from src_core.page_tree import page_tree
from src_core.types import Passage, Status, Trajectory
from src_eval.records import Estimate, QuestionScore
from src_eval.report.run_facts import run_facts
from src_eval.report.run_files import ScoredRun
from src_eval.stats import compare
from src_tasks.abstention import withheld_text
from src_tasks.answers import shown_gold
from src_tasks.metric_names import ENDINGS, FEWEST, metric, rank
from src_tasks.scores import FAILED

Json = dict[str, Any]


def page_data(runs: Sequence[ScoredRun]) -> Json:
    """`runs` (facts and scores), `questions` (each with `rows`, one per run, None where a run lacks it),
    `passages` (`[id, title, text]`), `named` (see `_named`), the statuses that are
    `capped` and `failed`, and, of two runs, `paired` (see `_paired`).
    Questions of two runs are matched by id; several trajectories of one question are distinguished by their
    order.
    """
    passages = _Passages()
    questions: dict[str, Json] = {}
    for number, run in enumerate(runs):
        for key, score, trajectory in _keyed(run):
            question = questions.setdefault(key, _question(key, score, trajectory, runs=len(runs)))
            question["rows"][number] = _row(score, trajectory, passages)
    return {
        "runs": [_run(run) for run in runs],
        "questions": list(questions.values()),
        "passages": passages.rows,
        "named": _named(runs),
        "endings": ENDINGS,
        "capped": [status.value for status in Status if status.capped],
        "failed": sorted(FAILED),
        "fewest": FEWEST,
        "paired": _paired(*runs) if len(runs) == 2 else {},
    }


def _named(runs: Sequence[ScoredRun]) -> list[tuple[str, tuple[str, str, bool]]]:
    """Each metric of the runs with its name, its meaning and whether it is a share, in the order of tables;
    also EM, by which the page judges where no answer has a verdict.
    """
    found = {name for run in runs for score in run.scores for name in score.metrics}
    found |= {name for run in runs for name in run.totals.metrics} | {"em"}
    known = {name: metric(name) for name in sorted(found, key=lambda name: (rank(name), name))}
    return [(name, (each.title, each.meaning, each.share)) for name, each in known.items()]


def _paired(first: ScoredRun, second: ScoredRun) -> dict[str, list[float | None]]:
    """`[second - first, p, n]` of each metric over the questions that have it in both runs: the paired
    randomisation test, not corrected for the number of metrics.
    """
    tests = {}
    columns = [_columns(run) for run in (first, second)]
    for name in columns[0].keys() & columns[1].keys():
        ours, theirs = columns[1][name], columns[0][name]
        if ours.keys() & theirs.keys():
            test = compare(ours, theirs)
            tests[name] = [page_number(test.difference), page_number(test.p), test.n]
    return tests


def _columns(run: ScoredRun) -> dict[str, dict[str, float]]:
    """The values of each metric by the question's key."""
    columns: dict[str, dict[str, float]] = {}
    for key, score, _ in _keyed(run):
        for name, value in score.metrics.items():
            if math.isfinite(value):
                columns.setdefault(name, {})[key] = value
    return columns


@dataclass(slots=True)
class _Passages:
    """Distinct passages in the order of their first occurrence."""

    rows: list[list[str]] = field(default_factory=list)
    _places: dict[tuple[str, str], int] = field(default_factory=dict)

    def place(self, passage: Passage) -> int:
        """The index of `passage`; the same id with another text is another passage."""
        known = (passage.id, passage.contents)
        if known not in self._places:
            self._places[known] = len(self.rows)
            self.rows.append([passage.id, passage.title, passage.text])
        return self._places[known]


def _keyed(run: ScoredRun) -> Iterator[tuple[str, QuestionScore, Trajectory]]:
    """Each row with a unique key: the question's id, followed by `~2` for its second trajectory."""
    seen: dict[str, int] = {}
    for score, trajectory in zip(run.scores, run.trajectories, strict=True):
        seen[score.id] = seen.get(score.id, 0) + 1
        yield score.id if seen[score.id] == 1 else f"{score.id}~{seen[score.id]}", score, trajectory


def _run(run: ScoredRun) -> Json:
    totals = run.totals
    return {
        "name": totals.run,
        "method": totals.method,
        "model": totals.model,
        "dataset": totals.dataset,
        "failures": totals.failures,
        "facts": [list(fact) for fact in run_facts(run)],
        "metrics": _estimates(totals.metrics),
        "by": {
            name: {group: _estimates(metrics) for group, metrics in groups.items()}
            for name, groups in totals.by.items()
        },
    }


def _estimates(metrics: Mapping[str, Estimate]) -> dict[str, list[float | None]]:
    """`[mean, low, high, n]` for each metric that has a value."""
    return {
        name: [page_number(e.mean), page_number(e.low), page_number(e.high), e.n]
        for name, e in metrics.items()
        if e.n and math.isfinite(e.mean)
    }


def _question(key: str, score: QuestionScore, trajectory: Trajectory, *, runs: int) -> Json:
    return {
        "key": key,
        "id": score.id,
        "question": score.question,
        "golds": [shown_gold(gold) for gold in score.golds],
        "supporting": list(trajectory.question.supporting),
        "source": score.source,
        "group": score.group,
        "hops": score.hops,
        "rows": [None] * runs,
    }


def _row(score: QuestionScore, trajectory: Trajectory, passages: _Passages) -> Json:
    tree = page_tree(trajectory)
    return {
        **({"tree": tree} if tree else {}),
        **malformed_page(trajectory.provenance),
        "answer": score.prediction,
        "withheld": withheld_text(trajectory.provenance),
        "status": score.status,
        "error": trajectory.error or "",
        "metrics": {
            name: page_number(value) for name, value in score.metrics.items() if math.isfinite(value)
        },
        "usage": page_usage(trajectory.usage),
        "seconds": page_number(trajectory.seconds),
        "parse_failures": [str(code) for code in trajectory.provenance.get("parse_failures", ())],
        "steps": [
            page_step(step, [[passages.place(p), page_scores(p)] for p in step.passages])
            for step in trajectory.steps
        ],
    }
