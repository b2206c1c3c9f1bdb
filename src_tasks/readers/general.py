"""Layouts that several sets use: FlashRAG's JSONL, plain question/answer rows, and annotated rows of several
sets in one layout ("project").
"""

from __future__ import annotations

import dataclasses
from typing import Any

from src_tasks.readers.base import (
    JsonRow,
    RowError,
    alias_texts,
    clean_title,
    make_row,
    near_key,
    optional_text,
    own_hops,
    text_at,
    unique,
)
from src_tasks.readers.golds import golds_of
from src_tasks.readers.hotpotqa import annotation
from src_tasks.readers.multiple_choice import choices_of
from src_tasks.readers.rows import SourceRow, decomposition_meta

_SUPPORT_KEYS = ("supporting_ids", "gold_ids")
_LIKE_SUPPORT = ("supporting_titles", "supporting_facts", "context_ids")
_GROUP_KEYS = ("group", "subject")


def parse_flashrag(row: JsonRow) -> SourceRow:
    """FlashRAG (`RUC-NLPIR/FlashRAG_datasets`): `{"id", "question", "golden_answers": [...], "choices":
    [...], "metadata": {...}}`; with `choices` the golden answers are indices into them. Where the metadata
    keeps HotpotQA's `context` and `supporting_facts`, they become passages; that much of the metadata
    differs by set, and could not be checked against the publisher's files.
    """
    metadata = row.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise RowError(f"'metadata' must be an object, found {type(metadata).__name__}")
    choices = choices_of(row)
    found = annotation(metadata)
    return make_row(
        text_at(row, "question"),
        golds_of(row, choices),
        dataset="",
        passages=found.passages,
        supporting=found.supporting,
        choices=choices.texts,
        group=optional_text(metadata, *_GROUP_KEYS),
        meta={
            "source_id": optional_text(row, "id"),
            "type": optional_text(metadata, "type"),
            "level": optional_text(metadata, "level"),
            **found.meta,
        },
    )


def parse_plain(row: JsonRow) -> SourceRow:
    """`{"question", "answer"}` as ReaRAG's builder takes it (reference 6.2), or `answers` or
    `golden_answers`, with `choices` where the question has them (the gold is then an index, a letter or a
    text) and `supporting_ids`; other keys of the row are kept in `meta`.
    """
    return _own_row(row, dataset=optional_text(row, "dataset"))


def parse_project(row: JsonRow) -> SourceRow:
    """Annotated rows in one layout for all sets: `{"id", "dataset", "split", "question", "answers",
    "supporting_titles", "gold_ids", ...}` and optionally `type`, `level`, `supporting_facts`, `evidences`,
    `facts`, and `decomposition` as `[{"question", "answer" or "answers", "title"}]`. `gold_ids` name rows of
    the corpus that goes with the file; there are no passages in the rows.
    """
    found = annotation({key: row.get(key) for key in ("supporting_facts", "evidences")})
    titles = _texts(row.get("supporting_titles"), "supporting_titles")
    more = {
        **found.meta,
        "supporting_titles": unique([clean_title(title) for title in titles]),
        "facts": list(alias_texts(row.get("facts"))),
    }
    return _own_row(row, dataset=optional_text(row, "dataset"), more=more)


def _own_row(row: JsonRow, *, dataset: str, more: JsonRow | None = None) -> SourceRow:
    choices = choices_of(row)
    support = next((key for key in _SUPPORT_KEYS if row.get(key) is not None), _SUPPORT_KEYS[0])
    hops = row.get("hops")
    made = make_row(
        text_at(row, "question"),
        golds_of(row, choices),
        dataset=dataset,
        supporting=_ids(row.get(support), support),
        choices=choices.texts,
        group=optional_text(row, *_GROUP_KEYS),
        meta={
            **{key: optional_text(row, key) for key in ("split", "type", "level")},
            "hops": hops if isinstance(hops, int) else optional_text(row, "hops"),
            "source_id": optional_text(row, "id"),
            **(more or {}),
            "decomposition": decomposition_meta(own_hops(row)),
            "context_ids": _ids(row.get("context_ids"), "context_ids"),
        },
    )
    return made if row.get(support) is not None else dataclasses.replace(made, misspelt=_near_support(row))


def _near_support(row: JsonRow) -> str:
    """The key of a row that is nearly one of `_SUPPORT_KEYS` and that no layout has, "" for none."""
    rest = {key: None for key in row if key not in (*_SUPPORT_KEYS, *_LIKE_SUPPORT)}
    return next((near for key in _SUPPORT_KEYS if (near := near_key(key, rest))), "")


def _ids(value: Any, what: str) -> list[str]:
    """Ids of passages as texts (some corpora use numbers)."""
    value = [] if value is None else value
    if not isinstance(value, list) or not all(isinstance(item, str | int) for item in value):
        raise RowError(f"{what!r} must be a list of passage ids")
    return [str(item) for item in value]


def _texts(value: Any, what: str) -> list[str]:
    value = [] if value is None else value
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RowError(f"{what!r} must be a list of texts")
    return value
