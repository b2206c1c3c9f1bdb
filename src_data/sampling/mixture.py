"""Several question sets -> the questions to build data from, with a count of all rows that were left out.

    config = MixConfig(sources=({"path": "hotpot_train_v1.1.json", "n": 8000},), evaluation=("dev.jsonl",))
    mixture = mix(config, report=print)
    for question in mixture: ...

A row is left out because it is malformed, marked as unanswerable by its set, a repetition (of a question in
the same set, or in an earlier set's part of the mixture), or contaminated by a question of the evaluation
files (`decontaminate`). The first of these reasons counts.

The sample needs no random numbers: questions are ordered by a hash of seed and text, and the first `n` are
taken. So it does not depend on the order of the file, and the sample of a larger `n` with the same seed
contains the smaller one: trajectories that were built already remain usable.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from src_core.config import Positive, Seed, config_class
from src_core.errors import UserError
from src_core.types import Question, question_from_json, to_json
from src_data.sampling.decontaminate import NGRAM, EvaluationIndex, key_hash
from src_data.sampling.mix_report import MixReport, SourceCount
from src_data.sampling.turns import in_turns
from src_tasks.question_text import question_key
from src_tasks.readers.sources import (
    BadRow,
    OnBadRow,
    Report,
    SourceConfig,
    SourceSetting,
    read_question_texts,
    read_source,
)

MOST_NAMES = 4
"""A file with more sets than these is named after itself."""


@config_class
class MixConfig:
    """The settings of a mixture. Each source has its own `n`; `evaluation` are files (or sources) whose
    questions must not be trained on, answers not needed; `ngram` is the number of consecutive shared words
    that marks a long question as contaminated. Without `shuffle` the questions keep the order of the sources
    and of their files. With `in_turns` the groups of questions (types, hops) take turns, those with the
    fewest hops first, so that a small sample holds questions of all kinds.
    """

    sources: tuple[SourceSetting, ...]
    evaluation: tuple[SourceSetting, ...] = ()
    seed: Seed = 0
    shuffle: bool = True
    in_turns: bool = False
    ngram: Positive = NGRAM
    on_bad_row: OnBadRow = OnBadRow.FAIL

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("give at least one source")
        if self.ngram < 2:
            raise ValueError("ngram must be 2 or more")


class _Kept(NamedTuple):
    """A question in the mixture: its rank by hash, its place in its file, its key, and its JSON (120,000
    questions of HotpotQA's size: 190 MB in all).
    """

    rank: int
    place: int
    key: int
    line: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Mixture:
    """The questions in their order; each pass over it parses them from JSON."""

    lines: tuple[bytes, ...]
    report: MixReport

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[Question]:
        return map(question_from_json, self.lines)

    def first(self, count: int) -> Mixture:
        """The first `count` questions."""
        return dataclasses.replace(self, lines=self.lines[:count])

    def count(self, n_sample: int, *, rounds: int) -> int:
        """How many questions `rounds` rounds of `n_sample` (-1: all) ask."""
        return len(self) if n_sample < 0 else min(n_sample * rounds, len(self))


def mix(config: MixConfig, *, report: Report) -> Mixture:
    """Read, filter and sample all sources. `report` is called with each malformed row. Raises `UserError` for
    the first one with `on_bad_row` `fail`, and for an empty mixture.
    """
    index = EvaluationIndex(ngram=config.ngram)
    for source in config.evaluation:
        for text in read_question_texts(source, report=report, on_bad_row=config.on_bad_row):
            index.add(text)
    result = MixReport(seed=config.seed, ngram=config.ngram, evaluation_questions=len(index))
    kept: list[_Kept] = []
    taken: set[int] = set()
    for source in config.sources:
        reader = _Reader(source, config, index, result, report)
        part = reader.sample(taken)
        kept += part
        taken.update(item.key for item in part)
    if not kept:
        raise UserError(f"no question is left in the mixture ({result.sentence()}); add question sets")
    if config.shuffle:
        kept.sort()
    lines = [item.line for item in kept]
    if config.in_turns:
        lines = in_turns(lines, question_from_json)
    return Mixture(tuple(lines), result)


def mix_for_run(
    config: MixConfig,
    *,
    n_sample: int,
    err: Console | None,
    select: Callable[[Mixture], Mixture] | None = None,
    rounds: int = 1,
) -> Mixture:
    """`mix` for a run that asks the first `n_sample` questions (-1: all) of those that `select` leaves, and
    as many again in each further round; the mixture holds those of all `rounds`. Malformed rows and the
    counts go to `err`.
    """

    def report(bad: BadRow) -> None:
        if err:
            err.print(Text(f"bad row: {bad}"), soft_wrap=True)

    mixture = mix(config, report=report)
    if err:
        err.print(mixture.report.table())
        err.print(Text(mixture.report.note()), soft_wrap=True)
    mixture = select(mixture) if select else mixture
    asked, most = (mixture.count(n_sample, rounds=each) for each in (1, rounds))
    if err and asked < len(mixture):
        further = f", up to {most:,} if these give too few training rows" if most > asked else ""
        note = f"{asked:,} of these {len(mixture):,} are asked (N_SAMPLES, or n_sample){further}"
        err.print(Text(note), soft_wrap=True)
    return mixture.first(most)


class _Reader:
    """Reads one source and counts its rows."""

    def __init__(
        self,
        source: SourceConfig,
        config: MixConfig,
        index: EvaluationIndex,
        result: MixReport,
        report: Report,
    ) -> None:
        self._source = source
        self._config = config
        self._index = index
        self._result = result
        self._report = report
        self._count = SourceCount(path=source.path, asked=source.n)
        self._names: dict[str, None] = {}
        result.sources.append(self._count)

    def sample(self, taken: set[int]) -> list[_Kept]:
        """The first `n` usable questions by hash, in the order of the file."""
        limit = self._source.n
        heap: list[tuple[int, _Kept]] = []
        for item in self._usable(taken):
            self._count.usable += 1
            if limit < 0:
                heap.append((-item.rank, item))
            elif len(heap) < limit:
                heapq.heappush(heap, (-item.rank, item))
            elif heap and -item.rank > heap[0][0]:
                heapq.heapreplace(heap, (-item.rank, item))
        self._count.taken = len(heap)
        return sorted((item for _, item in heap), key=lambda item: item.place)

    def _usable(self, taken: set[int]) -> Iterator[_Kept]:
        seen: dict[int, int] = {}
        rows = read_source(self._source, report=self._note, on_bad_row=self._config.on_bad_row)
        for place, row in enumerate(rows):
            question = row.question
            self._name(str(question.meta["dataset"]))
            self._count.rows += 1
            text = question_key(question.question)
            key = key_hash(text)
            golds = key_hash("\x1f".join(sorted(map(question_key, question.answers))))
            reason = self._refusal(question, key, seen, taken)
            if reason == "repeated" and seen[key] != golds:
                reason = "other_answers"
            seen.setdefault(key, golds)
            if reason is not None:
                self._count.drop(reason)
                continue
            rank = key_hash(f"{self._config.seed}\x1f{text}")
            # A copy: the serialiser returns the start of a larger block, and 100,000 such blocks hold 400 MB
            # of
            # unused memory.
            yield _Kept(rank, place, key, bytes(memoryview(to_json(question))))

    def _name(self, dataset: str) -> None:
        """A file may hold several sets: it has the names of all, or its own where they are many."""
        if dataset not in self._names:
            self._names[dataset] = None
            many = len(self._names) > MOST_NAMES
            self._count.name = self._source.path if many else " + ".join(self._names)

    def _refusal(self, question: Question, key: int, seen: Mapping[int, int], taken: set[int]) -> str | None:
        if question.meta.get("answerable") is False:
            return "unanswerable"
        if key in seen:
            return "repeated"
        if key in taken:
            return "in_earlier_set"
        match = self._index.match(question.question)
        if match is None:
            return None
        self._result.note_example(match.reason, self._source.path, question.question, match.evaluation)
        return match.reason

    def _note(self, bad: BadRow) -> None:
        self._count.rows += 1
        self._count.drop("malformed")
        self._result.note_bad_row(bad)
        self._report(bad)
