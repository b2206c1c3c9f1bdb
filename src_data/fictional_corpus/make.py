"""From the tables to a corpus: things, their links, their passages."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from pathlib import Path

import orjson

from src_core.errors import UserError
from src_core.jsonl import rewrite_jsonl
from src_data.fictional_corpus.config import FictionConfig, Kind, Link, names, things
from src_data.fictional_corpus.thing import Thing, new_name, new_person, words_of
from src_data.passage_questions.world import name_key

_SLOT = re.compile(r"\{(\w+)(?:\.(\w+))?\}")
_PERSON_YEARS = (1690, 1925)
_YEARS = (1760, 1990)
_WORKING = (22, 65)
"""The age at which somebody makes a thing."""
_TRIES = 200
_KEPT = 0.85
"""How many of the lists of a body have a sentence in a passage."""
_AN = re.compile(r"\b([Aa]) (?=[aeioAEIO]|18\d\d\b)")
_SAYS_NOTHING = frozenset({"name", "He", "his", "noun", "nation", "son", "nephew"})
"""Slots that are no fact of their own."""


class Fiction:
    """The world of one seed."""

    def __init__(self, config: FictionConfig) -> None:
        self._draw = random.Random(f"fiction/{config.seed}")
        self._names: set[str] = set()
        self.things: list[Thing] = []
        self._of_kind: defaultdict[str, list[Thing]] = defaultdict(list)
        self._inverse: defaultdict[tuple[str, int], list[Thing]] = defaultdict(list)
        self._made: defaultdict[int, list[tuple[str, Thing]]] = defaultdict(list)
        self._kinds = things().kinds
        for name, kind in self._kinds.items():
            for _ in range(max(1, round(kind.count * config.scale))):
                self._add(name, kind)
        for thing in sorted(self.things, key=lambda each: (not each.is_person, each.year)):
            self._link(thing, self._kinds[thing.kind])
        for thing in self.things:
            self._link_back(thing, self._kinds[thing.kind])

    def _add(self, name: str, kind: Kind) -> None:
        draw = self._draw
        noun = draw.choice(kind.professions or kind.nouns)
        first, last = _PERSON_YEARS if name == "person" else _YEARS
        thing = Thing(
            name,
            noun,
            draw.choice(names().languages),
            draw.random() < 0.5,
            draw.randrange(kind.since.get(noun, first), last),
            article=kind.article,
        )
        self._named(thing, kind)
        thing.words = words_of(thing, draw)
        self.things.append(thing)
        self._of_kind[name].append(thing)

    def _named(self, thing: Thing, kind: Kind) -> None:
        """A name that no other thing has."""
        for _ in range(_TRIES):
            new_person(thing, self._draw)
            name = new_name(thing, kind.title, self._draw)
            if name_key(name) not in self._names:
                self._names.add(name_key(name))
                thing.name = name
                return
        raise UserError(
            f"there are not enough names for so many things of the kind {thing.kind}; lower scale="
        )

    def _link(self, thing: Thing, kind: Kind) -> None:
        """Fill the slots that name a kind. What is made gets its year from its maker."""
        ordered = sorted(kind.links.items(), key=lambda item: not item[1].maker)
        for slot, link in ordered:
            if not link.kind or slot in thing.slots or self._draw.random() >= link.share:
                continue
            found = self._chosen(thing, slot, link)
            if found is None:
                continue
            thing.slots[slot] = found
            self._inverse[slot, id(found)].append(thing)
            if link.mutual:
                found.slots[slot] = thing
                self._inverse[slot, id(thing)].append(found)
            if link.maker:
                thing.year = found.year + self._draw.randrange(*_WORKING)
                thing.words = words_of(thing, self._draw)
                self._made[id(found)].append((link.maker, thing))
            if link.surname:
                self._rename(thing, found)

    def _chosen(self, thing: Thing, slot: str, link: Link) -> Thing | None:
        professions = tuple(thing.noun if name == "same" else name for name in link.professions)
        fitting = [
            other
            for other in self._of_kind[link.kind]
            if other is not thing
            and other not in thing.slots.values()
            and (not professions or other.noun in professions)
            and _in_time(thing, other, link)
            and not (link.mutual and (slot in other.slots or other.woman == thing.woman))
        ]
        return self._draw.choice(fitting) if fitting else None

    def _rename(self, thing: Thing, parent: Thing) -> None:
        """A child has the surname and the language of its parent, where that name is free."""
        language = parent.language
        given = self._draw.choice(language.women if thing.woman else language.men)
        name = f"{given} {parent.surname}"
        if name_key(name) not in self._names:
            self._names.add(name_key(name))
            thing.name, thing.surname, thing.language = name, parent.surname, language
            thing.words["nation"] = parent.words["nation"]

    def _link_back(self, thing: Thing, kind: Kind) -> None:
        """Fill the slots with those that are linked to `thing`."""
        for slot, link in kind.links.items():
            if link.named and self._inverse[link.named, id(thing)]:
                thing.slots[slot] = self._draw.choice(self._inverse[link.named, id(thing)])
            if link.made and self._made[id(thing)]:
                verb, work = self._draw.choice(self._made[id(thing)])
                thing.words |= {"made": verb, slot: work.with_noun()}

    def passage(self, thing: Thing) -> str:
        """The text of a thing's passage."""
        kind, draw = self._kinds[thing.kind], self._draw
        groups = [group for group in kind.body if draw.random() < _KEPT]
        stated: set[str] = set()
        chosen = [self._sentence(thing, group, stated) for group in (kind.lead, *groups)]
        return " ".join(text for text in chosen if text)

    def _sentence(self, thing: Thing, options: tuple[str, ...], stated: set[str]) -> str:
        """One of `options` whose slots can be filled and say more than was `stated`; "" for none."""
        for option in self._draw.sample(options, len(options)):
            slots = [match.groups() for match in _SLOT.finditer(option)]
            facts = {slot for slot, _ in slots} - _SAYS_NOTHING
            if facts and facts <= stated:
                continue
            if all(_value(thing, *slot) for slot in slots):
                stated |= facts
                text = _SLOT.sub(lambda match: _value(thing, *match.groups()), option)
                text = _AN.sub(r"\1n ", text)
                return text[0].upper() + text[1:]
        return ""


def _in_time(thing: Thing, other: Thing, link: Link) -> bool:
    """Whether the years of two linked things allow the link."""
    if link.older is not None:
        return link.older[0] <= thing.year - other.year <= link.older[1]
    if not other.is_person or link.maker or thing.is_person:
        return True
    return _WORKING[0] <= thing.year - other.year <= _WORKING[1]


def _value(thing: Thing, slot: str, word: str | None) -> str:
    """What stands for `{slot}` or `{slot.word}` in a sentence about `thing`; "" where the slot is empty."""
    if slot == "name":
        return thing.name
    linked = thing.slots.get(slot)
    if linked is None:
        return thing.words.get(slot, "")
    return linked.words.get(word, "") if word else linked.shown()


def make_corpus(config: FictionConfig) -> int:
    """Write the corpus to `config.out`. Returns the number of passages. Raises `UserError` for an existing
    output.
    """
    out = Path(config.out)
    if out.exists() and not config.overwrite:
        raise UserError(f"{out} exists; choose another name with out=, or set overwrite=true")
    fiction = Fiction(config)
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = (
        orjson.dumps({"id": f"fw-{at:05}", "contents": f"{thing.name}\n{fiction.passage(thing)}"})
        for at, thing in enumerate(fiction.things, 1)
    )
    rewrite_jsonl(out, rows)
    return len(fiction.things)
