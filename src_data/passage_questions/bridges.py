"""Questions about one fact, and about the fact of something that other facts lead to (two and three hops)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from src_data.passage_questions.descriptions import description_of
from src_data.passage_questions.entities import Entity
from src_data.passage_questions.facts import Fact
from src_data.passage_questions.made import Made, MadeHop, pick
from src_data.passage_questions.wording import ask_of, hop_of, nested, subject_of, with_subject
from src_data.passage_questions.world import World

_TOO_EASY = frozenset({"nationality", "profession"})
"""What the first words of a definition tell, and mostly those of a question too."""
_SAME_FACT = frozenset(
    frozenset(pair)
    for pair in (
        ("director", "screenwriter"), ("spouse", "spouse"), ("sibling", "sibling"), ("parent", "parent"),
        ("basis", "writer of the basis"), ("county", "county seat"), ("birthplace", "place of death"),
        ("setting", "setting"), ("location", "location"), ("owner", "owner"), ("namesake", "namesake"),
    )
)  # fmt: skip


def singles(world: World, seed: int) -> Iterator[Made]:
    """One question per fact."""
    for fact in world.all_facts():
        key = (seed, "single", fact.entity.id, fact.relation.name)
        ask = ask_of(fact, world, *key)
        if ask is None or fact.relation.name in _TOO_EASY:
            continue
        hop = hop_of(fact, ask, subject_of(fact.entity, *key, dated=fact.relation.value != "date"))
        yield Made("single", hop.question, hop.answers, (hop,), (fact.relation.name,))


def bridges(world: World, seed: int) -> Iterator[Made]:
    """Each way of two or three facts, whose every value is the subject of the next one."""
    for first in world.all_facts():
        middle = world.entity_of(first)
        if middle is None:
            continue
        for second in world.facts[middle.id]:
            yield from _made(world, seed, (first, second))
            last = world.entity_of(second)
            if last is not None and last.id != first.entity.id:
                for third in world.facts[last.id]:
                    yield from _made(world, seed, (first, second, third))


def _made(world: World, seed: int, facts: tuple[Fact, ...]) -> Iterator[Made]:
    names = tuple(fact.relation.name for fact in facts)
    if (
        names[-1] == "profession"
        or any(frozenset(pair) in _SAME_FACT for pair in pairwise(names))
        or len(set(names)) < len(names)
    ):
        return
    key = (seed, "bridge", facts[0].entity.id, *names)
    subject = subject_of(facts[0].entity, *key)
    hops: list[MadeHop] = []
    phrase, template = subject, "{s}"
    for at, fact in enumerate(facts[:-1]):
        ask = ask_of(fact, world, *key, at, phrase=True)
        if ask is None or (at and not ask.phrase.endswith("{s}")):
            return
        template = ask.phrase
        hops.append(hop_of(fact, ask, f"#{at}" if at else subject))
        phrase = ask.phrase.replace("{s}", phrase)
    last = ask_of(facts[-1], world, *key, "last")
    if last is None or not nested(last.question, template):
        return
    hops.append(hop_of(facts[-1], last, f"#{len(hops)}"))
    question = with_subject(last.question, phrase, extraposed=pick([True, False], "extraposed", *key))
    if _told(facts, question):
        return
    yield Made(f"bridge {len(hops)}", question, last.answers, tuple(hops), names)


def _told(facts: tuple[Fact, ...], question: str) -> bool:
    """Whether the question itself or the passage of the first hop holds the answer."""
    value = facts[-1].value.lower()
    return value in question.lower() or value in facts[0].entity.text.lower()


def described(world: World, seed: int) -> Iterator[Made]:
    """Questions that name a person by what the definition says of him or her: who it is, and a fact of
    that person.
    """
    for entity in world.entities.values():
        found = description_of(entity)
        if found is None:
            continue
        key = (seed, "described", entity.id)
        question = pick(found.questions, *key)
        others = tuple(other for other in found.questions if other != question)
        first = MadeHop(question, (entity.name,), entity, found.sentence, others, found.phrase)
        yield Made("described 1", first.question, first.answers, (first,), ("description",))
        yield from _facts_of_described(world, entity, first, found.phrase, key)


def _facts_of_described(
    world: World, entity: Entity, first: MadeHop, phrase: str, key: tuple[object, ...]
) -> Iterator[Made]:
    for fact in world.facts[entity.id]:
        ask = ask_of(fact, world, *key, fact.relation.name)
        if ask is None or fact.value.lower() in phrase.lower() or fact.relation.name in _TOO_EASY:
            continue
        if not nested(ask.question, "{s}"):
            continue
        question = with_subject(
            ask.question, phrase, extraposed=pick([True, True, False], *key, fact.relation.name)
        )
        hops = (first, hop_of(fact, ask, "#1"))
        yield Made("described 2", question, ask.answers, hops, ("description", fact.relation.name))
        yield from _behind_described(world, first, fact, phrase, key)


def _behind_described(
    world: World, first: MadeHop, fact: Fact, phrase: str, key: tuple[object, ...]
) -> Iterator[Made]:
    linked = world.entity_of(fact)
    ask = ask_of(fact, world, *key, fact.relation.name, "on", phrase=True)
    if linked is None or ask is None or not ask.phrase.endswith("{s}"):
        return
    for last in world.facts[linked.id]:
        final = ask_of(last, world, *key, fact.relation.name, last.relation.name)
        if final is None or last.value.lower() in f"{phrase} {fact.entity.text}".lower():
            continue
        if not nested(final.question, "{s}"):
            continue
        question = with_subject(final.question, ask.phrase.replace("{s}", phrase))
        hops = (first, hop_of(fact, ask, "#1"), hop_of(last, final, "#2"))
        names = ("description", fact.relation.name, last.relation.name)
        yield Made("described 3", question, final.answers, hops, names)
