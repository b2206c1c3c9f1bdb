"""The threshold of DeepRAG's decision that gives a wanted mean number of searches per question:

    python -m src_infer.retrieval_budget runs/dev --budget 1.1

Reads the log-probabilities that a development run with `method_settings.decision=logprob` recorded for each
sub-question (`provenance["decisions"]`, see `methods.deeprag`), and counts the decisions above each
threshold. The figure is an estimate: another decision leads to another answer, and so to other sub-questions
after it, which the run did not see. So run the development questions again with the threshold, compare the
mean number of searches, and name that run here once more where it is off (reference deeprag.md, section 16).
"""

from __future__ import annotations

import argparse
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from src_core.errors import UserError, run_main
from src_core.jsonl import read_jsonl
from src_core.rundir import ROWS
from src_core.terminal import CommandLine, answer
from src_core.types import RETRIED

KEY = "decisions"


@dataclass(frozen=True, slots=True)
class Recorded:
    """The decisions of a run: log P(search) - log P(direct) of each, in ascending order; the numbers of
    questions and of searches that were made; the number of decisions without log-probabilities.
    """

    margins: tuple[float, ...]
    questions: int
    searches: int
    unscored: int

    def estimate(self, threshold: float) -> float:
        """The mean number of searches per question with this threshold, on the recorded sub-questions."""
        return (len(self.margins) - bisect_right(self.margins, threshold)) / self.questions


def read_decisions(runs: Sequence[Path]) -> Recorded:
    """The decisions of all answered questions of run directories. Raises `UserError` where a run has none."""
    margins: list[float] = []
    questions = searches = unscored = 0
    for run in runs:
        rows = {str(row["question"]["id"]): row for row in read_jsonl(run / ROWS, torn_tail_ok=True)}
        answered = [row for row in rows.values() if row.get("status") not in RETRIED]
        for row in answered:
            made = row.get("provenance", {}).get(KEY)
            if made is None:
                raise UserError(f"{run} has no decisions on record; name a run of the method deeprag")
            found = [margin for decision in made if (margin := _margin(decision)) is not None]
            margins += found
            unscored += len(made) - len(found)
            searches += sum(decision.get("chosen") == "search" for decision in made)
        questions += len(answered)
    if not margins:
        names = ", ".join(map(str, runs))
        raise UserError(
            f"{names}: no decision has log-probabilities; run with method_settings.decision=logprob"
        )
    return Recorded(tuple(sorted(margins)), questions, searches, unscored)


def threshold_for(recorded: Recorded, budget: float) -> float:
    """The threshold whose estimate is nearest to `budget` searches per question; of two that are as near,
    the one with fewer searches.
    """
    known = sorted(set(recorded.margins))
    between = [_between(low, high) for low, high in pairwise(known)]
    candidates = [known[-1] + 1.0, *reversed(between), known[0] - 1.0]  # from few searches to many
    return min(candidates, key=lambda threshold: abs(recorded.estimate(threshold) - budget))


def report(recorded: Recorded, budget: float) -> str:
    """The threshold and its estimate in words."""
    threshold = threshold_for(recorded, budget)
    count, made = len(recorded.margins), recorded.searches / recorded.questions
    lines = [
        f"method_settings.threshold={threshold}",
        f"{recorded.estimate(threshold):.2f} searches per question by the {count} decisions of "
        f"{recorded.questions} questions (wanted: {budget:g}; made: {made:.2f})",
        "an estimate: run these questions again with the threshold and compare the mean number of searches",
    ]
    if budget > (most := count / recorded.questions):
        lines.append(f"more than {most:.2f} cannot be had: so many sub-questions were asked")
    if recorded.unscored:
        lines.append(f"{recorded.unscored} decisions have no log-probabilities and are not counted")
    return "\n".join(lines)


def main() -> None:
    """Read the command line, print the threshold."""
    parser = CommandLine(description="the threshold for a mean number of searches per question")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="directory of a run of deeprag")
    parser.add_argument("--budget", type=_budget, required=True, help="wanted searches per question")
    chosen = parser.parse_args()
    answer(report(read_decisions(chosen.runs), chosen.budget))


def _between(low: float, high: float) -> float:
    """A short number from `low` on and below `high`."""
    middles = (round((low + high) / 2, digits) for digits in range(1, 17))
    return next((middle for middle in middles if low <= middle < high), low)


def _margin(decision: dict[str, Any]) -> float | None:
    search, direct = decision.get("search"), decision.get("direct")
    return None if search is None or direct is None else float(search) - float(direct)


def _budget(text: str) -> float:
    try:
        budget = float(text)
    except ValueError:
        budget = math.nan
    if not 0 <= budget < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of searches, such as 1.1")
    return budget


if __name__ == "__main__":
    run_main(main)
