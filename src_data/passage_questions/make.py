"""From a corpus to a question file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from src_core.errors import UserError
from src_core.jsonl import rewrite_jsonl
from src_core.types import to_json
from src_data.passage_questions.asked import ASKED, asked_facts
from src_data.passage_questions.bridges import bridges, described, singles
from src_data.passage_questions.comparisons import comparisons, same_or_not
from src_data.passage_questions.config import QuestionsConfig
from src_data.passage_questions.made import Made
from src_data.passage_questions.read_world import read_world
from src_data.passage_questions.selection import Selection, of_hops, ordered
from src_data.passage_questions.untold import untold, untold_behind
from src_data.passage_questions.world import World


class Report(NamedTuple):
    """What was made: questions by kind, and how many were left out, by reason."""

    kinds: Counter[str]
    dropped: Counter[str]
    passages: int
    entities: int
    facts: int


def make_questions(config: QuestionsConfig) -> Report:
    """Write the questions to `config.out`. Raises `UserError` for files that cannot be read, an existing
    output, and a corpus without any fact.
    """
    out = Path(config.out)
    if out.exists() and not config.overwrite:
        raise UserError(f"{out} exists; choose another name with out=, or set overwrite=true")
    scored, excluded, world = read_world(config)
    if config.asked:
        world.add_asked(asked_facts(config.asked, world))
    selection = Selection(
        index=scored,
        blocked=excluded,
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
    return Report(kinds, selection.dropped, len(world.rows), len(world.entities), facts)


def _select(selection: Selection, world: World, config: QuestionsConfig) -> None:
    """The rarer kinds first: they use passages that the others would use up."""
    counts, seed = config.counts, config.seed
    chains, asked_chains = _parted(bridges(world, seed), config)
    clauses, asked_clauses = _parted(described(world, seed), config)
    alone, asked_alone = _parted(singles(world, seed), config)
    asked = [*asked_chains, *asked_clauses]
    selection.take(of_hops(asked, 3), counts.asked_3)
    selection.take(of_hops(asked, 2), counts.asked_2)
    selection.take(of_hops(chains, 3), counts.bridge_3)
    selection.take(of_hops(clauses, 3), counts.described_3)
    selection.take(of_hops(clauses, 2), counts.described_2)
    selection.take(of_hops(chains, 2), counts.bridge_2)
    selection.take(ordered(same_or_not(world, seed), seed), counts.yes_no)
    selection.take(ordered(comparisons(world, seed), seed), counts.comparison)
    selection.take(of_hops(clauses, 1), counts.described_1)
    selection.take(untold_behind(world, seed), counts.unanswerable_2)
    selection.take(untold(world, seed), counts.unanswerable_1)
    selection.take(asked_alone, counts.asked_1)
    selection.take(alone, counts.single)


def told_later(made: Made) -> bool:
    """Whether another sentence than the first one of its passage tells the last answer."""
    last = made.hops[-1]
    return last.sentence != last.entity.predicates[0].sentence


def _parted(made: Iterable[Made], config: QuestionsConfig) -> tuple[list[Made], list[Made]]:
    """Questions about patterns' facts, and those whose last fact a model asked for, in the order in which
    they are taken.
    """
    parts: tuple[list[Made], list[Made]] = [], []
    for each in ordered(made, config.seed):
        parts[each.path[-1].startswith(ASKED)].append(each)
    if config.later_first:
        for part in parts:
            part.sort(key=told_later, reverse=True)
    return parts
