"""A teacher that follows a question's annotation: its decomposition into hops, one planner per kind of
annotation (`decomposition`), the thoughts (`thought_templates`), and the steps (`teacher`).
"""

from __future__ import annotations

from dataclasses import replace

from src_core.types import Question
from src_data.annotated_teacher.decomposition import NoPlan, Plan
from src_data.annotated_teacher.hotpotqa import plan_supporting_facts
from src_data.annotated_teacher.musique import plan_decomposition
from src_data.annotated_teacher.single import plan_single
from src_data.annotated_teacher.twowiki import plan_evidences

_SINGLE_HOP = frozenset({"nq", "triviaqa", "popqa", "webquestions"})


def plan(question: Question) -> Plan | NoPlan:
    """The plan that the best annotation of `question` gives, with the titles of its supporting passages."""
    made = _plan(question)
    titles = tuple(question.meta.get("supporting_titles", ()))
    return replace(made, titles=titles) if isinstance(made, Plan) else made


def _plan(question: Question) -> Plan | NoPlan:
    """Evidence triples before sub-questions (their answers are values, not sentences), those before
    supporting facts; single-hop sets need none.
    """
    if question.meta.get("evidences"):
        return plan_evidences(question)
    if question.meta.get("decomposition"):
        return plan_decomposition(question)
    if question.meta.get("dataset") in _SINGLE_HOP:
        return plan_single(question)
    if question.meta.get("supporting_titles"):
        return plan_supporting_facts(question)
    return NoPlan("no_annotation")
