"""FanOutQA, `fanout-final-dev.json` (https://github.com/zhudotexe/fanoutqa): a JSON array.

`{"id", "question", "answer": scalar | list of scalars | object of scalars, "categories": [...],
"decomposition": [{"id", "question", "answer", "depends_on": [id, ...], "evidence": {"pageid", "revid",
"title", "url"} | null, "decomposition": [...]}]}`; checked against the publisher's `fanoutqa/models.py`. The
test file has neither answers nor decompositions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from src_tasks.readers.base import (
    JsonRow,
    RowError,
    alias_texts,
    clean_title,
    make_row,
    optional_text,
    records,
    scalar_text,
    text_at,
    unique,
)
from src_tasks.readers.rows import SourceRow, SubQuestion, decomposition_meta

MAX_DEPTH = 16


def parse_fanoutqa(row: JsonRow) -> SourceRow:
    """A FanOutQA row. A list or an object is one answer in parts, not a list of aliases: it becomes one text,
    and the parts are kept in `meta["answer_parts"]`. The tree of sub-questions is flattened, children before
    their parent question.
    """
    answer = row.get("answer")
    hops = list(_hops(row.get("decomposition"), 0))
    return make_row(
        text_at(row, "question"),
        alias_texts(_answer_text(answer, 0)),
        dataset="fanoutqa",
        meta={
            "source_id": optional_text(row, "id"),
            "categories": list(alias_texts(row.get("categories"))),
            "answer_parts": answer if isinstance(answer, list | dict) else None,
            "supporting_titles": unique([hop.title for hop in hops]),
            "decomposition": decomposition_meta(hops),
        },
    )


def _answer_text(answer: Any, depth: int) -> str:
    """A scalar as it is, a list as "a, b", an object as "k: a, l: b"."""
    if depth > MAX_DEPTH:
        raise RowError(f"the answer is nested more than {MAX_DEPTH} deep")
    if isinstance(answer, list):
        return ", ".join(text for text in (_answer_text(item, depth + 1) for item in answer) if text)
    if isinstance(answer, dict):
        return ", ".join(f"{key}: {_answer_text(item, depth + 1)}" for key, item in answer.items())
    return scalar_text(answer)


def _hops(value: Any, depth: int) -> Iterator[SubQuestion]:
    if depth > MAX_DEPTH:
        raise RowError(f"the decomposition is nested more than {MAX_DEPTH} deep")
    for hop in records(value, "decomposition"):
        yield from _hops(hop.get("decomposition"), depth + 1)
        evidence = hop.get("evidence")
        title = optional_text(evidence, "title") if isinstance(evidence, dict) else ""
        answers = alias_texts(_answer_text(hop.get("answer"), 0))
        yield SubQuestion(text_at(hop, "question"), answers, clean_title(title))
