"""The counts of a mixture: per source, the rows that were read, left out by reason, and taken."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import orjson
from rich.table import Table

from src_core.console import as_cell
from src_core.text import counted
from src_data.sampling.decontaminate import Overlap
from src_tasks.readers.sources import BadRow

# In the order in which a row is tested; the words are the table's headings.
REASONS = {
    "malformed": "malformed",
    "unanswerable": "unanswerable",
    "repeated": "repeated",
    "other_answers": "repeated, other answers",
    "in_earlier_set": "in an earlier set",
    Overlap.SAME: "evaluated: same",
    Overlap.NGRAM: "evaluated: shared n-gram",
    Overlap.NEAR: "evaluated: near copy",
}
EXAMPLES = 5
BAD_ROWS = 20


@dataclasses.dataclass(slots=True)
class SourceCount:
    """The counts of one source. `asked` is -1 for all; `rows` = `usable` + the sum of `dropped`."""

    path: str
    asked: int
    name: str = ""
    rows: int = 0
    usable: int = 0
    taken: int = 0
    dropped: dict[str, int] = dataclasses.field(
        default_factory=lambda: {str(reason): 0 for reason in REASONS}
    )

    def drop(self, reason: str) -> None:
        """Count a row that was left out."""
        self.dropped[reason] += 1

    def numbers(self, reasons: Sequence[str]) -> list[int]:
        """Rows, drops for each of `reasons`, usable, taken."""
        return [self.rows, *(self.dropped[reason] for reason in reasons), self.usable, self.taken]


@dataclasses.dataclass(slots=True)
class MixReport:
    """All counts of a mixture, with the first few examples of each kind of contamination and of malformed
    rows.
    """

    seed: int
    ngram: int
    evaluation_questions: int
    sources: list[SourceCount] = dataclasses.field(default_factory=list)
    examples: list[dict[str, str]] = dataclasses.field(default_factory=list)
    bad_rows: list[str] = dataclasses.field(default_factory=list)

    def note_example(self, reason: str, path: str, question: str, evaluation: str) -> None:
        """Keep a contaminated question with the evaluation question that it resembles, a few per reason."""
        if Counter(example["reason"] for example in self.examples)[reason] < EXAMPLES:
            self.examples.append(
                {"reason": str(reason), "source": path, "question": question, "evaluation": evaluation}
            )

    def note_bad_row(self, bad: BadRow) -> None:
        """Keep the first malformed rows; all of them are counted."""
        if len(self.bad_rows) < BAD_ROWS:
            self.bad_rows.append(str(bad))

    def json(self) -> bytes:
        """The report as one indented JSON object."""
        return orjson.dumps(dataclasses.asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def sentence(self) -> str:
        """Per source its rows and those left out by reason, for an error."""
        return "; ".join(
            f"{source.name or source.path}: {source.rows} rows"
            + "".join(f", {n} {REASONS[reason]}" for reason, n in source.dropped.items() if n)
            for source in self.sources
        )

    def table(self) -> Table:
        """A line per source and one for the sum; reasons that do not occur have no column."""
        reasons = [reason for reason in REASONS if any(source.dropped[reason] for source in self.sources)]
        counts = [source.numbers(reasons) for source in self.sources]
        table = Table(header_style="bold")
        table.add_column("set")
        for head in ("wanted", "rows", *(REASONS[reason] for reason in reasons), "usable", "taken"):
            table.add_column(head, justify="right")
        for source, numbers in zip(self.sources, counts, strict=True):
            asked = "all" if source.asked < 0 else str(source.asked)
            table.add_row(as_cell(source.name or source.path), asked, *map(str, numbers))
        if len(counts) > 1:
            table.add_row("sum", "", *(str(sum(column)) for column in zip(*counts, strict=True)))
        return table

    def note(self) -> str:
        """What the questions were compared with, and what the sample depends on."""
        compared = (
            f"Questions that resemble one of {self.evaluation_questions:,} evaluation questions were left out"
            if self.evaluation_questions
            else "No evaluation questions were named to keep apart (evaluation_files)"
        )
        twice = sum(source.dropped["other_answers"] for source in self.sources)
        rows = f"{counted(twice, 'row')} with other answers to an earlier question of the file"
        left_out = f" {rows} left out: the first is kept." if twice else ""
        return f"{compared}.{left_out} The same seed ({self.seed}) takes the same questions."
