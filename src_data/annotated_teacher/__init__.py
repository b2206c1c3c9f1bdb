"""A teacher that follows a question's annotation: its decomposition into hops (one module per kind of
annotation), the thoughts (`thought_templates`) and the steps (`teacher`).
"""

from __future__ import annotations

from dataclasses import replace

from src_core.types import Question
from src_data.annotated_teacher.decomposition import Decomposition, NoDecomposition
from src_data.annotated_teacher.hotpotqa import decompose_supporting_facts
from src_data.annotated_teacher.musique import decompose_sub_questions
from src_data.annotated_teacher.passage_hops import decompose_passage_hops, names_its_passages
from src_data.annotated_teacher.single import decompose_single
from src_data.annotated_teacher.twowiki import decompose_evidences

_SINGLE_HOP = frozenset({"nq", "triviaqa", "popqa", "webquestions"})


def decompose(question: Question) -> Decomposition | NoDecomposition:
    """The hops from the most detailed annotation of `question`, with its supporting titles; or the reason why
    there are none.
    """
    found = _decompose(question)
    titles = tuple(question.meta.get("supporting_titles", ()))
    return replace(found, titles=titles) if isinstance(found, Decomposition) else found


def _decompose(question: Question) -> Decomposition | NoDecomposition:
    """Evidence triples are used before sub-questions (their answers are values, not sentences), and
    sub-questions before supporting facts; single-hop sets need no annotation.
    """
    if question.meta.get("evidences"):
        return decompose_evidences(question)
    if names_its_passages(question):
        return decompose_passage_hops(question)
    if question.meta.get("decomposition"):
        return decompose_sub_questions(question)
    if question.meta.get("dataset") in _SINGLE_HOP:
        return decompose_single(question)
    if question.meta.get("supporting_titles"):
        return decompose_supporting_facts(question)
    return NoDecomposition("no_annotation")
