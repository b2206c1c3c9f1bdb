"""How questions name a subject, and how a question and its sub-questions are worded."""

from __future__ import annotations

import re
from typing import NamedTuple

from src_data.passage_questions.entities import Entity
from src_data.passage_questions.facts import Fact
from src_data.passage_questions.made import MadeHop, aliases, pick, shuffled
from src_data.passage_questions.world import World
from src_tasks.support import query_key

_YEAR_ONLY = re.compile(r"^In (?:which|what) year\b|\byear (?:of|in)\b")
_WHOLE_DATE = re.compile(r"^(?:On (?:what|which) da|What is the (?:release )?date)")
_YEAR = re.compile(r"\b(?:1[0-9]|20)\d\d\b")
_PLACES = ("village", "town", "city")
_NAMED_ALONE = (
    "person",
    "settlement",
    "region",
    "species",
    "company",
    "team",
    "organisation",
    "asteroid",
)
_VERB = re.compile(r"^ (?:born|die|buried|educated|live|teach)\?$")
_LONG_CLAUSE = 5
_MOST_WORDS = 32


class Ask(NamedTuple):
    """A question with `{s}` for its subject, a noun phrase for what it asks for, other wordings of the
    question, and the answers to it.
    """

    question: str
    phrase: str
    others: tuple[str, ...]
    answers: tuple[str, ...]


def subject_of(entity: Entity, *key: object, dated: bool = True) -> str:
    """How a question names an entity: "the 1959 film Stars" (where it may be `dated`), "the chemist Ann Lee",
    "Aspermont, Texas".
    """
    bare = f"the {entity.name}" if entity.article else entity.name
    if entity.kind == "person":
        return pick([bare, bare, bare, bare, f"the {entity.noun} {entity.name}"], "subject", *key)
    if (
        entity.kind in _NAMED_ALONE
        or entity.noun in entity.name.lower()
        or entity.kind in ("nature", "building", "school")
    ):
        return bare
    named = f"the {entity.noun} {entity.name}"
    options = [named, named, bare if len(entity.name.split()) > 2 else named]
    year = _YEAR.search(entity.definition)
    if dated and year and entity.kind in ("film", "album", "book"):
        options.append(f"the {year[0]} {entity.noun} {entity.name}")
    return pick(options, "subject", *key)


def ask_of(fact: Fact, world: World, *key: object, phrase: bool = False) -> Ask | None:
    """One wording of the question for a fact; with `phrase` one that has a noun phrase. None where no wording
    fits the value.
    """
    linked = world.entity_of(fact)
    forms = [
        (ask, noun)
        for ask, noun in fact.relation.forms
        if (noun or not phrase)
        and _fits(ask, fact)
        and ("{t}" not in ask or _place_noun(linked))
        and ("{parent}" not in ask + noun or (linked and linked.gender))  # "the parent" may be either
    ]
    if not forms:
        return None
    ask, noun = pick(forms, "form", *key)
    slots = {"{t}": _place_noun(linked), **_by_gender(linked.gender if linked else "")}
    ask, noun = _filled(ask, slots), _filled(noun, slots)
    others = [
        other
        for other in (_filled(form, slots) for form, _ in forms)
        if query_key(other) != query_key(ask)  # the same words in another order are the same query
        and "{t}" not in other
        and not _WHOLE_DATE.search(other if _is_year(ask) else "")
        and (_is_year(ask) or not _is_year(other))
    ]
    year = _YEAR.search(fact.value)
    answers = (year[0],) if year and _is_year(ask) else aliases(fact, linked)
    return Ask(ask, noun, tuple(shuffled(others, "others", *key)[:2]), answers)


def hop_of(fact: Fact, ask: Ask, subject: str) -> MadeHop:
    """The hop that asks for a fact of `subject`, which is a name or `#k`."""
    return MadeHop(
        with_subject(ask.question, subject),
        ask.answers,
        fact.entity,
        fact.sentence,
        tuple(with_subject(other, subject) for other in ask.others),
        ask.phrase.replace("{s}", subject),
    )


def with_subject(question: str, subject: str, *, extraposed: bool = False) -> str:
    """`question` about `subject`. A subject with a clause may be parted: "In which town was the chemist born
    who discovered gallium?"
    """
    head, _, clause = subject.partition(" who ")
    before, _, after = question.partition("{s}")
    wanted = extraposed or len(clause.split()) > _LONG_CLAUSE
    if clause and wanted and _VERB.search(after) and " who " not in clause:
        return f"{before}{head}{after.rstrip('?')} who {clause}?"
    plain = question.replace("{s}", subject)
    return plain[:1].upper() + plain[1:]


def nested(question: str, phrase: str) -> bool:
    """Whether a question can be asked about a noun phrase: two verbs in a row are hard to read ("the person
    by whom it was made died"), so a phrase that ends in one is asked about at the end of a question only.
    "'s" behind a phrase of several words is hard to read too.
    """
    return "{s}'s" not in question and (phrase.endswith("{s}") or question.endswith("{s}?"))


def speakable(question: str) -> bool:
    """Whether a question is short enough and has no phrase twice in a row."""
    words = question.split()
    return len(words) <= _MOST_WORDS and not re.search(r"\b(\w+ \w+ \w+) \1\b", question)


def _fits(ask: str, fact: Fact) -> bool:
    if fact.relation.value != "date":
        return True
    whole = not re.fullmatch(r"\d{4}", fact.value)
    return whole or not _WHOLE_DATE.search(ask)


def _is_year(ask: str) -> bool:
    return bool(_YEAR_ONLY.search(ask))


def _filled(text: str, slots: dict[str, str]) -> str:
    for slot, value in slots.items():
        text = text.replace(slot, value)
    return text


def _by_gender(gender: str) -> dict[str, str]:
    """The words for a person of that gender ("" where it is not known) in place of their slots."""
    words = {
        "{who}": ("the man", "the woman", "the person"),
        "{parent}": ("father", "mother", "parent"),
        "{sibling}": ("brother", "sister", "sibling"),
        "{spouse}": ("husband", "wife", "spouse"),
        "{uncle}": ("uncle", "aunt", "uncle or aunt"),
    }
    column = {"man": 0, "woman": 1}.get(gender, 2)
    return {slot: forms[column] for slot, forms in words.items()}


def _place_noun(linked: Entity | None) -> str:
    return linked.noun if linked and linked.noun in _PLACES else ""
