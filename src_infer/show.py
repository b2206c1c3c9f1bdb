"""Terminal output: coloured steps, the progress line, the table, and the picture of a trajectory.

Model and corpus text is hostile: it passes through `src_core.console`, so that no markup or escape sequence
in it is interpreted.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from src_core.console import Terminal, as_cell
from src_core.malformed import malformed_in
from src_core.protocols.action_text import render_action
from src_core.terminal import one_line, plain
from src_core.text import counted, shorten
from src_core.types import DirectAnswer, Question, Status, Step, Trajectory
from src_tasks.abstention import withheld_text
from src_tasks.answers import shown_gold
from src_tasks.metric_names import FEWEST, TOO_FEW, columns
from src_tasks.recorded import read_recording, recorded_line
from src_tasks.scores import score

_TABLE_ROWS = 120
_FAILURES = 5
_ERROR_CHARS = 300
_REPLY_CHARS = 600
_HEAD_LETTERS = (15, 9, 6, 5)
"""Letters in a line of a head: the most with which a table fits its terminal."""
_FEW = "~"
"""Before a share of too few questions; the note below the table says so."""


def report_console() -> Console:
    """Standard output; 130 columns wide where it is no terminal (the default is 80)."""
    return Terminal(narrowest=130)


class StepPrinter:
    """Prints every step of every question as soon as it is complete."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, question: Question, step: Step) -> None:
        """Print one step (see `runtime.StepPrinter`), under its question when that is its first step."""
        if step.n == 1:
            self._console.print(_line("Question: ", "bold", question.question, "bold"))
        for line in step_lines(step):
            self._console.print(line)


def failure_lines(failures: Mapping[str, int]) -> list[Text]:
    """Why questions failed: the first distinct errors with their counts."""
    first = list(failures.items())[:_FAILURES]
    lines = [
        _line(f"failed {count} x: ", "bold red", shorten(error, _ERROR_CHARS), "") for error, count in first
    ]
    rest = sum(failures.values()) - sum(count for _, count in first)
    return lines + (
        [Text(f"failed {rest} x with other errors, see error in trajectories.jsonl")] if rest else []
    )


def malformed_lines(trajectories: Sequence[Trajectory]) -> list[Text]:
    """The first malformed reply, as it came, so that a model that writes another form is seen to do so."""
    for trajectory in trajectories:
        for reply in malformed_in(trajectory.provenance):
            label = f"Malformed reply, the first ({reply.code}): "
            return [_line(label, "bold red", shorten(reply.text, _REPLY_CHARS) or "(empty)", "")]
    return []


def tokens_text(tokens: Mapping[str, int]) -> str:
    """The calls of a run and the tokens that they read and wrote (`src_tasks.scores.totals`)."""
    calls, prompt, completion = tokens["calls"], tokens["prompt"], tokens["completion"]
    return f"{counted(calls, 'model call')} with {prompt:,} tokens read and {completion:,} written"


def gone_line(questions: Sequence[str]) -> Text:
    """The rows that do not count, since the run no longer has their questions."""
    rows = f"{len(questions)} row{'s' if len(questions) > 1 else ''}"
    first = shorten(questions[0], 90)
    return _line(f"{rows} not counted, of questions that the run no longer has: ", "", first, "")


def step_lines(step: Step) -> list[Text]:
    """Thought, action, observation, its passages and the conclusion, as coloured lines."""
    lines = []
    if step.thought:
        lines.append(_line(f"Thought {step.n}: ", "bold cyan", step.thought, "cyan"))
    how = " (own knowledge)" if isinstance(step.action, DirectAnswer) else ""
    lines.append(_line(f"Action {step.n}{how}: ", "bold yellow", render_action(step.action), "yellow"))
    if step.observation is not None:
        lines.append(_line(f"Observation {step.n}: ", "bold green", step.observation, "green"))
    if step.passages:
        names = "; ".join(f"{passage.title or '(untitled)'} [{passage.id}]" for passage in step.passages)
        lines.append(_line("  from: ", "dim", names, "dim"))
    if step.conclusion:
        lines.append(_line(f"Conclusion {step.n}: ", "bold blue", step.conclusion, "blue"))
    return lines


def trajectory_lines(trajectory: Trajectory) -> list[Text]:
    """A whole trajectory, from the question to its outcome."""
    lines = [_line("Question: ", "bold", trajectory.question.question, "bold")]
    for step in trajectory.steps:
        lines.extend(step_lines(step))
    return lines + outcome_lines(trajectory)


def outcome_lines(trajectory: Trajectory) -> list[Text]:
    """How a trajectory ended: answer, gold, status, error."""
    gold = trajectory.question.answers
    lines = [_line("Answer: ", "bold magenta", trajectory.answer or "(none)", "magenta")]
    if withheld := withheld_text(trajectory.provenance):
        lines.append(_line("Withheld: ", "bold magenta", withheld, "magenta"))
    if gold:
        lines.append(_line("Gold: ", "bold", " | ".join(map(shown_gold, gold)), ""))
    ending = f"{trajectory.status.value} ({trajectory.status.meaning})"
    again = f" ({trajectory.repeated_searches} asked before)" if trajectory.repeated_searches else ""
    outcome = (
        f"{ending}, {counted(trajectory.searches, 'search', 'searches')}{again}, {trajectory.seconds:.1f} s"
    )
    lines.append(_line("Status: ", "dim", outcome, "dim"))
    lines.extend(malformed_lines([trajectory]))
    if trajectory.error:
        lines.append(_line("Error: ", "bold red", trajectory.error, "red"))
    return lines


def save_svg(trajectory: Trajectory, path: Path, *, title: str) -> None:
    """A picture of one trajectory, drawn by the code that prints it."""
    console = Terminal(record=True, width=110, file=io.StringIO(), force_terminal=True)
    for line in trajectory_lines(trajectory):
        console.print(line)
    # The library's template loads its font from a public server; a picture in a repository must not.
    picture = re.sub(
        r"@font-face\s*\{.*?\}\s*", "", console.export_svg(title=one_line(title)), flags=re.DOTALL
    )
    path.write_text(picture.replace("Fira Code", "DejaVu Sans Mono"), encoding="utf-8")


def results_table(trajectories: Sequence[Trajectory]) -> Table:
    """One row per question (the first 120): question, answer, gold, EM, F1, searches, seconds."""
    table = Table(show_lines=False, header_style="bold")
    for name in ("question", "answer", "gold"):
        table.add_column(name)
    for name in columns(("em", "f1", "searches", "seconds")):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for trajectory in trajectories[:_TABLE_ROWS]:
        figures = score(trajectory)
        table.add_row(
            as_cell(shorten(trajectory.question.question, 90)),
            as_cell(shorten(trajectory.answer, 80) or f"({trajectory.status.value})"),
            as_cell(shown_gold(trajectory.question.answers[0]) if trajectory.question.answers else "-"),
            number(figures.get("em"), 0),
            number(figures.get("f1"), 2),
            number(figures["searches"], 0),
            number(figures["seconds"], 1),
        )
    return table


def totals_table(totals: dict[str, Any], *, width: int) -> Table:
    """Means for all questions and per group; empty columns are left out. In a terminal of few columns
    (`width`) the heads are broken, and figures stay on one line down to 60.
    """
    whole = totals["all"]
    shown: dict[str, Callable[[dict[str, Any]], str]] = {
        "n": lambda row: str(row["questions"]),
        "without_gold": lambda row: str(row["without_gold"]),
        "choice_accuracy": lambda row: _share(row, "choice_accuracy"),
        "choice_unread": lambda row: str(row.get("choice_unread", 0)),
        "em": lambda row: _share(row, "em"),
        "f1": lambda row: _share(row, "f1"),
        "recall": lambda row: _share(row, "gold_recall"),
        "searches": lambda row: number(row["searches"], 2),
        "searches_right": lambda row: number(row["searches_right"], 2),
        "searches_wrong": lambda row: number(row["searches_wrong"], 2),
        "tokens": lambda row: number(row["tokens"], 0),
        "seconds": lambda row: number(row["seconds"], 1),
    }
    if not whole["without_gold"]:
        del shown["without_gold"]
    if "choice_accuracy" not in whole:
        del shown["choice_accuracy"], shown["choice_unread"]
    groups = {**totals["by_group"], "all": whole}
    rows = [[show(row) for show in shown.values()] for row in groups.values()]
    few = any(cell.startswith(_FEW) for row in rows for cell in row)
    table = Table(
        header_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=0,
        caption=f"{_FEW} {TOO_FEW}: a share of fewer than {FEWEST} questions says little" if few else None,
        caption_justify="left",
    )
    heads = columns(shown)
    figures = [max(len(row[at]) for row in rows) for at in range(len(heads))]
    names = max(len(as_cell(name)) for name in ("group", *groups))
    for letters in _HEAD_LETTERS:
        widths = [max(figure, min(len(head), letters)) for figure, head in zip(figures, heads, strict=True)]
        if names + len(widths) + sum(widths) <= width:
            break
    table.add_column("group", overflow="fold")
    for head, wide in zip(heads, widths, strict=True):
        table.add_column(head, justify="right", overflow="fold", width=wide)
    for name, row in zip(groups, rows, strict=True):
        table.add_row(as_cell(name), *row)
    return table


def _share(row: dict[str, Any], name: str) -> str:
    """A mean of a group in per cent, marked where it is of too few questions."""
    value = row.get(name)
    few = value is not None and row["questions"] - row["without_gold"] < FEWEST
    return (_FEW if few else "") + percent(value)


def outcomes_text(outcomes: Mapping[str, int]) -> str:
    """`8 finished, 1 capped_then_answered (answered at the limit of steps)`: counts of statuses."""
    return ", ".join(
        f"{count} {name}" + ("" if name == Status.FINISHED else f" ({Status(name).meaning})")
        for name, count in sorted(outcomes.items())
    )


def recorded_note(questions: Path, models: Sequence[str]) -> str:
    """What this model answered to the whole question file when that was recorded, "" where it was not."""
    recording = read_recording(questions)
    if recording is None or recording.model != " + ".join(models):
        return ""
    return f"recorded with this model, all {recording.questions} questions: {recorded_line(recording)}"


def number(value: float | None, digits: int) -> str:
    """A number with `digits` decimals, `-` for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """A share in [0, 1] in per cent with one decimal, `-` for None."""
    return "-" if value is None else f"{100 * value:.1f}"


def _line(label: str, label_style: str, body: str, style: str) -> Text:
    return Text.assemble((label, label_style), (plain(body), style))
