"""The filter report of a run: per source and teacher, the number of kept trajectories and of rejected ones by
reason.

It is computed from `kept.jsonl` and `rejected.jsonl`, so that it always agrees with the files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from rich.table import Table

from src_core.caller import in_command
from src_core.console import as_cell
from src_core.jsonl import write_atomic
from src_core.types import NO_USAGE, Trajectory, Usage
from src_data.filters.filter_run import FilteredRow, read_filtered
from src_data.filters.filter_trajectory import estimated_tokens
from src_data.filters.outcomes import EXPLAINED, OUTCOMES, REASONS, explained

UNKNOWN = "(unknown)"
REPORT = "yield.md"


@dataclass(slots=True)
class Tally:
    """Sums over a group of trajectories. `usage` is the LLM usage of all of them, `training_tokens` the
    estimated length of the kept conversations.
    """

    chains: int = 0
    kept: int = 0
    searches: int = 0
    training_tokens: int = 0
    usage: Usage = NO_USAGE
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, row: FilteredRow) -> None:
        """Count one row."""
        self.chains += 1
        if row.trajectory is not None:
            self.usage += row.trajectory.usage
        if not row.result.kept:
            self.reasons[row.result.reason] += 1
        elif row.trajectory is not None:
            self.kept += 1
            self.searches += row.trajectory.searches
            self.training_tokens += estimated_tokens(row.trajectory)

    def as_dict(self) -> dict[str, Any]:
        """Plain data: counts, shares in per cent of all trajectories, means over the kept ones."""
        return {
            "chains": self.chains,
            "kept": self.kept,
            "kept_percent": _percent(self.kept, self.chains),
            "rejected": {
                name: {"chains": count, "percent": _percent(count, self.chains)}
                for name, count in sorted(self.reasons.items(), key=lambda item: _place(item[0]))
            },
            "mean_searches_of_kept": round(self.searches / self.kept, 2) if self.kept else None,
            "tokens": {
                "calls": self.usage.calls,
                "prompt": self.usage.prompt_tokens,
                "completion": self.usage.completion_tokens,
                "per_kept_chain": round(self.usage.total_tokens / self.kept) if self.kept else None,
                "training_estimate": self.training_tokens,
            },
        }


@dataclass(slots=True)
class FilterReport:
    """All trajectories of a run, and the same per source and per teacher. `questions` and `kept_questions`
    count distinct questions (unreadable rows have none).
    """

    total: Tally = field(default_factory=Tally)
    by_source: dict[str, Tally] = field(default_factory=dict)
    by_teacher: dict[str, Tally] = field(default_factory=dict)
    questions: int = 0
    kept_questions: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The content of `yield.json`."""
        return {
            "questions": self.questions,
            "questions_with_a_kept_chain": self.kept_questions,
            "all": self.total.as_dict(),
            "by_source": {name: tally.as_dict() for name, tally in sorted(self.by_source.items())},
            "by_teacher": {name: tally.as_dict() for name, tally in sorted(self.by_teacher.items())},
        }


def build_report(kept: Path, rejected: Path) -> FilterReport:
    """Count the rows of both files; memory holds ids of questions only."""
    found = FilterReport()
    questions: set[str] = set()
    with_kept: set[str] = set()
    for path in (kept, rejected):
        for row in read_filtered(path):
            found.total.add(row)
            found.by_source.setdefault(source_of(row.trajectory), Tally()).add(row)
            found.by_teacher.setdefault(teacher_of(row.trajectory), Tally()).add(row)
            if row.trajectory is not None:
                questions.add(row.trajectory.question.id)
                if row.result.kept:
                    with_kept.add(row.trajectory.question.id)
    found.questions, found.kept_questions = len(questions), len(with_kept)
    return found


def source_of(trajectory: Trajectory | None) -> str:
    """The question set of a trajectory."""
    return str(trajectory.question.meta.get("dataset") or UNKNOWN) if trajectory else UNKNOWN


def teacher_of(trajectory: Trajectory | None) -> str:
    """The teacher that wrote a trajectory."""
    return str(trajectory.provenance.get("teacher") or UNKNOWN) if trajectory else UNKNOWN


def save_report(report: FilterReport, folder: Path) -> None:
    """Write `yield.json` and `yield.md`."""
    write_atomic(folder / "yield.json", orjson.dumps(report.as_dict(), option=orjson.OPT_INDENT_2))
    write_atomic(folder / REPORT, report_markdown(report).encode())


def report_markdown(report: FilterReport) -> str:
    """The table as Markdown: a row per outcome, a column per source; then the teachers."""
    columns = _columns(report)
    lines = ["| outcome | " + " | ".join(_cell(name) for name, _ in columns) + " |"]
    lines.append("|---|" + "---:|" * len(columns))
    lines.extend("| " + " | ".join(row) + " |" for row in _rows([tally for _, tally in columns]))
    lines.extend(["", f"{kept_sentence(report)}.", ""])
    lines.extend(f"- {line}" for line in [*outcome_lines(report), EXPLAINED])
    lines.extend(["", "| teacher | chains | kept | % |", "|---|---:|---:|---:|"])
    for name, tally in sorted(report.by_teacher.items()):
        share = _percent(tally.kept, tally.chains)
        lines.append(f"| {_cell(name)} | {tally.chains:,} | {tally.kept:,} | {share} |")
    return "\n".join(lines) + "\n"


def kept_sentence(report: FilterReport) -> str:
    """`1 of 20 questions has a kept trajectory`."""
    verb = "has" if report.kept_questions == 1 else "have"
    return f"{report.kept_questions:,} of {report.questions:,} questions {verb} a kept trajectory"


def outcome_lines(report: FilterReport) -> list[str]:
    """The meaning of each reason that occurs, in the order of the table."""
    return [explained(reason) for reason in sorted(report.total.reasons, key=_place)]


def advice(report: FilterReport, folder: Path) -> list[str]:
    """What to do where no trajectory was kept: the most frequent reasons, and what lets more through."""
    total = report.total
    if total.kept or not total.chains:
        return []
    lines = ["No trajectory was kept. The most frequent reasons, and what lets more through:"]
    for reason, count in total.reasons.most_common(3):
        known = OUTCOMES.get(reason)
        lines.append(f"  {count:,} x {reason}" + (f": {known.change}" if known else ""))
    first = total.reasons.most_common(1)[0][0]
    lines.append(f"read some: bash scripts/view_data.sh {in_command(folder)} reason={first} n=5")
    again = (
        f".venv/bin/python -m src_data.postprocess {in_command(folder, at_home=True)} clean_conv.KEY=VALUE"
    )
    lines.append(f"filter again, nothing is made anew: {again}")
    return lines


def report_table(report: FilterReport) -> Table:
    """The table for the console."""
    columns = _columns(report)
    table = Table(header_style="bold")
    table.add_column("outcome", no_wrap=True)
    for name, _ in columns:
        table.add_column(as_cell(name), justify="right")
    for row in _rows([tally for _, tally in columns]):
        table.add_row(*row, style="bold" if row[0] in ("chains", "kept") else "")
    return table


def _columns(report: FilterReport) -> list[tuple[str, Tally]]:
    return [*sorted(report.by_source.items()), ("all", report.total)]


def _rows(tallies: Sequence[Tally]) -> list[list[str]]:
    """Label and one cell per tally: trajectories, kept, each reason that occurs, means and tokens."""

    def share(counts: Sequence[int]) -> list[str]:
        pairs = zip(counts, tallies, strict=True)
        return [f"{n:,} ({_percent(n, t.chains)} %)" if n else "-" for n, t in pairs]

    rows = [["chains", *(f"{tally.chains:,}" for tally in tallies)]]
    rows.append(["kept", *share([tally.kept for tally in tallies])])
    reasons = sorted({name for tally in tallies for name in tally.reasons}, key=_place)
    rows.extend([name, *share([tally.reasons[name] for tally in tallies])] for name in reasons)
    means = [f"{t.searches / t.kept:.2f}" if t.kept else "-" for t in tallies]
    rows.append(["searches per kept trajectory", *means])
    rows.append(["tokens spent", *(f"{tally.usage.total_tokens:,}" for tally in tallies)])
    rows.append(["training tokens (estimate)", *(f"{tally.training_tokens:,}" for tally in tallies)])
    return rows


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1) if whole else 0.0


def _place(reason: str) -> int:
    return REASONS.index(reason)


def _cell(text: str) -> str:
    """Text that cannot break a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
