"""The world that a corpus describes, without what is scored on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from src_data.passage_questions.config import CorpusConfig
from src_data.passage_questions.world import Row, World, name_key
from src_data.sampling.decontaminate import EvaluationIndex
from src_retrieval.toy import corpus_passages
from src_tasks.readers.sources import SourceConfig, read_questions


class ReadWorld(NamedTuple):
    """A corpus as a `World`. `scored` are the questions of its evaluation files, `excluded` the normalised
    titles that no question may hold.
    """

    scored: EvaluationIndex
    excluded: frozenset[str]
    world: World


class _Scored(NamedTuple):
    questions: EvaluationIndex
    ids: frozenset[str]
    titles: frozenset[str]


def read_world(config: CorpusConfig) -> ReadWorld:
    """Read corpus and evaluation files. Raises `UserError` for files that cannot be read."""
    rows = [Row(passage.id, passage.title, passage.text) for passage in corpus_passages(Path(config.corpus))]
    scored = _scored(config.evaluation_files)
    excluded = [
        name_key(passage.title) for path in config.excluded_corpora for passage in corpus_passages(Path(path))
    ]
    world = World(
        rows,
        blocked_ids=scored.ids,
        blocked=(*scored.titles, *excluded),
        unique_names=config.unique_names,
    )
    return ReadWorld(scored.questions, frozenset(name for name in excluded if name), world)


def _scored(sources: tuple[SourceConfig, ...]) -> _Scored:
    """The questions of evaluation files, and the ids and titles of their passages."""
    index = EvaluationIndex()
    ids: set[str] = set()
    titles: set[str] = set()
    for source in sources:
        for question in read_questions(source, note=lambda _: None):
            index.add(question.question)
            ids.update(question.supporting)
            titles.update(map(name_key, question.meta.get("supporting_titles", ())))
    return _Scored(index, frozenset(ids), frozenset(title for title in titles if title))
