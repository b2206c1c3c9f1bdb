"""What a person should know of a question file that was read, one line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from src_core.json_rows import shown_keys
from src_core.text import counted
from src_core.types import Question
from src_tasks.readers.rows import SourceRow


@dataclass(slots=True)
class QuestionNotes:
    """The notes about the file `path`, row by row."""

    path: str
    _repeated: int = 0
    _misspelt: Counter[str] = field(default_factory=Counter)
    _of_id: dict[str, set[str]] = field(default_factory=dict)

    def add(self, row: SourceRow, *, again: bool) -> None:
        """Look at a row; `again` where its question was in an earlier one."""
        self._repeated += again
        if row.misspelt:
            self._misspelt[row.misspelt] += 1
        if own := row.question.meta.get("source_id"):
            self._of_id.setdefault(str(own), set()).add(row.question.id)

    def lines(self, found: Collection[Question], *, limit: int) -> Iterator[str]:
        """The notes, once all rows are read; `limit` questions were wanted (-1: all)."""
        note = f"note: {self.path}"
        if self._repeated:
            rows = counted(self._repeated, "row")
            yield f"{note} holds {rows} with a question that it had before; left out"
        for key, number_of in self._misspelt.items():
            yield (
                f"{note}: nothing reads the key {shown_keys([key])} of {counted(number_of, 'row')}; did you "
                "mean 'supporting_ids', the ids of the gold passages?"
            )
        asked = Counter((question.question, question.choices) for question in found)
        if twice := sum(number > 1 for number in asked.values()):
            which = "1 question stands" if twice == 1 else f"{twice} questions stand"
            yield f"{note}: {which} there more than once with different answers; each is asked and scored"
        if shared := [own for own, ids in self._of_id.items() if len(ids) > 1]:
            which = f"an id ({shared[0]})" if len(shared) == 1 else f"{len(shared)} ids ({shared[0]}, …)"
            yield (
                f"{note} gives {which} to several questions; all are asked, each under a hash of its text as "
                "its id"
            )
        if limit > len(found):
            number = "1 question" if len(found) == 1 else f"{len(found):,} questions"
            yield f"{note} holds {number}, fewer than the {limit:,} that are wanted"
