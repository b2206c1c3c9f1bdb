"""2WikiMultihopQA's evidence triples as hops: each (subject, relation, object) is a hop to its object."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rapidfuzz import fuzz

from src_core.types import Question
from src_data.annotated_teacher.decomposition import Decomposition, Hop, Kind, NoDecomposition, bare_title
from src_data.annotated_teacher.relations import put_subject, wording
from src_tasks.answers import normalize_answer

_COMPARISONS = frozenset({"comparison", "bridge_comparison"})
_POSSESSIVE = re.compile(r"['’]s\b")
_SAME_NAME = 90  # per cent
Triple = Sequence[str]


def decompose_evidences(question: Question) -> Decomposition | NoDecomposition:
    """One hop per triple. There are none when a subject is neither in the question nor found by an earlier
    hop: its query could not be understood by itself.
    """
    triples = question.meta.get("evidences") or ()
    if not triples or not question.answers:
        return NoDecomposition("no_evidence")
    hops: list[Hop] = []
    for triple in triples:
        subject = _subject(triple[0], triples[: len(hops)], question)
        if subject is None:
            return NoDecomposition("broken_evidence_chain")
        found = wording(triple[1])
        queries = tuple(put_subject(query, subject) for query in found.queries)
        hops.append(Hop(queries, (triple[2],), put_subject(found.goal, subject)))
    if question.meta.get("type") in _COMPARISONS:
        return Decomposition(tuple(hops), question.answers[0], Kind.COMPARISON, _compared(triples))
    aliases = tuple(dict.fromkeys((*hops[-1].answers, *question.answers)))
    last = Hop(hops[-1].queries, aliases, hops[-1].goal)
    return Decomposition((*hops[:-1], last), question.answers[0])


def _subject(name: str, before: Sequence[Triple], question: Question) -> str | None:
    """How to name the subject: `#k` when hop k found it, else as the question spells it out."""
    for number, triple in enumerate(before, start=1):
        if _same_name(triple[2], name):
            return f"#{number}"
    for title in (*question.meta.get("supporting_titles", ()), name):
        if _same_name(title, name) and _occurs(title, question.question):
            return str(title)
    return name if _occurs(bare_title(name), question.question) else None


def _compared(triples: Sequence[Triple]) -> tuple[int, ...]:
    """The hops whose values are compared: those of the last relation."""
    relation = triples[-1][1]
    return tuple(number for number, triple in enumerate(triples, start=1) if triple[1] == relation)


def _same_name(one: str, other: str) -> bool:
    """Equal but for a bracketed disambiguation, or one letter in ten ("Despinis eton 39" for the title
    "Despoinis eton 39"), or one is the other with a further name ("Kanye" for "Kanye West").
    """
    left, right = normalize_answer(bare_title(one)), normalize_answer(bare_title(other))
    if not left or not right:
        return False
    short, long = sorted((left.split(), right.split()), key=len)
    return long[: len(short)] == short or fuzz.ratio(left, right) >= _SAME_NAME


def _occurs(name: str, text: str) -> bool:
    """Word by word, with the text's possessives ("Wellington's") as they are or without their ending."""
    ours = normalize_answer(name)
    texts = (normalize_answer(text), normalize_answer(_POSSESSIVE.sub(" ", text)))
    return bool(ours) and any(f" {ours} " in f" {theirs} " for theirs in texts)
