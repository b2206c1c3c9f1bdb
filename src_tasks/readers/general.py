"""Layouts that are no one set's own: FlashRAG's JSONL, plain question/answer rows, and annotated rows of
several sets in one layout ("project").
"""

from __future__ import annotations

from typing import Any

from src_tasks.readers.base import (
    JsonRow,
    RowError,
    alias_texts,
    clean_title,
    make_row,
    optional_text,
    own_hops,
    text_at,
    unique,
)
from src_tasks.readers.hotpotqa import annotation
from src_tasks.readers.rows import SourceRow, decomposition_meta


def parse_flashrag(row: JsonRow) -> SourceRow:
    """FlashRAG (`RUC-NLPIR/FlashRAG_datasets`): `{"id", "question", "golden_answers": [...], "metadata":
    {...}}`. Where the metadata keeps HotpotQA's `context` and `supporting_facts`, they become passages; that
    much of the metadata differs by set, and could not be checked against the publisher's files.
    """
    metadata = row.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise RowError(f"'metadata' must be an object, found {type(metadata).__name__}")
    found = annotation(metadata)
    return make_row(
        text_at(row, "question"),
        alias_texts(row.get("golden_answers")),
        dataset="",
        passages=found.passages,
        supporting=found.supporting,
        meta={
            "source_id": optional_text(row, "id"),
            "type": optional_text(metadata, "type"),
            "level": optional_text(metadata, "level"),
            **found.meta,
        },
    )


def parse_plain(row: JsonRow) -> SourceRow:
    """`{"question", "answer"}` as ReaRAG's builder takes it (reference 6.2), or `answers`; `id` and
    `decomposition` are kept.
    """
    answers = row["answers"] if row.get("answers") is not None else row.get("answer")
    meta = {key: optional_text(row, key) for key in ("dataset", "split", "type", "level")}
    more = {"source_id": optional_text(row, "id"), "decomposition": decomposition_meta(own_hops(row))}
    return make_row(text_at(row, "question"), alias_texts(answers), dataset="", meta={**meta, **more})


def parse_project(row: JsonRow) -> SourceRow:
    """Annotated rows in one layout for all sets: `{"id", "dataset", "split", "question", "answers",
    "supporting_titles", "gold_ids", ...}` and where there are such, `type`, `level`, `supporting_facts`,
    `evidences`, `facts`, and `decomposition` as `[{"question", "answer" or "answers", "title"}]`. `gold_ids`
    name rows of the corpus that goes with the file; there are no passages in the rows.
    """
    found = annotation({key: row.get(key) for key in ("supporting_facts", "evidences")})
    titles = _texts(row.get("supporting_titles"), "supporting_titles")
    return make_row(
        text_at(row, "question"),
        alias_texts(row.get("answers")),
        dataset=optional_text(row, "dataset"),
        supporting=_texts(row.get("gold_ids"), "gold_ids"),
        meta={
            **{key: optional_text(row, key) for key in ("split", "type", "level")},
            "source_id": optional_text(row, "id"),
            **found.meta,
            "supporting_titles": unique([clean_title(title) for title in titles]),
            "facts": list(alias_texts(row.get("facts"))),
            "decomposition": decomposition_meta(own_hops(row)),
        },
    )


def _texts(value: Any, what: str) -> list[str]:
    value = [] if value is None else value
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RowError(f"{what!r} must be a list of texts")
    return value
