"""StrategyQA, `strategyqa_train.json` (https://allenai.org/data/strategyqa): a JSON array.

`{"qid", "term", "description", "question", "answer": true | false, "facts": [...], "decomposition":
[question, ...], "evidence": [per annotator: [per step: [["Title-3", ...] | "operation" | "no_evidence",
...]]]}`; checked against the publisher's own reader (https://github.com/eladsegal/strategyqa). Hub copies
hold `facts` as one text and drop the decomposition. The evidence paragraphs are in a separate file.
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
    text_at,
    unique,
)
from src_tasks.readers.rows import SourceRow, SubQuestion, decomposition_meta


def parse_strategyqa(row: JsonRow) -> SourceRow:
    """A StrategyQA row; the truth value becomes yes or no. Sub-answers are not annotated."""
    answer = row.get("answer")
    if not isinstance(answer, bool):
        raise RowError(f"'answer' must be true or false, found {answer!r:.60}")
    steps = row.get("decomposition") or []
    if not isinstance(steps, list) or not all(isinstance(step, str) and step.strip() for step in steps):
        raise RowError("'decomposition' must be a list of questions")
    titles = _titles_by_step(row.get("evidence"), len(steps))
    hops = [SubQuestion(step.strip(), (), next(iter(titles[at]), "")) for at, step in enumerate(steps)]
    return make_row(
        text_at(row, "question"),
        alias_texts(answer),
        dataset="strategyqa",
        meta={
            "source_id": optional_text(row, "qid"),
            "facts": list(alias_texts(row.get("facts"))),
            "supporting_titles": unique([title for step in titles for title in step]),
            "decomposition": decomposition_meta(hops),
        },
    )


def _titles_by_step(evidence: Any, steps: int) -> list[list[str]]:
    """The page titles that the annotators cite for each step; `Title-3` is paragraph 3 of a page."""
    found: list[list[str]] = [[] for _ in range(steps)]
    for annotator in _list_of_lists(evidence or []):
        for titles, step in zip(found, annotator, strict=False):
            cited = [page for item in step if isinstance(item, list) for page in item]
            titles += [clean_title(str(page).rpartition("-")[0]) for page in cited]
    return [unique(titles) for titles in found]


def _list_of_lists(evidence: Any) -> list[list[list[Any]]]:
    whole = isinstance(evidence, list) and all(
        isinstance(annotator, list) and all(isinstance(step, list) for step in annotator)
        for annotator in evidence
    )
    if not whole:
        raise RowError("'evidence' must be a list of steps per annotator")
    steps: list[list[list[Any]]] = evidence
    return steps
