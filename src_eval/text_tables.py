"""A table of text as Markdown, LaTeX, CSV and for the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table as TerminalTable
from rich.text import Text

from src_core.console import as_cell
from src_eval.compare import BETTER, WORSE
from src_tasks.metric_names import EXPLAINED, FEWEST, TOO_FEW, columns

_LATEX = {"\\": r"\textbackslash{}", "%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#", "$": r"\$"}
_LATEX |= {"{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {BETTER: r"$^{*}$", WORSE: r"$^{\dagger}$", "\n": " "}
_MARKDOWN = {"|": r"\|", "*": r"\*", "_": r"\_", "\n": " "}
INTERVAL_NOTE = (
    f"[low, high]: 95 % bootstrap interval over questions; {TOO_FEW}: below {FEWEST} questions, no interval "
    "and no comparison."
)
_NAMES = 2
"""The first columns, which hold names: the data set and the method."""


class Row(NamedTuple):
    """A row of text; `ours` is true for measured and false for published numbers."""

    cells: list[str]
    ours: bool


class Cells(NamedTuple):
    """A table as text: the keys of its columns (`src_tasks.metric_names`), its rows, and the notes below.
    `failures` are the first notes of a table that stands alone; a page shows them above it.
    """

    keys: list[str]
    rows: list[Row]
    notes: list[str]
    failures: Sequence[str] = ()

    @property
    def head(self) -> list[str]:
        """The names of the columns."""
        return columns(self.keys)

    @property
    def all_notes(self) -> list[str]:
        """What stands below a table that stands alone."""
        return [*self.failures, *self.notes]


def as_markdown(cells: Cells) -> str:
    """A pipe table with its notes."""
    head, rows, notes = cells.head, cells.rows, [*cells.all_notes, f"{EXPLAINED}."]
    lines = [_piped(head), _piped([*["---"] * _NAMES, *["---:"] * (len(head) - _NAMES)])]
    lines += [_piped([_replaced(cell, _MARKDOWN) for cell in row.cells]) for row in rows]
    return "\n".join([*lines, "", *(f"- {_replaced(note, _MARKDOWN)}" for note in notes), ""])


def as_latex(cells: Cells) -> str:
    """A `tabular` for the package booktabs."""
    head, rows, notes = cells.head, cells.rows, cells.all_notes
    lines = [
        rf"\begin{{tabular}}{{ll{'r' * (len(head) - _NAMES)}}}",
        r"\toprule",
        _latex_row(head),
        r"\midrule",
    ]
    for at, row in enumerate(rows):
        if at and row.cells[0] != rows[at - 1].cells[0]:
            lines.append(r"\midrule")
        lines.append(_latex_row(row.cells))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *(f"% {note}" for note in notes), ""])


def as_csv(cells: Cells) -> str:
    """The head and the rows, without the notes."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(cells.head)
    writer.writerows(row.cells for row in cells.rows)
    return out.getvalue()


def print_cells(cells: Cells, out: Console) -> None:
    """The table on a terminal, the notes, and where the columns are explained."""
    out.print(_as_terminal(cells))
    for note in (*cells.all_notes, EXPLAINED):
        out.print(Text(note), soft_wrap=True)


def _as_terminal(cells: Cells) -> TerminalTable:
    """Published rows are dimmed."""
    head, rows = cells.head, cells.rows
    shown = TerminalTable(header_style="bold")
    for at, name in enumerate(head):
        names = at < _NAMES
        shown.add_column(
            name, justify="left" if names else "right", no_wrap=not names, min_width=12 if names else None
        )
    for at, row in enumerate(rows):
        last = at + 1 == len(rows) or rows[at + 1].cells[0] != row.cells[0]
        shown.add_row(*map(as_cell, row.cells), end_section=last, style="" if row.ours else "dim")
    return shown


def _piped(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _latex_row(cells: list[str]) -> str:
    return " & ".join(_replaced(cell, _LATEX) for cell in cells) + r" \\"


def _replaced(text: str, table: dict[str, str]) -> str:
    return "".join(table.get(char, char) for char in text)
