"""IIRC, `{train,dev,test}.json` (https://allenai.org/data/iirc): a JSON array of articles with their
questions.

`{"pid", "title", "text", "links": [{"target", "indices"}], "questions": [{"qid", "question", "context":
[{"passage": "main" or a linked title, "text", "indices"}], "answer": {"type": "span" | "value" | "binary" |
"none", "answer_spans": [{"text", "passage", ...}], "answer_value", "answer_unit"}, "question_links"}]}`;
checked against the reader of https://github.com/StonyBrookNLP/ircot. The passages of a row are the article's
opening and the annotated snippets of linked pages; the full linked pages are in a separate file
(`context_articles.json`).
"""

from __future__ import annotations

from typing import Any

from src_tasks.readers.base import (
    JsonRow,
    RowError,
    alias_texts,
    clean_title,
    make_passage,
    make_row,
    optional_text,
    records,
    scalar_text,
    text_at,
    unique,
)
from src_tasks.readers.rows import SourceRow


def unfold_iirc(article: JsonRow) -> list[JsonRow]:
    """One row per question of an article, each with the article under `article`."""
    questions = records(article.get("questions"), "questions")
    if not questions:
        raise RowError("an article without 'questions'")
    return [{**question, "article": article} for question in questions]


def parse_iirc(row: JsonRow) -> SourceRow:
    """A question returned by `unfold_iirc`. Several spans are one answer in parts (joined by ", "), not
    aliases of each other. Type `none` means that Wikipedia has no answer: the row is marked as unanswerable.
    """
    article = row["article"]
    name = optional_text(article, "title")
    main = make_passage(name, text_at(article, "text"))
    passages, supporting = [main], []
    for snippet in records(row.get("context"), "context"):
        title = optional_text(snippet, "passage")
        found = main if title == "main" else make_passage(title, optional_text(snippet, "text"))
        passages.append(found)
        supporting += [] if found is None else [found]
    answer = row.get("answer")
    if not isinstance(answer, dict):
        raise RowError("no 'answer' object")
    kind = answer.get("type")
    return make_row(
        text_at(row, "question"),
        _answers(answer, kind),
        dataset="iirc",
        passages=passages,
        supporting=[passage.id for passage in supporting],
        answerable=kind != "none",
        meta={
            "source_id": optional_text(row, "qid"),
            "type": kind,
            "article": clean_title(name),
            "supporting_titles": unique([passage.title for passage in supporting]),
        },
    )


def _answers(answer: JsonRow, kind: Any) -> tuple[str, ...]:
    if kind == "none":
        return ()
    if kind == "span":
        parts = records(answer.get("answer_spans"), "answer_spans")
        spans = alias_texts([part.get("text") for part in parts])
        return (", ".join(spans),) if spans else ()
    if kind in ("value", "binary"):
        value, unit = scalar_text(answer.get("answer_value")), scalar_text(answer.get("answer_unit"))
        return alias_texts(value, f"{value} {unit}" if value and unit else None)
    raise RowError(f"unknown answer type {kind!r:.60}")
