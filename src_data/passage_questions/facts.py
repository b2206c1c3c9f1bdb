"""The facts that patterns find in what a passage says of its subject: at most one value per relation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from src_data.passage_questions.entities import Entity
from src_data.passage_questions.reading import pattern
from src_data.passage_questions.relation import Relation, all_relations
from src_tasks.answer_tokens import contains, tokens

_OTHERS = re.compile(
    r"\b(?:who|which|whose|whom|where|that|when|remake|sequel|prequel|adaptation|version|son|daughter|wife|husband"
    r"|brother|sister|father|mother|student|pupil|named|nephew|niece|novel|book|play|album|song)\b|\""
)
"""Before a match in a definition these words show that it says something of somebody else."""
_VAGUE = re.compile(r"^(?:The|He|She|It|\W*)$|\b(?:[A-Z]|St|and|the|of)$|'s |-member\b")
_FIRM = re.compile(
    r"\b(?:Pictures|Movies?|Films?|Studios?|Productions?|Compan(?:y|ies)|Entertainment|Records|Association|Architects"
    r"|Inc|Ltd|Corporation|Group|Brothers|Bros|Television|Media|University|Network|Press|Party|Church|Mortals"
    r"|Government|Council|Society|Band|Orchestra|Theatre|Army|Navy|Partners|Associates|Team|Games|Interactive"
    r"|Software|Club|County|River|Creek|Island|Lake|Park|TV|BBC|School|College|Institute|Foundation|Channel)\b"
)
_MAX_VALUE = 60


@dataclass(frozen=True, slots=True)
class Fact:
    """One relation's value for one entity, with the sentence that says it."""

    entity: Entity
    relation: Relation
    value: str
    sentence: str


def facts_of(entity: Entity) -> list[Fact]:
    """The facts of one entity. A relation with two different values is left out."""
    found: list[Fact] = []
    for relation in all_relations():
        if not relation.fits(entity.kind):
            continue
        values = {tokens(value): (value, sentence) for value, sentence in _matches(relation, entity)}
        merged = [key for key in values if not any(key != other and contains(other, key) for other in values)]
        if len(merged) == 1:
            value, sentence = values[merged[0]]
            firm = relation.value == "person" and _FIRM.search(value)
            if firm or tokens(value) == tokens(entity.name):
                continue
            found.append(Fact(entity, relation, value, sentence))
    return found


def _matches(relation: Relation, entity: Entity) -> Iterator[tuple[str, str]]:
    for source in relation.brackets:
        yield from _values(source, entity.brackets, entity.predicates[0].sentence)
    for predicate in entity.predicates:
        for source in relation.lead if predicate.lead else relation.body:
            noun = entity.noun if predicate.lead else ""
            yield from _values(source, predicate.text, predicate.sentence, noun=noun)


def _values(source: str, text: str, sentence: str, *, noun: str = "") -> Iterator[tuple[str, str]]:
    """The value of a pattern. In a definition (with its `noun`) no other thing stands between both."""
    match = pattern(source).search(text)
    if match is None:
        return
    between = text[: match.start()].partition(noun)[2] if noun else ""
    if _OTHERS.search(between):
        return
    value = match["v"].strip(" ,\"'")
    if 1 < len(value) <= _MAX_VALUE and not _VAGUE.search(value) and value in sentence:
        yield value, sentence
