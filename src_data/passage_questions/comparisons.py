"""Questions that compare two subjects: which is earlier or larger, or whether a value is the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from src_data.passage_questions.facts import Fact
from src_data.passage_questions.made import Made, MadeHop, first_upper, pick, shuffled
from src_data.passage_questions.values import comparable, differ
from src_data.passage_questions.wording import Ask, ask_of, hop_of, subject_of
from src_data.passage_questions.world import World
from src_tasks.answer_tokens import tokens
from src_tasks.answers import normalize_answer

_PER_GROUP = 400
_IRREGULAR = ("series", "species", "people")


def comparisons(world: World, seed: int) -> Iterator[Made]:
    """Pairs of subjects of one noun with different dates or numbers; the first that is named is right as
    often as the second.
    """
    for (_, noun), facts in _groups(world).items():
        if not facts[0].relation.compared.less:
            continue
        ordered = shuffled(facts, seed, "compared", noun, facts[0].relation.name)
        for one, other in zip(ordered[::2], ordered[1::2], strict=False):
            yield from _which(world, seed, one, other)


def same_or_not(world: World, seed: int) -> Iterator[Made]:
    """Pairs with the same value, and as many with different ones."""
    for (_, noun), facts in _groups(world).items():
        if not facts[0].relation.compared.same:
            continue
        ordered = shuffled(facts, seed, "same", noun, facts[0].relation.name)
        by_value: defaultdict[tuple[str, ...], list[Fact]] = defaultdict(list)
        for fact in ordered:
            by_value[tokens(_year(fact))].append(fact)
        pairs = [
            (alike[at], alike[at + 1]) for alike in by_value.values() for at in range(0, len(alike) - 1, 2)
        ]
        pairs = pairs[:_PER_GROUP]
        for pair in pairs:
            yield from _whether(world, seed, *pair, answer="yes")
        unlike = [pair for pair in zip(ordered[::2], ordered[1::2], strict=False) if _unlike(*pair)]
        for pair in unlike[: len(pairs)]:
            yield from _whether(world, seed, *pair, answer="no")


def _groups(world: World) -> dict[tuple[str, str], list[Fact]]:
    """The facts by relation and noun of the subject."""
    found: defaultdict[tuple[str, str], list[Fact]] = defaultdict(list)
    for fact in world.all_facts():
        found[fact.relation.name, fact.entity.noun].append(fact)
    return found


def _which(world: World, seed: int, one: Fact, other: Fact) -> Iterator[Made]:
    order = differ(one.value, other.value)
    if not order:
        return
    key = (seed, "which", one.entity.id, other.entity.id, one.relation.name)
    compared = one.relation.compared
    least = pick([True, False], *key)
    wording = _worded(pick(compared.less if least else compared.more, *key), one)
    asked = _both(world, one, other, key)
    if asked is None:
        return
    question, hops = _filled(wording, one, other, asked, key)
    right = one if (order < 0) == least else other
    kind = "comparison"
    yield Made(
        kind, question, (right.entity.name,), hops, (one.relation.name, "earlier" if least else "later")
    )


def _whether(world: World, seed: int, one: Fact, other: Fact, *, answer: str) -> Iterator[Made]:
    key = (seed, "whether", one.entity.id, other.entity.id, one.relation.name)
    asked = _both(world, one, other, key)
    if asked is None:
        return
    wording = _worded(pick(one.relation.compared.same, *key), one)
    if one.relation.value == "date" and "year" not in wording:
        return
    question, hops = _filled(wording, one, other, asked, key)
    yield Made("yes_no", question, (answer,), hops, (one.relation.name, answer))


def _both(world: World, one: Fact, other: Fact, key: tuple[object, ...]) -> tuple[Ask, Ask] | None:
    """The same wording for both subjects."""
    first, second = ask_of(one, world, *key), ask_of(other, world, *key)
    if first is None or second is None:
        return None
    if first.question != second.question:
        second = second._replace(question=first.question, others=first.others, phrase=first.phrase)
        year = first.answers[0].isdigit() and len(first.answers[0]) == 4
        if year != second.answers[0].isdigit():
            return None
    return first, second


def _filled(
    wording: str, one: Fact, other: Fact, asked: tuple[Ask, Ask], key: tuple[object, ...]
) -> tuple[str, tuple[MadeHop, ...]]:
    names = [subject_of(fact.entity, *key, dated=False) for fact in (one, other)]
    if "{n}" in wording:  # the noun is in the question already
        names = [
            f"the {fact.entity.name}" if fact.entity.article else fact.entity.name for fact in (one, other)
        ]
    plural = f"{one.entity.noun}s"
    question = wording.replace("{n}s", plural).replace("{n}", one.entity.noun)
    question = question.replace("{a}", names[0]).replace("{b}", names[1])
    hops = tuple(hop_of(fact, ask, name) for fact, ask, name in zip((one, other), asked, names, strict=True))
    return first_upper(question), hops


def _worded(wording: str, fact: Fact) -> str:
    return wording.replace("the {n}s ", "") if fact.entity.noun in _IRREGULAR else wording


def _unlike(one: Fact, other: Fact) -> bool:
    """Whether two values are certainly different: no word is in both."""
    return not {*tokens(_year(one))} & {*tokens(_year(other))} and normalize_answer(
        one.value
    ) != normalize_answer(other.value)


def _year(fact: Fact) -> str:
    found = comparable(fact.value) if fact.relation.value == "date" else None
    return str(int(found[0])) if found else fact.value
