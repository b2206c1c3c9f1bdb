"""Kept chains as training data, in the published schema (reference section 6.5, 14.1).

`conversations.json` holds all of them and nothing else; `conversations.train.jsonl` and
`conversations.validation.jsonl` the same rows on two sides, with general data mixed in; `provenance.jsonl`
says line by line where each row of `conversations.json` comes from (the original dropped id, gold, score
and source). The texts come from the protocol, as those of inference do; each row names it (`format`). All
files are streamed and replaced in one step; the same chains, settings and seed give the same bytes.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import orjson
from pydantic import Field

from src_core.config import config_class
from src_core.jsonl import rewrite_jsonl, write_json_array
from src_core.protocols.base import Protocol
from src_core.protocols.chat import Chat
from src_core.think import join_think
from src_core.types import Search, Trajectory
from src_data.exporting.general import (
    GeneralConfig,
    GeneralCount,
    Row,
    Turns,
    conversation_key,
    count_general,
    sample_general,
)
from src_data.exporting.reader import reader_rows
from src_data.filters.filter_report import source_of, teacher_of
from src_data.filters.filter_run import FilterPaths, read_filtered
from src_data.filters.filter_trajectory import finish_answer
from src_tasks.choices import asked_text
from src_tasks.metrics import exact_match, token_f1

PROVENANCE = "provenance.jsonl"
Side = Literal["train", "validation"]


@config_class
class ExportConfig:
    """`validation_share` of the questions (and of the general conversations) go to the validation file, by
    a hash, so that a question is on the same side in every export. `include_think` puts the teacher's think
    block before each thought. `reader_passage_chars` above 0 adds the reader's rows
    (`src_data.exporting.reader`) to the two JSONL files, each passage cut to so many characters, as at
    inference. `general` is mixed into the two JSONL files at positions drawn with `seed`.
    """

    validation_share: Annotated[float, Field(ge=0, lt=1)] = 0.02
    include_think: bool = False
    reader_passage_chars: Annotated[int, Field(ge=0)] = 0
    general: tuple[GeneralConfig, ...] = ()
    seed: int = 1


class ExportReport(NamedTuple):
    """The files and how many rows each side got; `train` and `validation` count chains only."""

    conversations: Path
    train_file: Path
    validation_file: Path
    provenance: Path
    train: int
    validation: int
    general_train: int
    general_validation: int
    general: tuple[GeneralCount, ...]
    reader: int


def export_run(paths: FilterPaths, config: ExportConfig, protocol: Protocol) -> ExportReport:
    """Write the four files for the kept chains of a run. Raises `UserError` for general data that cannot be
    read and for a full disk.
    """
    whole = paths.conversations
    files: dict[Side, Path] = {
        "train": whole.with_name(f"{whole.stem}.train.jsonl"),
        "validation": whole.with_name(f"{whole.stem}.validation.jsonl"),
    }
    provenance = whole.with_name(PROVENANCE)

    def row(chain: Trajectory) -> Row:
        return Row(protocol.name, chain_turns(chain, protocol, include_think=config.include_think))

    write_json_array(whole, (_line(row(chain)) for chain in _chains(paths.kept)))
    rewrite_jsonl(provenance, _provenance(paths.kept, config.validation_share))

    def rows(side: Side) -> Iterator[Row]:
        """A side's chains, each with the reader's rows behind it."""
        for chain in _chains(paths.kept):
            if side_of(chain.question.id, config.validation_share) == side:
                yield row(chain)
                if config.reader_passage_chars:
                    for made in reader_rows(chain, max_chars=config.reader_passage_chars):
                        yield Row(Chat.name, made)

    sides = Counter(side_of(chain.question.id, config.validation_share) for chain in _chains(paths.kept))
    ours = {
        side: sum(1 for _ in rows(side)) if config.reader_passage_chars else sides[side] for side in files
    }
    counts = tuple(count_general(source) for source in config.general)
    mixed = Counter(side for side, _ in _general(counts, config))
    for side, path in files.items():
        theirs = (row for where, row in _general(counts, config) if where == side)
        merged = _merged(rows(side), ours[side], theirs, mixed[side], seed=f"{config.seed}/{side}")
        rewrite_jsonl(path, map(_line, merged))
    return ExportReport(
        conversations=whole,
        train_file=files["train"],
        validation_file=files["validation"],
        provenance=provenance,
        train=sides["train"],
        validation=sides["validation"],
        general_train=mixed["train"],
        general_validation=mixed["validation"],
        general=counts,
        reader=sum(ours.values()) - sum(sides.values()),
    )


def chain_turns(chain: Trajectory, protocol: Protocol, *, include_think: bool = False) -> Turns:
    """A chain in the published schema; with `include_think`, think blocks in front of the thoughts."""
    turns: Turns = [dict(turn) for turn in protocol.turns(asked_text(chain.question), chain.steps)]
    if include_think:
        replies = (turn for turn in turns if turn["role"] == "assistant")
        for turn, step in zip(replies, chain.steps, strict=True):
            if step.think:
                turn["reasoning"] = join_think(step.think, turn["reasoning"])
    return turns


def side_of(key: str, validation_share: float) -> Side:
    """The side of a question (by its id) or general conversation (by its content hash): a hash, so that it
    depends on nothing else. A larger share only ever moves rows from train to validation.
    """
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    return "validation" if place < validation_share else "train"


def _chains(kept: Path) -> Iterator[Trajectory]:
    return (row.trajectory for row in read_filtered(kept) if row.trajectory is not None)


def _line(row: Row) -> bytes:
    return orjson.dumps({"format": row.format, "messages": row.turns})


def _provenance(kept: Path, validation_share: float) -> Iterator[bytes]:
    """Where each conversation comes from, in their order. `documents` has one list of passage ids per
    observation; what the teacher noted about itself (model, seed, …) stands under `made_by`.
    """
    for number, chain in enumerate(_chains(kept)):
        question, golds, answer = chain.question, chain.question.answers, finish_answer(chain.steps)
        searches = [step for step in chain.steps if isinstance(step.action, Search)]
        yield orjson.dumps(
            {
                "n": number,
                "side": side_of(question.id, validation_share),
                "question_id": question.id,
                "question": question.question,
                "golds": golds,
                "dataset": source_of(chain),
                "source_id": question.meta.get("source_id"),
                "answer": answer,
                "f1": token_f1(answer, golds) if golds else None,
                "em": exact_match(answer, golds) if golds else None,
                "documents": [[passage.id for passage in step.passages] for step in searches],
                "scores": [
                    [passage.scores.get("retrieval") for passage in step.passages] for step in searches
                ],
                "teacher": teacher_of(chain),
                "chain": chain.provenance.get("chain"),
                "made_by": {k: v for k, v in chain.provenance.items() if k not in ("teacher", "chain")},
                "searches": len(searches),
                "usage": chain.usage,
                "seconds": chain.seconds,
            }
        )


def _general(counts: Iterable[GeneralCount], config: ExportConfig) -> Iterator[tuple[Side, Row]]:
    for count in counts:
        for row in sample_general(count, seed=config.seed):
            yield side_of(conversation_key(row.turns), config.validation_share), row


def _merged(
    ours: Iterator[Row], n_ours: int, theirs: Iterator[Row], n_theirs: int, *, seed: str
) -> Iterator[Row]:
    """Both streams as one, every interleaving equally likely; each keeps its own order."""
    draw = random.Random(seed)
    while n_ours or n_theirs:
        if draw.random() * (n_ours + n_theirs) < n_ours:
            n_ours -= 1
            yield next(ours)
        else:
            n_theirs -= 1
            yield next(theirs)
