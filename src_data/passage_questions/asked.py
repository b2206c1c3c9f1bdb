"""Facts in a model's words, read from the file that `asking` writes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from src_core.errors import UserError
from src_core.jsonl import read_jsonl
from src_data.passage_questions.entities import Entity
from src_data.passage_questions.facts import Fact
from src_data.passage_questions.relation import Relation
from src_data.passage_questions.world import World

KEPT = "kept"
ASKED = "asked "
"""The names of relations that a model asked for begin so."""
_DATE = re.compile(r"(?:\d{1,2} )?[A-Z][a-z]+ (?:\d{1,2}, )?\d{4}|\d{4}")
_PATH_WORDS = 3
_OWN = re.compile(r"^(?P<asks>Wh\w+ (?:is|was|are|were)) \{s\}['’]s (?P<what>[^?]+)\?$")


@dataclass(frozen=True, slots=True)
class AskedFact:
    """What a model wrote about one `sentence` of a `passage` (an id). `question` has `{s}` for the subject;
    question and answer are empty where there are none.
    """

    passage: str
    sentence: str
    outcome: str
    model: str
    question: str = ""
    answer: str = ""
    error: str = ""


_ROW = TypeAdapter(AskedFact)


def read_asked(path: Path) -> Iterator[AskedFact]:
    """The rows of a file. Raises `UserError` for a row that is none."""
    for number, row in enumerate(read_jsonl(path), 1):
        try:
            yield _ROW.validate_python(row)
        except ValidationError as error:
            raise UserError(
                f"{path}:{number} is no row of python -m src_data.passage_questions.asking: "
                f"{error.errors()[0]['msg']}; remove it"
            ) from error


def last_rows(path: Path) -> dict[str, AskedFact]:
    """The last row of each passage; no row where there is no file yet."""
    return {row.passage: row for row in read_asked(path)} if path.exists() else {}


def asked_facts(path: str, world: World) -> Iterator[Fact]:
    """The kept facts of a file about what `world` still describes with that sentence. Each has a relation of
    its own, named by the first words of its question, so that the caps on paths keep the questions apart.
    """
    entities = {entity.id: entity for entity in world.entities.values()}
    for row in {row.passage: row for row in read_asked(Path(path))}.values():
        entity = entities.get(row.passage)
        if (
            row.outcome == KEPT
            and entity is not None
            and row.sentence in {each.sentence for each in entity.predicates}
        ):
            yield Fact(entity, _relation(row, entity), row.answer, row.sentence)


def _relation(row: AskedFact, entity: Entity) -> Relation:
    kind: Literal["date", "text"] = "date" if _DATE.fullmatch(row.answer) else "text"
    question = row.question.replace(f"the {entity.noun} {{s}}", "{s}")  # a subject may bring its noun along
    question = _OWN.sub(r"\g<asks> the \g<what> of {s}?", question)
    words = question.lower().split()[:_PATH_WORDS]
    return Relation(
        name=f"{ASKED}{' '.join(words)}", kinds=(entity.kind,), value=kind, forms=((question, ""),)
    )
