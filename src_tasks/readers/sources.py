"""Reads question sets row by row: a file, a folder of tables, or a set of the hub.

    for row in read_source(SourceConfig(path="hotpot_train_v1.1.json"), report=bad.append): ...
    questions = read_questions("hotpot_dev_distractor_v1.json", limit=500)

Every malformed row is passed to `report`; with `on_bad_row: fail` it also ends the reading.
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

from src_core.config import AllOrCount, config_class
from src_core.errors import UserError
from src_core.json_rows import shown_keys
from src_core.opener import bare_suffix
from src_core.rowfiles import TABLES, RawRow, file_rows, first_cells
from src_core.terminal import say
from src_core.types import Question
from src_tasks.readers.aliases import load_aliases
from src_tasks.readers.base import JsonRow, RowError, near_key, text_at
from src_tasks.readers.file_notes import QuestionNotes
from src_tasks.readers.formats import FORMATS, detect
from src_tasks.readers.golds import untyped
from src_tasks.readers.hotpotqa import parse_2wiki
from src_tasks.readers.hub import HUB, hub_rows
from src_tasks.readers.multiple_choice import MMLU_COLUMNS, is_mmlu_table, subject_of
from src_tasks.readers.publishers import missing_file
from src_tasks.readers.rows import SourceRow
from src_tasks.readers.single_hop import DPR_COLUMNS, DPR_DELIMITER, dpr_row, is_dpr_table

AUTO = "auto"
_LOOK_AT = 20


class OnBadRow(StrEnum):
    """The effect of a malformed row: it ends the run with an error, or it is reported and left out."""

    FAIL = "fail"
    SKIP = "skip"


@config_class
class SourceConfig:
    """One question set. `path` is a file, a folder of CSV tables (MMLU's, one per subject), or
    `hub:owner/name` with `subset` and `split`. `format` is a name of `FORMATS`, or `auto` to detect it from
    the keys of each row. `name` replaces the set's name in `meta["dataset"]`. `n` questions are sampled from
    it (-1: all) by `mixture.mix`; reading alone ignores it. `aliases` is 2WikiMultihopQA's `id_aliases.json`.
    """

    path: str
    format: str = AUTO
    name: str = ""
    subset: str = ""
    split: str = ""
    n: AllOrCount = -1
    aliases: str = ""

    def __post_init__(self) -> None:
        if self.format not in (AUTO, *FORMATS):
            raise ValueError(
                f"unknown format {self.format!r}; known are {AUTO}, {', '.join(sorted(FORMATS))}"
            )
        if self.path.startswith(HUB) and not self.split:
            raise ValueError(f"{self.path} needs a split, such as train or validation")


def _source_of_path(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


# In a file of settings a path alone is accepted as a source.
SourceSetting = Annotated[SourceConfig, BeforeValidator(_source_of_path)]


class BadRow(NamedTuple):
    """A row that could not be used: its place ("line 7", "row 7, question 2") and the reason."""

    path: str
    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, {self.place}: {self.reason}"


Report = Callable[[BadRow], None]


def read_source(
    source: SourceConfig, *, report: Report, on_bad_row: OnBadRow = OnBadRow.FAIL
) -> Iterator[SourceRow]:
    """Every row of a set in its order, including rows that the set marks as unanswerable
    (`meta["answerable"]`).

    `report` is called with each malformed row and each row without golds; with `on_bad_row` `fail` a
    `UserError` follows. Also raises `UserError` for a file that cannot be read or whose layout is unknown.
    """
    for place, row in _rows(source, "", report=report, on_bad_row=on_bad_row):
        if not row.question.answers and row.question.meta.get("answerable") is not False:
            _refuse(place._replace(reason="no gold answer"), report, on_bad_row)
            continue
        yield _labelled(row, source, source.path.removeprefix(HUB).rpartition("/")[2].partition(".")[0])


def read_questions(
    source: str | Path | SourceConfig,
    *,
    limit: int = -1,
    setting: str = "questions",
    note: Callable[[str], None] = say,
) -> list[Question]:
    """The first `limit` questions of a set (-1: all), each once, with the golds that `read_source` finds;
    here a question may have none. `note` gets the lines of `QuestionNotes`. Raises `UserError`
    naming file and row for a malformed row, and for a file that is missing or holds no question (`setting`
    names the setting that the user then has to change).
    """
    if not isinstance(source, SourceConfig):
        source = _checked(str(source))
    found: dict[str, Question] = {}
    notes = QuestionNotes(source.path)
    for _, row in _rows(source, setting, report=_refuse_at_once, on_bad_row=OnBadRow.FAIL):
        if 0 <= limit <= len(found):
            break
        labelled = _labelled(row, source, "")
        question = labelled.question
        notes.add(labelled, again=found.setdefault(question.id, question) is not question)
    for line in notes.lines(found.values(), limit=limit):
        note(line)
    return list(found.values())


def read_question_texts(source: SourceConfig, *, report: Report, on_bad_row: OnBadRow) -> Iterator[str]:
    """The questions alone, for files whose answers are missing or do not matter (evaluation sets)."""
    for file in _files_of(source, ""):
        for place, name, row in _unfolded(file, report=report, on_bad_row=on_bad_row):
            try:
                yield text_at(row, *FORMATS[name].question_keys)
            except RowError as error:
                _refuse(BadRow(file.path, place, str(error)), report, on_bad_row)


def _checked(path: str) -> SourceConfig:
    try:
        return SourceConfig(path=path)
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {error}; correct the file") from error


def _rows(
    source: SourceConfig, setting: str, *, report: Report, on_bad_row: OnBadRow
) -> Iterator[tuple[BadRow, SourceRow]]:
    """Each row with its place (a `BadRow` with an empty reason)."""
    aliases = load_aliases(Path(source.aliases)) if source.aliases else None
    for file in _files_of(source, setting):
        for where, name, row in _unfolded(file, report=report, on_bad_row=on_bad_row):
            place = BadRow(file.path, where, "")
            parse = FORMATS[name].parse
            if aliases is not None:
                if name != "2wikimultihopqa":
                    raise UserError(
                        f"{file.path} is read as {name}, aliases are for 2wikimultihopqa; remove aliases"
                    )
                parse = partial(parse_2wiki, aliases=aliases)
            try:
                parsed = parse(row)
            except RowError as error:
                _refuse(place._replace(reason=str(error)), report, on_bad_row)
                continue
            yield place, parsed


def _files_of(source: SourceConfig, setting: str) -> Iterator[SourceConfig]:
    """The source itself, or one for each table of a folder. Raises `UserError` for a path that does not
    exist.
    """
    path = Path(source.path)
    if source.path.startswith(HUB) or path.is_file():
        yield source
        return
    tables = sorted(path.glob("*.csv"))
    if not tables:
        if path.is_dir():
            raise UserError(f"{path} is a folder without CSV tables; name a question file")
        raise missing_file(path, setting)
    for table in tables:
        yield dataclasses.replace(source, path=str(table))


def _raw_rows(source: SourceConfig) -> Iterator[RawRow]:
    if source.path.startswith(HUB):
        return hub_rows(source.path.removeprefix(HUB), subset=source.subset, split=source.split)
    path = Path(source.path)
    if is_mmlu_table(first_cells(path)):
        subject = subject_of(path.name.partition(".")[0])
        return _with_subject(file_rows(path, columns=MMLU_COLUMNS), subject)
    if is_dpr_table(first_cells(path, DPR_DELIMITER)):
        return map(dpr_row, file_rows(path, columns=DPR_COLUMNS, delimiter=DPR_DELIMITER))
    rows = file_rows(path)
    return map(untyped, rows) if bare_suffix(path) in TABLES else rows


def _with_subject(rows: Iterator[RawRow], subject: str) -> Iterator[RawRow]:
    for row in rows:
        yield row if row.problem else row._replace(value={**row.value, "subject": subject})


def _common_format(source: SourceConfig, head: list[RawRow]) -> str:
    """The format that most of the first rows fit; rows that fit no format are read as this one."""
    if source.format != AUTO:
        return source.format
    objects = [raw.value for raw in head if isinstance(raw.value, dict)]
    votes = Counter(name for name in map(detect, objects) if name is not None)
    if not votes:
        if not objects and head[0].problem:
            raise UserError(f"{source.path}, {head[0].place}: {head[0].problem}; correct or remove that row")
        if objects and len(objects[0]) == 1 and ";" in (header := str(next(iter(objects[0])))):
            raise UserError(
                f"{source.path} separates its columns with ';' ({header}); write commas, or a .tsv with tabs"
            )
        hint = near_key("question", objects[0]) if objects else ""
        near = f"; is {hint!r} meant to be 'question'?" if hint else ""
        keys = shown_keys(sorted(map(str, objects[0]))) if objects else "none, its rows are no objects"
        raise UserError(
            f"{source.path} has no known layout (keys: {keys}{near}); set format to one of "
            f"{', '.join(sorted(FORMATS))}, or rewrite its rows as {{'question': …, 'answers': […]}}"
        )
    return votes.most_common(1)[0][0]


def _unfolded(
    source: SourceConfig, *, report: Report, on_bad_row: OnBadRow
) -> Iterator[tuple[str, str, JsonRow]]:
    """(place, format, row) for every row that is an object; articles are unfolded into their questions."""
    rows = _raw_rows(source)
    head = list(itertools.islice(rows, _LOOK_AT))
    if not head:
        raise UserError(
            f"{source.path} holds no row; write rows like {{'question': …, 'answers': […]}} into it"
        )
    common = _common_format(source, head)
    for place, value, problem in itertools.chain(head, rows):
        try:
            if problem or not isinstance(value, dict):
                raise RowError(problem or f"expected an object, found {type(value).__name__}")
            name = (detect(value) if source.format == AUTO else None) or common
            unfold = FORMATS[name].unfold
            parts = None if unfold is None else unfold(value)
        except RowError as error:
            _refuse(BadRow(source.path, place, str(error)), report, on_bad_row)
            continue
        if parts is None:
            yield place, name, value
            continue
        for number, part in enumerate(parts, start=1):
            yield place if len(parts) == 1 else f"{place}, question {number}", name, part


def _refuse(bad: BadRow, report: Report, on_bad_row: OnBadRow) -> None:
    report(bad)
    if on_bad_row is OnBadRow.FAIL:
        raise UserError(f"{bad}; correct or remove that row, or set on_bad_row=skip")


def _refuse_at_once(bad: BadRow) -> None:
    raise UserError(f"{bad}; correct or remove that row")


def _labelled(row: SourceRow, source: SourceConfig, unnamed: str) -> SourceRow:
    """`row` with the name of its set (`unnamed` where neither row nor source names it) and its split."""
    meta = row.question.meta
    labels = {
        "dataset": source.name or meta.get("dataset") or unnamed,
        "split": source.split or meta.get("split"),
    }
    labels = {key: value for key, value in labels.items() if value}
    return dataclasses.replace(row, question=dataclasses.replace(row.question, meta={**meta, **labels}))
