"""MuSiQue, `musique_{ans,full}_v1.0_{train,dev}.jsonl` (https://github.com/StonyBrookNLP/musique), also as
one JSON list.

`{"id": "2hop__1_2", "paragraphs": [{"idx", "title", "paragraph_text", "is_supporting"}], "question",
"question_decomposition": [{"id", "question", "answer", "paragraph_support_idx"}], "answer", "answer_aliases":
[...], "answerable"}`. A sub-question refers to earlier answers as `#1`, `#2`. In the Full set half of the
rows are unanswerable from their paragraphs; `paragraph_support_idx` may then be null.
"""

from __future__ import annotations

from src_core.types import Passage
from src_tasks.readers.base import (
    JsonRow,
    RowError,
    make_passage,
    make_row,
    optional_text,
    records,
    scalar_text,
    text_at,
    unique,
)
from src_tasks.readers.golds import row_golds
from src_tasks.readers.rows import SourceRow, SubQuestion, decomposition_meta


def parse_musique(row: JsonRow) -> SourceRow:
    """A MuSiQue row. The gold passages come in the order of the hops."""
    by_index: dict[int, Passage | None] = {}
    flagged: list[int] = []
    for place, paragraph in enumerate(records(row.get("paragraphs"), "paragraphs")):
        index = paragraph.get("idx", place)
        if not isinstance(index, int):
            raise RowError(f"the idx of a paragraph must be a number, found {index!r:.60}")
        by_index[index] = _passage(paragraph)
        if paragraph.get("is_supporting"):
            flagged.append(index)
    hops: list[SubQuestion] = []
    gold: list[int] = []
    for hop in records(row.get("question_decomposition"), "question_decomposition"):
        at = hop.get("paragraph_support_idx")
        if at is not None and (not isinstance(at, int) or at not in by_index):
            raise RowError(f"paragraph_support_idx {at!r:.60} is no paragraph of the row")
        passage = by_index[at] if at is not None else None
        hops.append(_hop(hop, passage.title if passage else ""))
        gold += [] if at is None else [at]
    supporting = [passage for at in [*gold, *flagged] if (passage := by_index[at]) is not None]
    return make_row(
        text_at(row, "question"),
        row_golds(row, row.get("answer")),
        dataset="musique",
        passages=list(by_index.values()),
        supporting=[passage.id for passage in supporting],
        answerable=scalar_text(row.get("answerable")).lower() not in ("no", "false", "0"),
        meta={
            "source_id": optional_text(row, "id"),
            "type": optional_text(row, "id").partition("__")[0],
            "supporting_titles": unique([passage.title for passage in supporting]),
            "decomposition": decomposition_meta(hops),
        },
    )


def _passage(paragraph: JsonRow) -> Passage | None:
    title, text = paragraph.get("title"), paragraph.get("paragraph_text")
    if not isinstance(title, str) or not isinstance(text, str):
        raise RowError("a paragraph needs 'title' and 'paragraph_text' as texts")
    return make_passage(title, text)


def _hop(hop: JsonRow, title: str) -> SubQuestion:
    answer = scalar_text(hop.get("answer"))
    return SubQuestion(text_at(hop, "question"), (answer,) if answer else (), title)
