"""SQuAD 1.1 and 2.0 (https://rajpurkar.github.io/SQuAD-explorer): `{"version", "data": [{"title",
"paragraphs": [{"context", "qas": [{"id", "question", "answers": [{"text", "answer_start"}],
"is_impossible"}]}]}]}`, and the hub's rows `{"id", "title", "context", "question", "answers": {"text": [...],
"answer_start": [...]}}`.

A paragraph is the passage of its questions and supports each of them.
"""

from __future__ import annotations

from src_tasks.readers.base import (
    JsonRow,
    RowError,
    alias_texts,
    make_passage,
    make_row,
    optional_text,
    records,
    text_at,
)
from src_tasks.readers.rows import SourceRow


def unfold_squad(row: JsonRow) -> list[JsonRow]:
    """One row per question of an article, in the layout of the hub; a row of the hub is one already."""
    if "paragraphs" not in row:
        return [row]
    return [
        {**question, "title": row.get("title"), "context": paragraph.get("context")}
        for paragraph in records(row["paragraphs"], "paragraphs")
        for question in records(paragraph.get("qas"), "qas")
    ]


def parse_squad(row: JsonRow) -> SourceRow:
    """A question returned by `unfold_squad`. SQuAD 2.0 marks the ones that the paragraph does not answer."""
    answers = records(row.get("answers"), "answers")
    if any("text" not in answer for answer in answers):
        raise RowError("an answer without 'text'")
    passage = make_passage(optional_text(row, "title"), text_at(row, "context"))
    golds = alias_texts([answer["text"] for answer in answers])
    return make_row(
        text_at(row, "question"),
        golds,
        dataset="squad",
        passages=[passage],
        supporting=[passage.id] if passage and golds else [],
        answerable=bool(golds) or row.get("is_impossible") is False,
        meta={"source_id": optional_text(row, "id")},
    )
