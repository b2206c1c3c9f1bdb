"""Questions from any JSONL: `question` with `answer` or `answers` or `golden_answers` (FlashRAG), ids
optional.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from src_core.errors import UserError
from src_core.jsonl import read_jsonl
from src_core.types import Question, question_id

_ANSWER_KEYS = ("answers", "golden_answers", "answer")
_SUPPORT_KEYS = ("supporting_ids", "gold_ids")
_META_KEYS = ("type", "hops", "dataset", "level")
_CONTEXT_KEYS = ("context_ids",)


def load_questions(path: Path, *, limit: int = -1) -> list[Question]:
    """The first `limit` questions (-1: all) without duplicates. A row without a question is a `UserError`
    that names file and line. The id is the content hash; the row's own id is kept in `meta["source_id"]`.
    """
    found: dict[str, Question] = {}
    for question in _rows(path):
        if 0 <= limit <= len(found):
            break
        found.setdefault(question.id, question)
    if not found:
        raise UserError(f"{path} holds no question; expected rows like {{'question': …, 'answers': […]}}")
    return list(found.values())


def _rows(path: Path) -> Iterator[Question]:
    for number, row in enumerate(read_jsonl(path), start=1):
        text = row.get("question")
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"{path}, row {number}: no text under 'question'")
        answers = _texts(row, _ANSWER_KEYS, where=f"{path}, row {number}")
        meta = {key: row[key] for key in _META_KEYS if key in row}
        if row.get("context_ids") is not None:  # the passages that ship with the question
            meta["context_ids"] = list(_texts(row, _CONTEXT_KEYS, where=f"{path}, row {number}"))
        if "id" in row:
            meta["source_id"] = str(row["id"])
        yield Question(
            id=question_id(text, answers),
            question=text.strip(),
            answers=answers,
            supporting=_texts(row, _SUPPORT_KEYS, where=f"{path}, row {number}"),
            meta=meta,
        )


def _texts(row: dict[str, Any], keys: tuple[str, ...], *, where: str) -> tuple[str, ...]:
    """The first of `keys` that is present, as a tuple of texts; a lone value counts as one, numbers as
    text.
    """
    value: Any = next((row[key] for key in keys if row.get(key) is not None), [])
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str | int | float) for item in values):
        raise UserError(f"{where}: {keys[0]!r} must be a text or a list of texts")
    return tuple(str(item) for item in values)
