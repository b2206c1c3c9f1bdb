"""Which made questions are kept: readable again, about nothing that is scored on, of many kinds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from src_core.excerpts import relevant_part
from src_data.annotated_teacher.mentions import find_mention
from src_data.passage_questions.made import Made, MadeHop
from src_data.passage_questions.wording import speakable
from src_data.passage_questions.world import name_key
from src_data.sampling.decontaminate import EvaluationIndex, key_hash
from src_tasks.answers import NO_ANSWER
from src_tasks.question_text import question_key


@dataclass
class Selection:
    """Keeps what is asked for; `dropped` counts the reasons for all others. `blocked` are names that no
    question may hold, `index` the questions that are scored on.
    """

    index: EvaluationIndex
    blocked: frozenset[str]
    per_path: int
    per_entity: int
    passage_chars: int
    seed: int
    dropped: Counter[str] = field(default_factory=Counter)
    kept: list[Made] = field(default_factory=list)
    _questions: set[str] = field(default_factory=set)
    _paths: Counter[tuple[str, ...]] = field(default_factory=Counter)
    _entities: Counter[str] = field(default_factory=Counter)

    def take(self, made: Iterable[Made], most: int) -> None:
        """Keep up to `most` of `made`, in their order."""
        taken = 0
        for each in made:
            if taken >= most:
                break
            reason = self._refusal(each)
            if reason:
                self.dropped[reason] += 1
                continue
            self._questions.add(question_key(each.question))
            self._paths[each.path] += 1
            self._entities.update({hop.entity.id for hop in each.hops})
            self.kept.append(each)
            taken += 1

    def _refusal(self, made: Made) -> str:
        if question_key(made.question) in self._questions:
            return "repeated"
        if self._paths[made.path] >= self.per_path or self._full(made):
            return "enough of it"
        if not speakable(made.question):
            return "too long"
        if self._is_blocked(made):
            return "excluded name"
        if not all(self._reads_again(hop, asked) for hop, asked in zip(made.hops, made.asked(), strict=True)):
            return "not in the shown part"
        if self.index.match(made.question) is not None:
            return "scored on"
        return ""

    def _full(self, made: Made) -> bool:
        return any(self._entities[hop.entity.id] >= self.per_entity for hop in made.hops)

    def _is_blocked(self, made: Made) -> bool:
        names = {name_key(text) for hop in made.hops for text in (*hop.answers, hop.entity.name)}
        text = f" {question_key(made.question)} "
        return bool(names & self.blocked) or any(f" {name} " in text for name in self.blocked if " " in name)

    def _reads_again(self, hop: MadeHop, asked: str) -> bool:
        """Whether the part of the passage that a model is shown for the sub-question tells its answer."""
        if hop.answers == (NO_ANSWER,):
            return True
        entity = hop.entity
        if hop.answers == (entity.name,):  # the passage is the answer: its title stands above it
            return True
        shown = relevant_part(entity.text, asked, max_chars=self.passage_chars, title=entity.title)
        return find_mention(shown, hop.answers) is not None


def ordered(made: Iterable[Made], seed: int) -> list[Made]:
    """`made` in an order that seed and question decide."""
    return sorted(made, key=lambda each: key_hash(f"{seed}\x1f{each.question}"))


def of_hops(made: Sequence[Made], hops: int) -> Iterator[Made]:
    """Those with so many hops."""
    return (each for each in made if len(each.hops) == hops)
