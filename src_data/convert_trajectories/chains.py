"""Converts rows that hold a question and a trajectory as text, in another notation, to our trajectories.

Golds come from the row (`answers`, `golden_answers`, `golds`, `gold`, `target`) or by question from any
question set that `src_tasks.readers` knows. A row's `answer` or `output` is never used as a gold: it is the
model's own answer, which would always agree with itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from src_core.config import config_class
from src_core.conversations import plain_protocol
from src_core.protocols.react import ReAct
from src_core.protocols.records import PromptStyle, ReadTrajectory
from src_core.protocols.search_r1 import dialect_of
from src_core.rowfiles import file_rows
from src_core.types import Finish, Question, Status, Trajectory, question_id
from src_data.exporting.export import ExportConfig
from src_data.filters.filter_trajectory import FilterConfig
from src_tasks.question_text import question_key
from src_tasks.readers.sources import BadRow, OnBadRow, SourceSetting, read_source

QUESTION_KEYS = ("question", "instruction", "prompt", "query", "input")
TEXT_KEYS = ("trajectory", "output", "response", "completion", "text", "generation")
GOLD_KEYS = ("answers", "golden_answers", "golds", "gold", "target")
_ASKED = re.compile(r"^[ \t]*question[ \t]*:[ \t]*(.+)$", re.IGNORECASE | re.MULTILINE)


@config_class
class ImportConfig:
    """`notation` is the format of the file's texts (detected per row by default), `protocol` the format of
    the export. `teacher` and `dataset` name the writer of the trajectories and their question set ("": the
    file's name; the name of the gold file, where a question was found there). `golds` are question sets
    (paths or settings of `SourceConfig`).
    """

    runs_dir: str = "runs"
    run_name: str = ""
    on_existing: Literal["clean", "fail"] = "clean"
    notation: str = "auto"
    teacher: str = ""
    dataset: str = ""
    golds: tuple[SourceSetting, ...] = ()
    clean_conv: FilterConfig = FilterConfig()
    export: ExportConfig = ExportConfig()
    protocol: str = "rearag"
    style: PromptStyle = PromptStyle()


class _Text(NamedTuple):
    """A row's question, golds and trajectory as text."""

    question: str
    golds: tuple[str, ...]
    text: str


Golds = dict[str, Question]


def load_golds(config: ImportConfig, *, report: Any = None) -> Golds:
    """Questions with their golds by normalised text; the first file that has a question is used. `report` is
    called with each row that cannot be read. Raises `UserError` for a file that cannot be read.
    """

    def report_bad_row(bad: BadRow) -> None:
        if report:
            report(bad)

    found: Golds = {}
    for source in config.golds:
        for row in read_source(source, report=report_bad_row, on_bad_row=OnBadRow.SKIP):
            if row.question.answers:
                found.setdefault(question_key(row.question.question), row.question)
    return found


def import_rows(source: Path, config: ImportConfig, golds: Golds) -> Iterator[Trajectory]:
    """One trajectory per row of the file, in order, also for rows that cannot be parsed. Raises `UserError`
    for a file that cannot be read.
    """
    for row in file_rows(source):
        found = _Text("", (), "") if row.problem else _texts(row.value)
        if not row.problem and not found.text:
            row = row._replace(problem="no text of a trajectory in this row")
        provenance: dict[str, Any] = {
            "teacher": config.teacher or source.stem,
            "chain": 0,
            "from": {"file": source.name, "place": row.place},
        }
        question = _question(found, config.dataset or source.stem, golds)
        if row.problem:
            yield _unread(question, row.problem, provenance)
            continue
        notation = detect_format(found.text) if config.notation == "auto" else config.notation
        if not notation:
            yield _unread(question, "neither ReAct steps nor Search-R1 tags", provenance)
            continue
        provenance["from"]["notation"] = notation
        yield as_trajectory(question, plain_protocol(notation).parse_trajectory(found.text), provenance)


def detect_format(text: str) -> str:
    """The format of a trajectory in one text, "" for an unknown format."""
    return dialect_of(text) or (ReAct.name if ReAct.reads(text) else "")


def as_trajectory(question: Question, read: ReadTrajectory, provenance: dict[str, Any]) -> Trajectory:
    """The parsed trajectory, with the status that the filters check: `malformed_then_answered` where parsing
    stopped, `capped_then_answered` where the text ends without `finish`.
    """
    last = read.steps[-1].action if read.steps else None
    status = Status.FINISHED if isinstance(last, Finish) else Status.CAPPED_THEN_ANSWERED
    return Trajectory(
        question=question,
        steps=read.steps,
        answer=last.answer if isinstance(last, Finish) else "",
        status=Status.MALFORMED_THEN_ANSWERED if read.problem else status,
        error=read.problem or None,
        provenance={**provenance, **read.notes},
    )


def _unread(question: Question, problem: str, provenance: dict[str, Any]) -> Trajectory:
    return Trajectory(question, (), "", Status.MALFORMED_THEN_ANSWERED, error=problem, provenance=provenance)


def _question(found: _Text, dataset: str, golds: Golds) -> Question:
    """The question of the gold file, else the question of the row."""
    known = golds.get(question_key(found.question))
    if known is not None and not found.golds:
        return known
    text = found.question.strip()
    return Question(question_id(text, found.golds), text, found.golds, meta={"dataset": dataset})


def _texts(row: Any) -> _Text:
    """The texts of a row; a field that is missing or not a text is ""."""
    if not isinstance(row, dict):
        return _Text("", (), "")
    text = _first_text(row, TEXT_KEYS)
    asked = _first_text(row, QUESTION_KEYS)
    # A prompt ends with the question; a text with question and trajectory begins with it.
    inside = _ASKED.findall(asked) or ([] if asked else _ASKED.findall(text))
    if inside and not asked:
        text = text[text.rindex(inside[-1]) + len(inside[-1]) :]
    return _Text(inside[-1].strip() if inside else asked, _golds(row), text)


def _first_text(row: dict[str, Any], keys: tuple[str, ...]) -> str:
    for key in keys:
        value = row.get(key)
        if isinstance(value, list) and value and isinstance(value[-1], dict):  # chat messages
            value = value[-1].get("content")
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def _golds(row: dict[str, Any]) -> tuple[str, ...]:
    value: Any = next((row[key] for key in GOLD_KEYS if row.get(key)), ())
    values = value if isinstance(value, list) else [value]
    return tuple(str(item) for item in values if isinstance(item, str | int | float) and str(item).strip())
