"""Question sets as configured: a file or a set of the hub, read row by row into `SourceRow`.

    for row in read_source(SourceConfig(path="hotpot_train_v1.1.json"), report=bad.append): ...

A malformed row is never silent: it goes to `report`, and with `on_bad_row: fail` also ends the reading.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator

from src_core.config import config_class
from src_core.errors import UserError
from src_core.jsonl import read_jsonl
from src_core.rowfiles import RawRow, file_rows
from src_tasks.readers.base import JsonRow, RowError, text_at
from src_tasks.readers.formats import FORMATS, detect
from src_tasks.readers.hotpotqa import parse_2wiki
from src_tasks.readers.hub import HUB, hub_rows
from src_tasks.readers.rows import SourceRow

AUTO = "auto"
_LOOK_AT = 20


class OnBadRow(StrEnum):
    """What a malformed row does: end the run with one sentence, or be reported and left out."""

    FAIL = "fail"
    SKIP = "skip"


@config_class
class SourceConfig:
    """One question set. `path` is a file, or `hub:owner/name` with `subset` and `split`. `format` is a name
    of `FORMATS`, or `auto` to tell it by the keys of the first rows. `name` replaces the set's name in
    `meta["dataset"]`. `n` questions are sampled from it (-1: all) by `mixture.mix`; reading alone ignores it.
    `aliases` is 2WikiMultihopQA's `id_aliases.json`.
    """

    path: str
    format: str = AUTO
    name: str = ""
    subset: str = ""
    split: str = ""
    n: int = -1
    aliases: str = ""

    def __post_init__(self) -> None:
        if self.format not in (AUTO, *FORMATS):
            raise ValueError(
                f"unknown format {self.format!r}; known are {AUTO}, {', '.join(sorted(FORMATS))}"
            )
        if self.n < -1:
            raise ValueError("n must be -1 (all) or a number of questions")
        if self.path.startswith(HUB) and not self.split:
            raise ValueError(f"{self.path} needs a split, such as train or validation")


def _source_of_path(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


# In a file of settings a bare path will do for a source.
SourceSetting = Annotated[SourceConfig, BeforeValidator(_source_of_path)]


class BadRow(NamedTuple):
    """A row that could not be used: where it is ("line 7", "row 7, question 2") and why."""

    path: str
    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, {self.place}: {self.reason}"


Report = Callable[[BadRow], None]


def read_source(
    source: SourceConfig, *, report: Report, on_bad_row: OnBadRow = OnBadRow.FAIL
) -> Iterator[SourceRow]:
    """Every row of a set in its order, those included that the set marks as unanswerable
    (`meta["answerable"]`).

    `report` is called with each malformed row; with `on_bad_row` `fail` a `UserError` follows. Raises
    `UserError` also for a file that cannot be read or whose layout is not known.
    """
    name, rows = _with_format(source)
    parse = FORMATS[name].parse
    if source.aliases:
        if name != "2wikimultihopqa":
            raise UserError(f"{source.path} is read as {name}; aliases belong to 2wikimultihopqa")
        parse = partial(parse_2wiki, aliases=_load_aliases(Path(source.aliases)))
    for place, row in _unfolded(rows, name, source, report=report, on_bad_row=on_bad_row):
        try:
            yield _labelled(parse(row), source)
        except RowError as error:
            _refuse(BadRow(source.path, place, str(error)), report, on_bad_row)


def read_question_texts(source: SourceConfig, *, report: Report, on_bad_row: OnBadRow) -> Iterator[str]:
    """The questions alone, for files whose answers are missing or do not matter (evaluation sets)."""
    name, rows = _with_format(source)
    for place, row in _unfolded(rows, name, source, report=report, on_bad_row=on_bad_row):
        try:
            yield text_at(row, *FORMATS[name].question_keys)
        except RowError as error:
            _refuse(BadRow(source.path, place, str(error)), report, on_bad_row)


def _with_format(source: SourceConfig) -> tuple[str, Iterator[RawRow]]:
    """The name of the format and all rows, the first ones included."""
    if source.path.startswith(HUB):
        rows = hub_rows(source.path.removeprefix(HUB), subset=source.subset, split=source.split)
    else:
        rows = file_rows(Path(source.path))
    head = list(itertools.islice(rows, _LOOK_AT))
    if not head:
        raise UserError(f"{source.path} holds no row; check the file")
    return _format_of(source, head), itertools.chain(head, rows)


def _format_of(source: SourceConfig, head: list[RawRow]) -> str:
    """The format that most of the first rows fit (one of them may be malformed)."""
    if source.format != AUTO:
        return source.format
    objects = [raw.value for raw in head if isinstance(raw.value, dict)]
    votes = Counter(name for name in map(detect, objects) if name is not None)
    if not votes:
        keys = ", ".join(sorted(map(str, objects[0]))) if objects else "none, its rows are no objects"
        raise UserError(
            f"{source.path} has no layout known here (keys: {keys}); set format to one of "
            f"{', '.join(sorted(FORMATS))}, or rewrite its rows as {{'question': …, 'answers': […]}}"
        )
    return votes.most_common(1)[0][0]


def _unfolded(
    rows: Iterator[RawRow], name: str, source: SourceConfig, *, report: Report, on_bad_row: OnBadRow
) -> Iterator[tuple[str, JsonRow]]:
    """(place, row) for every row that is an object, articles taken apart into their questions."""
    unfold = FORMATS[name].unfold
    for place, value, problem in rows:
        try:
            if problem or not isinstance(value, dict):
                raise RowError(problem or f"expected an object, found {type(value).__name__}")
            parts = None if unfold is None else unfold(value)
        except RowError as error:
            _refuse(BadRow(source.path, place, str(error)), report, on_bad_row)
            continue
        if parts is None:
            yield place, value
            continue
        for number, part in enumerate(parts, start=1):
            yield f"{place}, question {number}", part


def _refuse(bad: BadRow, report: Report, on_bad_row: OnBadRow) -> None:
    report(bad)
    if on_bad_row is OnBadRow.FAIL:
        raise UserError(f"{bad}; mend or remove that row, or set on_bad_row=skip")


def _labelled(row: SourceRow, source: SourceConfig) -> SourceRow:
    """`row` with the name of its set and its split."""
    meta = row.question.meta
    stem = source.path.removeprefix(HUB).rpartition("/")[2].partition(".")[0]
    labels = {"dataset": source.name or meta.get("dataset") or stem}
    if source.split or "split" in meta:
        labels["split"] = source.split or meta["split"]
    return dataclasses.replace(row, question=dataclasses.replace(row.question, meta={**meta, **labels}))


def _load_aliases(path: Path) -> dict[str, tuple[str, ...]]:
    """Wikidata id -> further names, from `id_aliases.json` (one object per line)."""
    return {
        str(line.get("Q_id")): tuple(
            str(name) for key in ("aliases", "demonyms") for name in line.get(key) or ()
        )
        for line in read_jsonl(path)
    }
