"""Layouts that several sets use: FlashRAG's JSONL, plain question/answer rows, and annotated rows of several
sets in one layout ("project").
"""

from __future__ import annotations

import re
from typing import Any

from src_tasks.readers.base import (
    JsonRow,
    RowError,
    alias_texts,
    clean_title,
    gold_texts,
    make_row,
    optional_text,
    own_hops,
    text_at,
    unique,
)
from src_tasks.readers.hotpotqa import annotation
from src_tasks.readers.multiple_choice import NO_CHOICES, Choices, choices_of, gold_of_choices
from src_tasks.readers.rows import SourceRow, decomposition_meta

GOLD_KEYS = ("answers", "golden_answers", "answer")
_ALIAS_KEYS = ("answer_aliases", "aliases")
_SUPPORT_KEYS = ("supporting_ids", "gold_ids")
_GROUP_KEYS = ("group", "subject")
# Keys that other sets use: AmbigQA's annotations, DROP's answers_spans, correct_answer, ground_truths, label.
_LIKE_GOLDS = re.compile(
    r"(?:\w+_)?(?:golds?|targets?|labels?|annotations?|answers?|ground_?truths?|references?|solutions?)"
    r"(?:_(?:texts?|keys?|list|spans?|values?|idx|index))?|answer_?key"
)
# A group of alternatives, "anything", a character class, a quantified class: CuratedTREC's golds are
# patterns.
_PATTERN = re.compile(r"\([^()]*\|[^()]*\)|\.[*+]|\\[dswbDSW]|\[[^\]]*\][*+?]")


def parse_flashrag(row: JsonRow) -> SourceRow:
    """FlashRAG (`RUC-NLPIR/FlashRAG_datasets`): `{"id", "question", "golden_answers": [...], "choices":
    [...], "metadata": {...}}`; with `choices` the golden answers are indices into them. Where the metadata
    keeps HotpotQA's `context` and `supporting_facts`, they become passages; that much of the metadata
    differs by set, and could not be checked against the publisher's files. Golds that are regular
    expressions (CuratedTREC) are refused: no metric here matches patterns.
    """
    metadata = row.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise RowError(f"'metadata' must be an object, found {type(metadata).__name__}")
    choices = choices_of(row)
    golds = golds_of(row, choices)
    if golds and not choices.texts and all(map(_PATTERN.search, golds)):
        raise RowError(f"the gold {golds[0]!r:.60} is a regular expression; list the answers that it matches")
    found = annotation(metadata)
    return make_row(
        text_at(row, "question"),
        golds,
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


def golds_of(row: JsonRow, choices: Choices = NO_CHOICES) -> tuple[str, ...]:
    """The golds under the first of `GOLD_KEYS` that holds any (an empty list hides no other key), and their
    aliases; with `choices`, the texts of the right ones. Raises `RowError` for golds that cannot be read, and
    where there is none but another key looks like one.
    """
    value = next((row[key] for key in GOLD_KEYS if key in row and gold_texts(row[key])), None)
    if value is None:
        _refuse_other_golds(row)
    if choices.texts:
        return gold_of_choices(value, choices)
    return gold_texts(value, *(row.get(key) for key in _ALIAS_KEYS)) if value is not None else ()


def _refuse_other_golds(row: JsonRow) -> None:
    for key, value in row.items():
        if key not in GOLD_KEYS and _LIKE_GOLDS.fullmatch(key.lower()) and value not in (None, "", [], {}):
            raise RowError(f"no 'answers', but {key!r:.60} looks like them; rename that key to 'answers'")


def _own_row(row: JsonRow, *, dataset: str, more: JsonRow | None = None) -> SourceRow:
    choices = choices_of(row)
    support = next((key for key in _SUPPORT_KEYS if row.get(key) is not None), _SUPPORT_KEYS[0])
    hops = row.get("hops")
    return make_row(
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
