"""Hops that name their passages and sentences (`src_data.passage_questions`)."""

from __future__ import annotations

from src_core.types import Question
from src_data.annotated_teacher.decomposition import Decomposition, Hop, Kind, as_question, references
from src_tasks.answers import NO_ANSWER
from src_tasks.readers.rows import SubQuestion, decomposition


def names_its_passages(question: Question) -> bool:
    """Whether each hop names its passage and the sentence that tells its answer, or has no answer."""
    hops = decomposition(question)
    return bool(hops and question.answers) and all(
        hop.title and hop.answers and (hop.sentence or hop.answers == (NO_ANSWER,)) for hop in hops
    )


def decompose_passage_hops(question: Question) -> Decomposition:
    """The hops in order. Hops that do not refer to each other are compared."""
    hops = decomposition(question)
    kind = Kind.SINGLE if len(hops) == 1 else Kind.CHAIN
    if hops[-1].answers == (NO_ANSWER,):
        kind = Kind.ABSTAIN
    elif len(hops) > 1 and not any(references(hop.question) for hop in hops):
        kind = Kind.COMPARISON
    compared = tuple(range(1, len(hops) + 1)) if kind is Kind.COMPARISON else ()
    return Decomposition(tuple(map(_hop, hops)), question.answers[0], kind, compared, quoted=True)


def _hop(hop: SubQuestion) -> Hop:
    queries = tuple(dict.fromkeys(map(as_question, (hop.question, *hop.wordings))))
    return Hop(queries, hop.answers, hop.goal, title=hop.title, sentence=hop.sentence)
