"""From a corpus to a question file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from src_core.errors import UserError
from src_core.jsonl import rewrite_jsonl
from src_core.types import to_json
from src_data.passage_questions.bridges import bridges, described, singles
from src_data.passage_questions.comparisons import comparisons, same_or_not
from src_data.passage_questions.config import QuestionsConfig
from src_data.passage_questions.selection import Selection, of_hops, ordered
from src_data.passage_questions.untold import untold, untold_behind
from src_data.passage_questions.world import Row, World, name_key
from src_data.sampling.decontaminate import EvaluationIndex
from src_retrieval.toy import corpus_passages
from src_tasks.readers.sources import SourceConfig, read_questions


class Report(NamedTuple):
    """What was made: questions by kind, and how many were left out, by reason."""

    kinds: Counter[str]
    dropped: Counter[str]
    passages: int
    entities: int
    facts: int


class _Scored(NamedTuple):
    questions: EvaluationIndex
    ids: frozenset[str]
    titles: frozenset[str]


def make_questions(config: QuestionsConfig) -> Report:
    """Write the questions to `config.out`. Raises `UserError` for files that cannot be read, an existing
    output, and a corpus without any fact.
    """
    out = Path(config.out)
    if out.exists() and not config.overwrite:
        raise UserError(f"{out} exists; choose another name with out=, or set overwrite=true")
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
    selection = Selection(
        index=scored.questions,
        blocked=frozenset(name for name in excluded if name),
        per_path=config.per_path,
        per_entity=config.per_entity,
        passage_chars=config.passage_chars,
        seed=config.seed,
    )
    _select(selection, world, config)
    if not selection.kept:
        raise UserError(
            f"no question could be made from {config.corpus}; give passages with titles and definitions"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    rewrite_jsonl(out, (to_json(made.row()) for made in ordered(selection.kept, config.seed)))
    kinds = Counter(made.kind for made in selection.kept)
    facts = sum(1 for _ in world.all_facts())
    return Report(kinds, selection.dropped, len(rows), len(world.entities), facts)


def _select(selection: Selection, world: World, config: QuestionsConfig) -> None:
    """The rarer kinds first: they use passages that the others would use up."""
    counts, seed = config.counts, config.seed
    chains = ordered(bridges(world, seed), seed)
    clauses = ordered(described(world, seed), seed)
    selection.take(of_hops(chains, 3), counts.bridge_3)
    selection.take(of_hops(clauses, 3), counts.described_3)
    selection.take(of_hops(clauses, 2), counts.described_2)
    selection.take(of_hops(chains, 2), counts.bridge_2)
    selection.take(ordered(same_or_not(world, seed), seed), counts.yes_no)
    selection.take(ordered(comparisons(world, seed), seed), counts.comparison)
    selection.take(of_hops(clauses, 1), counts.described_1)
    selection.take(untold_behind(world, seed), counts.unanswerable_2)
    selection.take(untold(world, seed), counts.unanswerable_1)
    selection.take(ordered(singles(world, seed), seed), counts.single)


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
