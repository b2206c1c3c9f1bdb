"""Answers that were given and answers that were withheld: `python -m src_eval.abstention RUN [RUN …]`.

The table of an evaluation counts what each line answered and left without an answer. The command says what
finished runs would have given under each rule of `abstain` (`src_tasks.abstention`), with no call to a model:
the rows hold what was found, the drafted answers and, of a run with `abstain.min_confidence` above 0, the
confidence in them. Risk and coverage as in Kamath et al. 2020 (arXiv 2006.09462). Choose a rule on questions
of training: one that was chosen on the questions that it is reported on looks better than it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import orjson

from src_core.config import dump
from src_core.console import Terminal
from src_core.errors import UserError, run_main
from src_core.rundir import ROWS, present_only
from src_core.terminal import CommandLine
from src_core.types import trajectory_from_json
from src_eval.compare import Entry
from src_eval.records import Estimate
from src_eval.score import SELECTIVE, estimate_text, outcome_counts
from src_eval.scoring import read_answers, read_manifest
from src_eval.stats import bootstrap
from src_eval.text_tables import INTERVAL_NOTE, Cells, Row, print_cells
from src_tasks.abstention import (
    KEEP,
    OUTCOMES,
    Abstain,
    Signals,
    abstention_figures,
    drafted,
    is_unanswerable,
    reasons,
    signals_of,
)
from src_tasks.answers import NO_ANSWER
from src_tasks.metrics import em

STEPS = tuple(tenth / 10 for tenth in range(1, 10))
"""The thresholds of confidence that the command shows."""
_OUTCOMES_NOTE = (
    "Abstained, right: the question is unanswerable and was not answered. A question that failed counts as "
    "answered wrongly."
)
_CHOICE_NOTE = (
    "Nothing was asked again. Choose a rule on training questions, then report it on others: a rule that is "
    "chosen on the questions it is reported on looks better than it is."
)


class Draft(NamedTuple):
    """A drafted answer, the golds of its question, and what speaks against it (None: the question failed)."""

    answer: str
    golds: Sequence[str]
    signals: Signals | None


def main() -> None:
    """Read the command line, print the table."""
    parser = CommandLine(description="what finished runs would have given under each rule of abstention")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="directory of a finished run")
    runs = {folder.name: read_drafts(folder) for folder in parser.parse_args().runs}
    print_cells(rules_cells(runs), Terminal(narrowest=170))


def read_drafts(folder: Path) -> list[Draft]:
    """The drafts of a run, of all questions with golds and without choices. Raises `UserError` for a run that
    has not ended, and where it has no such question.
    """
    manifest = read_manifest(folder)
    drafts = []
    for row in present_only(read_answers(folder / ROWS), manifest):
        trajectory = trajectory_from_json(orjson.dumps(row))
        question = trajectory.question
        if question.answers and not question.choices:
            failed = trajectory.status.failed
            answer = "" if failed else drafted(trajectory)
            drafts.append(Draft(answer, question.answers, None if failed else signals_of(trajectory)))
    if not drafts:
        raise UserError(
            f"{folder} has no question with a gold answer and without choices; name a run that can be scored"
        )
    return drafts


def rules_for(drafts: Sequence[Draft]) -> list[Abstain]:
    """No rule, each signal of the evidence, two and all of them, and the thresholds of confidence where it is
    on record, alone and with all of them.
    """
    each = [Abstain(unsupported=True), Abstain(unnamed=True), Abstain(untold=True)]
    every = Abstain(unsupported=True, unnamed=True, untold=True)
    found = [KEEP, *each, Abstain(unsupported=True, unnamed=True), every]
    if any(draft.signals and draft.signals.confidence is not None for draft in drafts):
        found += [Abstain(min_confidence=step) for step in STEPS]
        found += [replace(every, min_confidence=step) for step in STEPS]
    return found


def outcomes(drafts: Sequence[Draft], rules: Abstain) -> list[dict[str, float]]:
    """The figures of each draft under the rules (`abstention_figures`)."""
    found = []
    for draft in drafts:
        withheld = draft.signals is not None and reasons(draft.signals, rules)
        answer = NO_ANSWER if withheld else draft.answer
        exact = em(answer, draft.golds) == 1.0
        found.append(abstention_figures(answer, draft.golds, exact=exact))
    return found


def rules_cells(runs: dict[str, list[Draft]]) -> Cells:
    """A line per run and rule."""
    keys = ["run", "rule", "n", *OUTCOMES, "right_lost", *SELECTIVE]
    rows, notes = [], [_OUTCOMES_NOTE, _CHOICE_NOTE, INTERVAL_NOTE]
    for name, drafts in runs.items():
        unscored = sum(draft.signals is not None and draft.signals.confidence is None for draft in drafts)
        if unscored:
            notes.append(f"{name}: {unscored} of {len(drafts)} answers have no confidence on record.")
        before = outcomes(drafts, KEEP)
        for rules in rules_for(drafts):
            now = outcomes(drafts, rules)
            lost = sum(
                then["answered_right"] > after["answered_right"]
                for then, after, draft in zip(before, now, drafts, strict=True)
                if not is_unanswerable(draft.golds)
            )
            counts = [str(int(sum(one[outcome] for one in now))) for outcome in OUTCOMES]
            means = _means(now)
            figures = [estimate_text(figure, means.get(figure)) for figure in SELECTIVE]
            rows.append(Row([name, rule_text(rules), str(len(drafts)), *counts, str(lost), *figures], True))
    return Cells(keys, rows, notes)


def rule_text(rules: Abstain) -> str:
    """`unsupported, min_confidence=0.3`; `none` where every answer is kept."""
    settings = {name: value for name, value in dump(rules).items() if value}
    return (
        ", ".join(name if value is True else f"{name}={value:g}" for name, value in settings.items())
        or "none"
    )


def abstention_cells(entries: Sequence[Entry]) -> Cells | None:
    """The lines of an evaluation whose data set has an unanswerable question or whose answers abstain; None
    where there is none.
    """
    rows = []
    for entry in entries:
        metrics, counts = entry.scored.run.metrics, outcome_counts(entry.scored.run)
        if counts:
            figures = [estimate_text(name, metrics.get(name)) for name in SELECTIVE]
            asked = str(metrics["coverage"].n)
            rows.append(Row([entry.dataset, entry.line, asked, *map(str, counts.values()), *figures], True))
    keys = ["data set", "method", "n", *OUTCOMES, *SELECTIVE]
    return Cells(keys, rows, [_OUTCOMES_NOTE, INTERVAL_NOTE]) if rows else None


def _means(figures: Sequence[dict[str, float]]) -> dict[str, Estimate]:
    columns = {name: [one[name] for one in figures if name in one] for name in SELECTIVE}
    return bootstrap({name: column for name, column in columns.items() if column})


if __name__ == "__main__":
    run_main(main)
