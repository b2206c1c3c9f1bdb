"""Training rows of a reranker and their batches.

    {"query": text, "pos": [text, ...], "neg": [text, ...], "pos_scores": [...], "neg_scores": [...]}

One per line, or a JSON array: FlagEmbedding's format, in which the scores (of a teacher, such as RADIO's
blend) are optional; further keys are left alone. Training draws one positive and some negatives of a row
(`src_train.rerank_config`); validation ranks all of them.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import torch
from torch.utils.data import Dataset, Sampler

from src_core.errors import UserError
from src_core.rowfiles import RawRow, file_rows
from src_retrieval.rerankers.base import Pair, token_batches
from src_retrieval.rerankers.pair_tokens import PairTokenizer, TokenPair
from src_train.rerank_config import GroupFile

_SIDES = ("pos", "neg")
Batch = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Group:
    """One row. `scores` are those of the positives, then of the negatives; empty where the row has none."""

    place: str
    query: str
    pos: tuple[str, ...]
    neg: tuple[str, ...]
    scores: tuple[float, ...] = ()

    @property
    def passages(self) -> tuple[str, ...]:
        """All passages, the positives first."""
        return (*self.pos, *self.neg)


def read_groups(files: Sequence[GroupFile], *, seed: int, need_scores: bool = False) -> list[Group]:
    """The rows of `files`. Raises `UserError` naming file and row for one that cannot be trained on, and
    where there is none.
    """
    groups: list[Group] = []
    for file in files:
        rows = list(file_rows(Path(file.path)))
        if 0 <= file.n < len(rows):
            rows = random.Random(f"{seed} {file.path}").sample(rows, file.n)
        groups += [_group(file.path, row, need_scores=need_scores) for row in rows]
    if not groups:
        named = ", ".join(file.path for file in files) or "train"
        raise UserError(f"there are no rows in {named}; name files of rows with query, pos and neg")
    return groups


def digest(groups: Sequence[Group]) -> str:
    """A hash of all rows in their order; a resumed run must have the same."""
    hashed = hashlib.sha256()
    for group in groups:
        hashed.update(orjson.dumps([group.query, group.pos, group.neg, group.scores]))
    return hashed.hexdigest()[:16]


def _group(path: str, row: RawRow, *, need_scores: bool) -> Group:
    where = f"{path}:{row.place}"
    problem = row.problem or _problem(row.value, need_scores=need_scores)
    if problem:
        raise UserError(f"{where}: {problem}; correct or remove the row")
    value = row.value
    scores = [value.get(f"{side}_scores") for side in _SIDES]
    held = all(each is not None for each in scores)
    joined = tuple(float(score) for each in scores for score in each) if held else ()
    return Group(where, value["query"], tuple(value["pos"]), tuple(value["neg"]), joined)


def _problem(value: Any, *, need_scores: bool) -> str:
    """Why a row cannot be used; "" where it can."""
    if not isinstance(value, dict):
        return f"expected an object, found {value!r:.60}"
    query = value.get("query")
    if query is None and "reason" in value:
        return "this is a file of rationales, from which src_data.radio makes training rows"
    if not isinstance(query, str) or not query.strip():
        return "'query' must be a text that is not empty"
    for side in _SIDES:
        texts, scores = value.get(side), value.get(f"{side}_scores")
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            return f"{side!r} must be a list of at least one text"
        if scores is None and need_scores:
            return f"'{side}_scores' is missing, which soft_weight needs (set soft_weight=0 to do without)"
        if scores is not None and not _are_scores(scores, len(texts)):
            return f"'{side}_scores' must be a list of {len(texts)} finite numbers, one per text"
    return ""


def _are_scores(scores: Any, count: int) -> bool:
    return (
        isinstance(scores, list)
        and len(scores) == count
        and all(isinstance(score, int | float) and not isinstance(score, bool) for score in scores)
        and bool(np.isfinite(scores).all())
    )


class Drawn(NamedTuple):
    """What an epoch trains on of a row: passages with the positive first, and their scores. `known` are all
    passages of the row: none of them is a negative of another question's batch.
    """

    row: int
    query: str
    passages: list[str]
    scores: list[float]
    known: frozenset[str]


class GroupDraws(Dataset[Drawn]):
    """Item `epoch * rows + i` is row i as that epoch draws it, so that a resumed run draws the same."""

    def __init__(self, groups: Sequence[Group], *, size: int, seed: int) -> None:
        self.groups, self._size, self._seed = groups, size, seed

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, item: int) -> Drawn:
        epoch, index = divmod(item, len(self.groups))
        group = self.groups[index]
        draw = random.Random(f"{self._seed} {epoch} {index}")
        first = len(group.pos)
        negatives = range(first, first + len(group.neg))
        chosen = [draw.randrange(first), *draw.sample(negatives, min(self._size - 1, len(negatives)))]
        passages, scores = group.passages, group.scores
        return Drawn(
            index,
            group.query,
            [passages[at] for at in chosen],
            [scores[at] for at in chosen] if scores else [],
            frozenset(passages),
        )


class EpochOrder(Sampler[int]):
    """The items of an epoch in an order that depends on `seed` and epoch only."""

    def __init__(self, rows: int, *, seed: int) -> None:
        self._rows, self._seed, self._epoch = rows, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[int]:
        order = list(range(self._rows))
        random.Random(f"{self._seed} {self._epoch}").shuffle(order)
        return iter([self._epoch * self._rows + at for at in order])


def group_collator(
    tokens: PairTokenizer, *, batch_tokens: int, in_batch_negatives: int, temperature: float
) -> Callable[[list[Drawn]], Batch]:
    """A function that makes a batch of drawn rows: `forwards`, padded batches of pairs of similar length with
    their `places` in the flat (groups x members) matrix of scores, and in that shape `held` (which members
    there are), `targets` and `soft` (see `losses.group_loss`), with `index`, the rows.
    """

    def collate(drawn: list[Drawn]) -> Batch:
        passages = [[*one.passages, *_others(drawn, at, in_batch_negatives)] for at, one in enumerate(drawn)]
        members = max(map(len, passages))
        held = torch.zeros(len(drawn), members, dtype=torch.bool)
        targets, soft = torch.zeros(len(drawn), members), torch.zeros(len(drawn), members)
        for at, (one, texts) in enumerate(zip(drawn, passages, strict=True)):
            held[at, : len(texts)] = True
            targets[at, 0] = 1
            if one.scores:
                soft[at, : len(one.scores)] = torch.softmax(torch.tensor(one.scores) / temperature, dim=0)
        pairs = [Pair(one.query, text) for one, texts in zip(drawn, passages, strict=True) for text in texts]
        forwards = padded(tokens.encode(pairs), tokens, batch_tokens=batch_tokens)
        places = held.flatten().nonzero().flatten()
        return {
            "forwards": [{**one, "places": places[one["places"]]} for one in forwards],
            "held": held,
            "targets": targets,
            "soft": soft,
            "index": torch.tensor([one.row for one in drawn]),
        }

    return collate


def padded(pairs: Sequence[TokenPair], tokens: PairTokenizer, *, batch_tokens: int) -> list[Batch]:
    """Batches of pairs of similar length, of at most `batch_tokens` padded tokens, each with the `places` of
    its pairs in `pairs`.
    """
    made = []
    for chosen in token_batches([len(pair.ids) for pair in pairs], batch_tokens):
        batch = tokens.batch([pairs[at] for at in chosen])
        made.append(
            {
                "input_ids": torch.from_numpy(batch.ids),
                "attention_mask": torch.from_numpy(batch.mask),
                "token_type_ids": torch.from_numpy(batch.types),
                "places": torch.tensor(chosen),
            }
        )
    return made


def _others(drawn: Sequence[Drawn], at: int, count: int) -> list[str]:
    """Positives of the rows after row `at` (around the end), each once, none that this row knows."""
    later = [drawn[(at + step) % len(drawn)].passages[0] for step in range(1, len(drawn))]
    return [text for text in dict.fromkeys(later) if text not in drawn[at].known][:count]
