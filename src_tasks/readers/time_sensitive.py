"""Sets whose answers depend on a date: CAG's EvoTempQA, SituatedQA, TimeQA, FreshQA.

DeepRAG's `CAG` is the first of them (Pan et al. 2024, arXiv 2404.06809). The date of a question is in
`meta["date"]`; it becomes part of the question only where the publisher wrote it there. The lines above the
header of FreshQA's sheet are captions for `src_core.rowfiles`.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from src_tasks.readers.base import (
    JsonRow,
    RowError,
    alias_texts,
    clean_title,
    make_passage,
    make_row,
    optional_text,
    records,
    text_at,
)
from src_tasks.readers.golds import row_golds
from src_tasks.readers.rows import SourceRow

_CREDIBLE = "high"
_PAGE = re.compile(r"/wiki/([^#]+)#(P\d+)")
_ANSWER_COLUMN = re.compile(r"answer_\d+")


def parse_cag(row: JsonRow) -> SourceRow:
    """EvoTempQA, `EvoTemp.json` (https://github.com/panruotong/CAG): `{"id", "question", "q_date", "docs":
    [{"id", "title", "text", "date", "cred"}], "answers"}`, also with `answer`. Documents of high credibility
    are of the time of the question and support it; the others are older.
    """
    passages, supporting = [], []
    for document in records(row.get("docs"), "docs"):
        passage = make_passage(optional_text(document, "title"), optional_text(document, "text"))
        passages.append(passage)
        if passage is not None and optional_text(document, "cred").lower() == _CREDIBLE:
            supporting.append(passage.id)
    return make_row(
        text_at(row, "question"),
        row_golds(row, row.get("answers"), row.get("answer")),
        dataset="cag",
        passages=passages,
        supporting=supporting,
        meta={"source_id": optional_text(row, "id"), "date": optional_text(row, "q_date")},
    )


def parse_situatedqa(row: JsonRow) -> SourceRow:
    """SituatedQA, `qa_data/{temp,geo}.{train,dev,test}.jsonl` (https://github.com/mikejqzhang/SituatedQA):
    `{"question", "edited_question", "id", "date" or "location", "date_type", "answer": [...],
    "any_answer"}`. The edited question names its date or place and is the one that is asked; `any_answer` has
    answers of other dates and is no gold.
    """
    return make_row(
        text_at(row, "edited_question"),
        row_golds(row, row.get("answer")),
        dataset="situatedqa",
        meta={
            "source_id": optional_text(row, "id", "example_id"),
            "type": optional_text(row, "date_type"),
            "date": optional_text(row, "date"),
            "location": optional_text(row, "location"),
        },
    )


def parse_timeqa(row: JsonRow) -> SourceRow:
    """TimeQA, `{train,dev,test}.{easy,hard}.json` (https://github.com/wenhuchen/Time-Sensitive-QA), a row per
    line: `{"idx": "/wiki/Page#P39#0", "question", "context", "targets": [...]}`; no target, or an empty one,
    means that the article does not say. The article is one passage.
    """
    targets = row.get("targets")
    if not isinstance(targets, list):
        raise RowError("'targets' must be a list")
    index = optional_text(row, "idx")
    page = _PAGE.match(index)
    title = clean_title(unquote(page[1]).replace("_", " ")) if page else ""
    article = make_passage(title, optional_text(row, "context"))
    answers = row_golds(row, alias_texts(targets))
    return make_row(
        text_at(row, "question"),
        answers,
        dataset="timeqa",
        passages=[article],
        supporting=[article.id] if article and answers else [],
        answerable=bool(answers),
        meta={
            "source_id": index,
            "type": page[2] if page else "",
            "supporting_titles": [title] if title else [],
        },
    )


def parse_freshqa(row: JsonRow) -> SourceRow:
    """FreshQA, the published sheet as CSV (https://github.com/freshllms/freshqa): `id, split, question,
    effective_year, next_review, false_premise, num_hops, fact_type, source, answer_0, …, answer_9, note`. A
    question with a false premise has the correction as its gold.
    """
    golds = (row[name] for name in row if _ANSWER_COLUMN.fullmatch(name))
    return make_row(
        text_at(row, "question"),
        row_golds(row, *golds),
        dataset="freshqa",
        meta={
            "source_id": optional_text(row, "id"),
            "type": optional_text(row, "fact_type"),
            "date": optional_text(row, "effective_year"),
            "split": optional_text(row, "split"),
            "false_premise": optional_text(row, "false_premise").upper() == "TRUE",
        },
    )


def is_freshqa(row: JsonRow) -> bool:
    """Whether a row has the columns of FreshQA."""
    return "question" in row and "answer_0" in row and "fact_type" in row
