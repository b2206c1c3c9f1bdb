"""A made question with its hops, as a row of a question file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from src_data.annotated_teacher.decomposition import resolve
from src_data.passage_questions.entities import Entity
from src_data.passage_questions.facts import Fact
from src_data.sampling.decontaminate import key_hash
from src_tasks.answers import squad_normalize

DATASET = "passage_questions"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MadeHop:
    """One sub-question. `#k` is the answer of hop k; `wordings` ask the same in other words; `goal` names the
    fact as a noun phrase ("" for none); `sentence` of the passage `entity` states the answer.
    """

    question: str
    answers: tuple[str, ...]
    entity: Entity
    sentence: str = ""
    wordings: tuple[str, ...] = ()
    goal: str = ""


@dataclass(frozen=True, slots=True)
class Made:
    """One question of a `kind`. `path` names its relations; caps count it and every entity."""

    kind: str
    question: str
    answers: tuple[str, ...]
    hops: tuple[MadeHop, ...]
    path: tuple[str, ...]

    def asked(self) -> list[str]:
        """The sub-questions with the answers before them filled in."""
        found = [hop.answers[0] for hop in self.hops]
        return [resolve(hop.question, found[:at]) for at, hop in enumerate(self.hops)]

    def row(self) -> dict[str, Any]:
        """The row in the layout of the project (`src_tasks.readers.general.parse_project`)."""
        entities = list(dict.fromkeys((hop.entity.title, hop.entity.id) for hop in self.hops))
        return {
            "id": f"pq-{key_hash(self.question):016x}",
            "dataset": DATASET,
            "split": "train",
            "question": self.question,
            "answers": list(self.answers),
            "supporting_titles": [title for title, _ in entities],
            "gold_ids": [passage for _, passage in entities],
            "type": self.kind,
            "hops": len(self.hops),
            "path": list(self.path),
            "decomposition": [
                {
                    "question": hop.question,
                    "answers": list(hop.answers),
                    "title": hop.entity.title,
                    "wordings": list(hop.wordings),
                    "goal": hop.goal,
                    "sentence": hop.sentence,
                }
                for hop in self.hops
            ],
        }


def pick(options: Sequence[T], *key: object) -> T:
    """One of `options`, by a hash of `key`."""
    return options[key_hash("\x1f".join(map(str, key))) % len(options)]


def shuffled(options: Sequence[T], *key: object) -> list[T]:
    """`options` in an order that a hash of `key` decides."""
    ranked = sorted(range(len(options)), key=lambda at: key_hash("\x1f".join(map(str, (*key, at)))))
    return [options[at] for at in ranked]


def aliases(fact: Fact, linked: Entity | None = None) -> tuple[str, ...]:
    """The spellings of a fact's value that are right: the place without its region, a name without its
    article, the title of the thing that it is.
    """
    value = fact.value
    found = [value]
    if fact.relation.value in ("place", "name"):
        found += [value.partition(", ")[0], value.partition(" in ")[0]]
    if linked is not None and squad_normalize(linked.name) != squad_normalize(value):
        found.append(linked.name)
    return tuple(dict.fromkeys(text for text in found if len(text) > 1 or text == value))


def first_upper(text: str) -> str:
    """`text` with a capital in front."""
    return text[:1].upper() + text[1:]
