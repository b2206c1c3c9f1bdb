"""Score runs: `python -m src_eval.score runs/A runs/B …` writes `scores.jsonl` and `scores.json` into each
and prints them side by side.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.table import Table
from rich.text import Text

from src_core.console import Terminal, as_cell
from src_core.errors import UserError, run_main
from src_eval.records import Estimate, RunScore
from src_eval.scoring import score_run
from src_tasks.abstention import OUTCOMES, counts_text
from src_tasks.metric_names import EXPLAINED, columns, is_share, metric

COLUMNS: tuple[str, ...] = ("choice_accuracy", "em", "f1", "cover_em", "acc_l", "recall")
COLUMNS += ("searches", "searches_right", "searches_wrong", "chain_length", "tokens", "seconds")
SELECTIVE = ("coverage", "em_answered")
"""Risk and coverage of a run that does not answer everything."""


def main() -> None:
    """Read the command line, score, print."""
    if len(sys.argv) < 2 or any(name.startswith("-") for name in sys.argv[1:]):
        raise UserError("usage: .venv/bin/python -m src_eval.score runs/A runs/B …")
    wide = Terminal(narrowest=180)
    runs = [score_run(Path(name)).run for name in sys.argv[1:]]
    wide.print(runs_table(runs))
    for run in runs:
        if run.failures:
            wide.print(Text(f"{run.run}: {run.failures}", style="bold red"), soft_wrap=True)
        if len(run.by["group"]) > 1:
            wide.print(groups_table(run))
        if counts := outcome_counts(run):
            means = [
                f"{metric(name).column} {estimate_text(name, run.metrics.get(name))}" for name in SELECTIVE
            ]
            wide.print(Text(f"{run.run}: {counts_text(counts)}; {'; '.join(means)}"), soft_wrap=True)
        if run.without_gold:
            note = f"{run.without_gold} of {run.questions} questions of {run.run} have no gold answer"
            wide.print(Text(f"{note} and are in no answer metric"))
        if run.left_out:
            note = f"{run.left_out} rows of {run.run} are of questions that the run no longer has"
            wide.print(Text(f"{note} and are left out"))
    wide.print(Text(EXPLAINED))


def runs_table(runs: list[RunScore]) -> Table:
    """One line per run: its answer metrics with their intervals, its retrieval metrics, its costs. `seconds`
    is the mean time of one question; `wall` is the time of the run in seconds (of its last part, if it was
    resumed) divided by its questions, which is shorter with several questions in flight.
    """
    shown = [name for name in COLUMNS if any(name in run.metrics for run in runs)]
    table = Table(header_style="bold")
    table.add_column("run", overflow="fold", min_width=12)
    for name in columns(("n", *shown, "wall", "invalid")):
        table.add_column(name, justify="right", no_wrap=True)
    for run in runs:
        cells = [estimate_text(name, run.metrics.get(name)) for name in shown]
        wall = f"{run.manifest.get('wall_seconds', 0.0) / run.questions:.2f}"
        table.add_row(as_cell(run.run), str(run.questions), *cells, wall, f"{100 * run.invalid_rate:.1f}")
    return table


def outcome_counts(run: RunScore) -> dict[str, int]:
    """The number of questions with each outcome (`src_tasks.abstention`); {} for a run without an
    unanswerable question and without an abstention.
    """
    found = {name: run.metrics[name] for name in OUTCOMES if name in run.metrics}
    return {name: round(estimate.mean * estimate.n) for name, estimate in found.items()}


def groups_table(run: RunScore) -> Table:
    """One line per group of questions (subject, hops, category) of one run."""
    groups = run.by["group"]
    shown = [name for name in COLUMNS if any(name in metrics for metrics in groups.values())]
    table = Table(header_style="bold", title=as_cell(f"{run.run} by group"), title_justify="left")
    table.add_column("group", overflow="fold", min_width=12)
    for name in columns(("n", *shown)):
        table.add_column(name, justify="right", no_wrap=True)
    for name, metrics in groups.items():
        cells = [estimate_text(column, metrics.get(column)) for column in shown]
        table.add_row(as_cell(name), str(metrics["searches"].n), *cells)
    return table


def estimate_text(name: str, estimate: Estimate | None) -> str:
    """`66.7 [56.0, 76.2]` for a share, `66.7 (too few)` below 20 questions, `2.25` for a count, `-` for
    None.
    """
    if estimate is None:
        return "-"
    if not is_share(name):
        return f"{estimate.mean:.2f}"
    return estimate.text(lambda value: f"{100 * value:.1f}")


if __name__ == "__main__":
    run_main(main)
