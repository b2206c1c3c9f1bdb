"""A question of one fact (NQ, TriviaQA, PopQA, …): one hop, which teaches to stop after one search."""

from __future__ import annotations

import re

from src_core.types import Question
from src_data.annotated_teacher.decomposition import (
    Decomposition,
    Hop,
    Kind,
    NoDecomposition,
    as_clause,
    as_question,
)

_LAST_WORD = re.compile(r"^(who|when|where)\b", re.IGNORECASE)


def decompose_single(question: Question) -> Decomposition | NoDecomposition:
    """The question itself as the only hop; a second wording states what kind of thing is sought."""
    if not question.answers:
        return NoDecomposition("no_answer")
    query = as_question(question.question)
    again = _LAST_WORD.sub(_spelt_out, query)
    queries = (query,) if again == query else (query, as_question(again))
    hop = Hop(queries, question.answers, as_clause(query), indirect=True)
    return Decomposition((hop,), question.answers[0], Kind.SINGLE)


def _spelt_out(match: re.Match[str]) -> str:
    return {"who": "Which person", "when": "In which year", "where": "In which place"}[match[1].lower()]
