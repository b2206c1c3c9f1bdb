"""Stage `blend`: a table of scores becomes training groups for a reranker, in FlagEmbedding's row format.

A row is `{"query", "pos": [text], "neg": [text, …]}` with the blended scores of both (`pos_scores`,
`neg_scores`, FlagEmbedding's names for soft labels) and, beyond that format, the ids of passages and
question. Another weight or sampler is a re-sort of the table.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from src_core.jsonl import rewrite_jsonl
from src_core.rankings import Ranking, texts_beside
from src_core.types import Question, to_json
from src_data.radio.blending import Picked, gold_groups, groups_of, order_of
from src_data.radio.config import Blend, Gold
from src_data.radio.scores import RATIONALE, RETRIEVAL, SCALED
from src_retrieval.scoring import blended
from src_tasks.retrieval import whole_id

TRAIN, VALIDATION = "train", "validation"


@dataclass(frozen=True, slots=True)
class BlendedList:
    """The candidates of a question, best first, with their blended scores."""

    question: Question
    ids: tuple[str, ...]
    scores: tuple[float, ...]

    def is_gold(self) -> list[bool]:
        """Whether each is a known gold passage."""
        golds = self.question.supporting
        return [whole_id(name, golds) in golds for name in self.ids]


@dataclass(slots=True)
class Grouped:
    """The groups that were written, by part, and the questions that gave none, by reason."""

    groups: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


def blended_list(question: Question, ranking: Ranking, *, weight: float) -> BlendedList | None:
    """The candidates in the order of their blended scores. None where the rationale has a weight and the
    question has no rationale.
    """
    columns = {
        name: [passage.scores.get(name + SCALED) for passage in ranking.passages]
        for name in (RATIONALE, RETRIEVAL)
    }
    rationale = [0.0 if score is None else score for score in columns[RATIONALE]]
    if weight > 0 and None in columns[RATIONALE]:
        return None
    scores = blended(rationale, [score or 0.0 for score in columns[RETRIEVAL]], weight=weight)
    order = order_of(scores)
    return BlendedList(
        question, tuple(ranking.passages[at].id for at in order), tuple(scores[at] for at in order)
    )


def has_rationale(ranking: Ranking) -> bool:
    """Whether a row of the table has rationale scores."""
    return any(RATIONALE in passage.scores for passage in ranking.passages)


def with_blends(ranking: Ranking, blends: Sequence[Blend]) -> Ranking:
    """A row of the table with the blended score of each weight beside the others (`blend 0.5`)."""
    scores = [dict(passage.scores) for passage in ranking.passages]
    for weight in dict.fromkeys(blend.weight for blend in blends):
        for row in scores:
            pair = [row.get(RATIONALE + SCALED, 0.0)], [row.get(RETRIEVAL + SCALED, 0.0)]
            row[f"blend {weight:g}"] = blended(*pair, weight=weight)[0]
    passages = zip(ranking.passages, scores, strict=True)
    return replace(ranking, passages=tuple(replace(passage, scores=row) for passage, row in passages))


def picked_groups(found: BlendedList, blend: Blend) -> list[Picked]:
    """The groups of a list under the settings of a blend."""
    golds = found.is_gold()
    if blend.gold is not Gold.IGNORE and any(golds):
        return gold_groups(golds, blend.sampler)
    return [] if blend.gold is Gold.ONLY else groups_of(len(found.ids), blend.sampler)


def write_groups(
    folder: Path,
    blend: Blend,
    questions: Sequence[Question],
    table: Mapping[str, Ranking],
    *,
    passages_of: Path,
    held_out: float,
) -> Grouped:
    """Write `LABEL.train.jsonl` and `LABEL.validation.jsonl` atomically. `passages_of` is the table's
    file.
    """
    done = Grouped()
    texts = texts_beside(passages_of, [table[each.id] for each in questions if each.id in table])
    parts: dict[str, list[bytes]] = {TRAIN: [], VALIDATION: []}
    for question in questions:
        ranking = table.get(question.id)
        reason = _refusal(ranking, without_rationale=blend.without_rationale)
        found = None if reason or ranking is None else blended_list(question, ranking, weight=blend.weight)
        if found is None:
            done.left_out[reason or "no rationale"] += 1
            continue
        rows = list(_rows(found, picked_groups(found, blend), texts))
        if not rows:
            no_gold = blend.gold is Gold.ONLY and not any(found.is_gold())
            done.left_out["no gold passage among the candidates" if no_gold else "too few candidates"] += 1
        parts[part_of(question.id, held_out)] += rows
    for part, lines in parts.items():
        rewrite_jsonl(folder / f"{blend.label}.{part}.jsonl", iter(lines))
        done.groups[part] = len(lines)
    return done


def drop_other_groups(folder: Path, labels: Collection[str]) -> list[str]:
    """Remove the groups of blends that are not among `labels`, which no later stage should train on. Returns
    their labels.
    """
    found = {
        path: path.name.removesuffix(ending)
        for ending in (f".{part}.jsonl" for part in (TRAIN, VALIDATION))
        for path in folder.glob(f"*{ending}")
    }
    others = {path: label for path, label in found.items() if label not in labels}
    for path in others:
        path.unlink()
    return sorted(set(others.values()))


def part_of(question_id: str, held_out: float) -> str:
    """The part of a question, by a hash of its id: it does not depend on the other questions."""
    digest = hashlib.blake2b(question_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return VALIDATION if int.from_bytes(digest) < held_out * 2**64 else TRAIN


def _refusal(ranking: Ranking | None, *, without_rationale: bool) -> str:
    if ranking is None:
        return "no candidates"
    if not ranking.passages:
        return "too few candidates"
    return "" if without_rationale or has_rationale(ranking) else "no rationale"


def _rows(found: BlendedList, groups: Sequence[Picked], texts: Mapping[str, str]) -> Iterator[bytes]:
    for group in groups:
        row: dict[str, Any] = {"query": found.question.question}
        sides = {"pos": group.positives, "neg": group.negatives}
        row |= {side: [texts[found.ids[at]] for at in chosen] for side, chosen in sides.items()}
        row |= {f"{side}_scores": [found.scores[at] for at in chosen] for side, chosen in sides.items()}
        row |= {f"{side}_ids": [found.ids[at] for at in chosen] for side, chosen in sides.items()}
        yield to_json({**row, "question_id": found.question.id})
