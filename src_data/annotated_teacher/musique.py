"""MuSiQue's decompositions as hops: natural sub-questions and `subject >> relation` hops, with `#k`
references.
"""

from __future__ import annotations

from src_core.types import Question
from src_data.annotated_teacher.decomposition import (
    Decomposition,
    Hop,
    NoDecomposition,
    as_clause,
    as_question,
)
from src_data.annotated_teacher.relations import put_subject, wording
from src_tasks.readers.rows import SubQuestion, decomposition


def decompose_sub_questions(question: Question) -> Decomposition | NoDecomposition:
    """The annotated hops in order; the last hop's aliases are the question's own."""
    hops = decomposition(question)
    if not hops:
        return NoDecomposition("no_decomposition")
    if not question.answers:
        return NoDecomposition("no_answer")
    made = [_hop(hop) for hop in hops[:-1]]
    last = _hop(hops[-1])
    aliases = tuple(dict.fromkeys((*last.answers, *question.answers)))
    return Decomposition((*made, Hop(last.queries, aliases, last.goal, last.indirect)), question.answers[0])


def _hop(hop: SubQuestion) -> Hop:
    subject, arrow, relation = (part.strip() for part in hop.question.partition(">>"))
    if not arrow:
        query = as_question(hop.question)
        return Hop((query,), hop.answers, as_clause(query), indirect=True)
    found = wording(relation)
    queries = tuple(put_subject(query, subject) for query in found.queries)
    return Hop(queries, hop.answers, put_subject(found.goal, subject))
