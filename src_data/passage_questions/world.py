"""The entities of a corpus with their facts, and which passages name something."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from src_data.annotated_teacher.decomposition import bare_title
from src_data.filters.leaks import find_leak
from src_data.passage_questions.entities import Entity, read_entity
from src_data.passage_questions.facts import Fact, facts_of
from src_tasks.answers import normalize_answer

_WORD = re.compile(r"\w+")
_BAD_TITLE = re.compile(r"[&;|#{}<>?]|^List of|^\W")
_MARKUP = re.compile(r"<\w|\{\{|\[\[|&\w+;|https?:")
_MAKERS = frozenset(
    [
        "director",
        "actor",
        "actress",
        "producer",
        "writer",
        "screenwriter",
        "filmmaker",
        "novelist",
        "author",
        "poet",
        "playwright",
        "composer",
        "musician",
        "singer",
        "songwriter",
        "rapper",
        "pianist",
        "guitarist",
        "conductor",
        "cinematographer",
        "editor",
        "comedian",
        "animator",
        "choreographer",
        "dancer",
        "illustrator",
        "painter",
        "sculptor",
        "cartoonist",
        "journalist",
        "architect",
        "librettist",
        "lyricist",
        "host",
        "presenter",
        "photographer",
        "entertainer",
        "vocalist",
        "designer",
    ]
)
_YEAR = re.compile(r"\b(?:1[0-9]|20)\d\d\b")
_YOUNGEST = 12


class Row(NamedTuple):
    """One passage of the corpus."""

    id: str
    title: str
    text: str


class World:
    """All that is known of a corpus. `blocked` are normalised names that no question may be about. With
    `unique_names` a name is always that of the passage with this title.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        *,
        blocked_ids: Iterable[str],
        blocked: Iterable[str],
        unique_names: bool = False,
    ) -> None:
        self.rows, self._unique = rows, unique_names
        self.blocked = frozenset(blocked)
        blocked_rows = frozenset(blocked_ids)
        titles = Counter(name_key(row.title) for row in rows)
        self.entities: dict[str, Entity] = {}
        self.facts: dict[str, list[Fact]] = {}
        self.asked: list[Fact] = []
        for row in rows:
            key = name_key(row.title)
            left_out = titles[key] > 1 or key in self.blocked or row.id in blocked_rows
            if left_out or _BAD_TITLE.search(row.title) or _MARKUP.search(row.text):
                continue
            entity = None if find_leak(row.text) else read_entity(row.id, row.title, row.text)
            if entity is not None:
                self.entities[key] = entity
                self.facts[entity.id] = facts_of(entity)
        self._holding: defaultdict[str, list[int]] = defaultdict(list)
        for at, row in enumerate(rows):
            for word in {word.lower() for word in _WORD.findall(f"{row.title} {row.text}")}:
                self._holding[word].append(at)

    def add_asked(self, facts: Iterable[Fact]) -> None:
        """Further facts about entities of this world, which a model asked for."""
        for fact in facts:
            self.facts[fact.entity.id].append(fact)
            self.asked.append(fact)

    def all_facts(self) -> Iterator[Fact]:
        """Every fact, in the order of the corpus."""
        return (fact for facts in self.facts.values() for fact in facts)

    def naming(self, name: str) -> list[Row]:
        """The passages that hold `name`, in any spelling of its marks, in title or text."""
        words = [word.lower() for word in _WORD.findall(name)]
        if not words:
            return []
        rarest = min(words, key=lambda word: len(self._holding.get(word, ())))
        wanted = f" {' '.join(words)} "
        rows = (self.rows[at] for at in self._holding.get(rarest, ()))
        return [
            row for row in rows if wanted in f" {' '.join(_WORD.findall(f'{row.title} {row.text}'))} ".lower()
        ]

    def entity_of(self, fact: Fact) -> Entity | None:
        """The entity that a fact's value is, None where that is not certain: a person of the same name with
        another profession, whose passage does not name the subject, may be another one.
        """
        found = self.entities.get(name_key(fact.value))
        if found is None or found.id == fact.entity.id:
            return None
        if self._unique:
            return found
        if fact.relation.value == "person":
            return found if found.kind == "person" and _same_person(fact, found) else None
        if fact.relation.value == "place":
            return found if found.kind in ("settlement", "region", "nature") else None
        if fact.relation.name in ("basis", "album of the song"):
            return found if found.kind in ("book", "stage", "album", "comic") else None
        return found if found.kind != "person" or _same_person(fact, found) else None


def name_key(name: str) -> str:
    """Names are compared without brackets, case and marks."""
    return normalize_answer(bare_title(name))


def _same_person(fact: Fact, found: Entity) -> bool:
    named = fact.entity.name.lower() in found.text.lower()
    related = fact.entity.kind == "person" and fact.entity.name.split()[-1] in found.text
    fitting = fact.entity.kind != "person" and found.noun in _MAKERS
    return (named or related or fitting) and _of_the_time(fact, found)


def _of_the_time(fact: Fact, found: Entity) -> bool:
    """Whether what is known of years allows that the person made the thing."""
    born = _YEAR.search(found.brackets)
    made = _YEAR.search(fact.entity.definition) if fact.entity.kind != "person" else None
    return not born or not made or int(made[0]) >= int(born[0]) + _YOUNGEST
