"""Questions that no passage of the corpus answers: a passage tells much of a thing, but not this.

Words decide whether a passage tells it: none that names the thing may hold any word with which the
answer might be told. So a question is left out rather than asked in vain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from src_data.passage_questions.asked import ASKED
from src_data.passage_questions.entities import Entity
from src_data.passage_questions.facts import Fact
from src_data.passage_questions.made import Made, MadeHop, pick, shuffled
from src_data.passage_questions.relation import Relation, all_relations, all_untold
from src_data.passage_questions.wording import ask_of, hop_of, nested, subject_of, with_subject
from src_data.passage_questions.world import World
from src_tasks.answers import NO_ANSWER
from src_tasks.support import query_key

_OF_THE_DEAD = frozenset({"death date", "place of death", "grave"})
_MIN_CHARS = 120
_FEW = 40
_OTHERS = 12
_STEM = 4  # "driving" and "drive"
_WORD = re.compile(r"[a-z]{4,}")
_NOT_TELLING = frozenset(
    ["what", "which", "when", "where", "whom", "whose", "does", "were", "have", "with", "from"]
)


def untold(world: World, seed: int) -> Iterator[Made]:
    """Questions about one thing, in an order that the seed decides."""
    for entity in shuffled([*world.entities.values()], seed, "untold"):
        if len(entity.text) < _MIN_CHARS:
            continue
        options = _missing(world, entity)
        if options:
            name, question, again = pick(options, seed, "untold", entity.id)
            subject = subject_of(entity, seed, "untold", entity.id)
            hop = _hop(entity, question, again, subject)
            yield Made("unanswerable 1", hop.question, (NO_ANSWER,), (hop,), ("untold", name))


def untold_behind(world: World, seed: int) -> Iterator[Made]:
    """Questions about what a fact leads to, in an order that the seed decides."""
    for fact in shuffled([*world.all_facts()], seed, "behind"):
        linked = world.entity_of(fact)
        if linked is not None:
            yield from _behind(world, seed, fact, linked)


def _behind(world: World, seed: int, fact: Fact, linked: Entity) -> Iterator[Made]:
    key = (seed, "untold", fact.entity.id, fact.relation.name)
    ask = ask_of(fact, world, *key, phrase=True)
    options = _missing(world, linked)
    if ask is None or not options:
        return
    name, question, again = pick(options, *key)
    if not nested(question, ask.phrase):
        return
    subject = subject_of(fact.entity, *key)
    first = hop_of(fact, ask, subject)
    text = with_subject(question, ask.phrase.replace("{s}", subject))
    hops = (first, _hop(linked, question, again, "#1"))
    yield Made("unanswerable 2", text, (NO_ANSWER,), hops, (fact.relation.name, name))


def _hop(entity: Entity, question: str, again: str, subject: str) -> MadeHop:
    wordings = (with_subject(again, subject),) if again else ()
    return MadeHop(with_subject(question, subject), (NO_ANSWER,), entity, "", wordings)


def _missing(world: World, entity: Entity) -> list[tuple[str, str, str]]:
    """(name, question, other wording) of what no passage that names the entity tells."""
    rows = world.naming(entity.name)
    if len(rows) > _FEW:
        return []
    text = "\n".join(f"{row.title} {row.text}" for row in rows)
    found = [
        (each.question, each.question, each.again, each.hints)
        for each in all_untold()
        if entity.kind in each.kinds
    ]
    for relation in _unstated(world, entity):
        plain = [ask for ask, _ in relation.forms if "{" not in ask.replace("{s}", "")]
        asks = {query_key(ask): ask for ask in reversed(plain)}
        again, first, *_ = [*asks.values()][-2:]
        found.append((relation.name, first, again, relation.hints))
    found += _asked_of_others(world, entity)
    return [
        (name, question, again)
        for name, question, again, hints in found
        if not re.search(hints, text, re.IGNORECASE)
    ]


def _asked_of_others(world: World, entity: Entity) -> Iterator[tuple[str, str, str, str]]:
    """What a model asked about things of the same noun. Any longer word of the question might tell it."""
    asked = [
        fact.relation.forms[0][0]
        for fact in world.asked
        if fact.entity.noun == entity.noun and fact.entity.id != entity.id
    ]
    for question in shuffled(asked, "asked of others", entity.id)[:_OTHERS]:
        words = [
            word for word in _WORD.findall(question.replace("{s}", "").lower()) if word not in _NOT_TELLING
        ]
        if words:
            yield f"{ASKED}of others", question, "", "|".join(rf"\b{word[:_STEM]}" for word in words)


def _unstated(world: World, entity: Entity) -> Iterator[Relation]:
    """The relations that an entity could have and for which no fact was found."""
    known = {fact.relation.name for fact in world.facts[entity.id]}
    dead = entity.predicates[0].text.startswith("was ")
    for relation in all_relations():
        usual = relation.common and relation.hints and entity.kind in relation.kinds
        if usual and relation.name not in known and (dead or relation.name not in _OF_THE_DEAD):
            yield relation
