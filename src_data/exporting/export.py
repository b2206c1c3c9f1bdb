"""Kept trajectories as training data, in the published schema (reference section 6.5, 14.1).

`conversations.json` holds all of them and nothing else; `conversations.train.jsonl` and
`conversations.validation.jsonl` the same rows in two parts, with general data mixed in; line i of
`provenance.jsonl` is the origin of row i of `conversations.json` (the original dropped id, gold, score and
source). The texts are rendered by the protocol, as in inference; each row names it (`format`). All files are
streamed and replaced in one step; the same trajectories, settings and seed give the same bytes.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import orjson
from pydantic import Field

from src_core.config import Seed, config_class
from src_core.jsonl import LineSpool, rewrite_jsonl, write_json_array
from src_core.passage_view import PassagePart, PassageView
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
    read_general,
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
    (`src_data.exporting.reader`) to the two JSONL files, with so many characters of each passage
    (`reader_passage_part`), as at inference. `general` is mixed into the two JSONL files at positions drawn
    with `seed`.
    """

    validation_share: Annotated[float, Field(ge=0, lt=1)] = 0.02
    include_think: bool = False
    reader_passage_chars: Annotated[int, Field(ge=0)] = 0
    reader_passage_part: PassagePart = PassagePart.RELEVANT
    general: tuple[GeneralConfig, ...] = ()
    seed: Seed = 1


class ExportReport(NamedTuple):
    """The files and the number of rows of each side; `train` and `validation` count trajectories only."""

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
    """Write the four files for the kept chains of a run; each input is read once. Raises `UserError` for
    general data that cannot be read and for a full disk.
    """
    whole = paths.conversations
    view = PassageView(config.reader_passage_chars, config.reader_passage_part)
    with ExitStack() as opened:

        def spool() -> LineSpool:
            return opened.enter_context(LineSpool(whole.parent))

        provenance = spool()
        ours: dict[Side, LineSpool] = {"train": spool(), "validation": spool()}
        theirs: dict[Side, LineSpool] = {"train": spool(), "validation": spool()}
        sides: Counter[Side] = Counter()

        def conversations() -> Iterator[bytes]:
            """The lines of all trajectories. Each trajectory also goes to its side, followed by its reader
            rows.
            """
            for number, chain in enumerate(_chains(paths.kept)):
                side = side_of(chain.question.id, config.validation_share)
                turns = chain_turns(chain, protocol, include_think=config.include_think)
                line = _line(Row(protocol.name, turns))
                sides[side] += 1
                provenance.append(_provenance(number, chain, side))
                ours[side].append(line)
                if config.reader_passage_chars:
                    for made in reader_rows(chain, view=view):
                        ours[side].append(_line(Row(Chat.name, made)))
                yield line

        write_json_array(whole, conversations())
        rewrite_jsonl(whole.with_name(PROVENANCE), provenance)
        counts = [_add_general(source, spool(), theirs, config) for source in config.general]
        files = {side: whole.with_name(f"{whole.stem}.{side}.jsonl") for side in ours}
        for side, path in files.items():
            rewrite_jsonl(path, _merged(ours[side], theirs[side], seed=f"{config.seed}/{side}"))
        return ExportReport(
            conversations=whole,
            train_file=files["train"],
            validation_file=files["validation"],
            provenance=whole.with_name(PROVENANCE),
            train=sides["train"],
            validation=sides["validation"],
            general_train=len(theirs["train"]),
            general_validation=len(theirs["validation"]),
            general=tuple(counts),
            reader=sum(map(len, ours.values())) - sides.total(),
        )


def _add_general(
    source: GeneralConfig, spool: LineSpool, sides: dict[Side, LineSpool], config: ExportConfig
) -> GeneralCount:
    """Append the sampled rows of one source of general data to their sides."""
    general = read_general(source, spool)
    for row in sample_general(general, seed=config.seed):
        sides[side_of(conversation_key(row.turns), config.validation_share)].append(_line(row))
    return general.counts


def chain_turns(chain: Trajectory, protocol: Protocol, *, include_think: bool = False) -> Turns:
    """A trajectory in the published schema; with `include_think`, think blocks in front of the thoughts."""
    turns: Turns = [dict(turn) for turn in protocol.turns(asked_text(chain.question), chain.steps)]
    at = 1
    for step in chain.steps:
        if include_think and step.think:
            turns[at]["reasoning"] = join_think(step.think, turns[at]["reasoning"])
        at += 1 + (step.observation is not None) + bool(step.conclusion)
    return turns


def side_of(key: str, validation_share: float) -> Side:
    """The side of a question (by its id) or general conversation (by its content hash): it depends on the
    hash only. A larger share only moves rows from train to validation.
    """
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    return "validation" if place < validation_share else "train"


def _chains(kept: Path) -> Iterator[Trajectory]:
    return (row.trajectory for row in read_filtered(kept) if row.trajectory is not None)


def _line(row: Row) -> bytes:
    return orjson.dumps({"format": row.format, "messages": row.turns})


def _provenance(number: int, chain: Trajectory, side: Side) -> bytes:
    """Where conversation `number` comes from. `documents` has one list of passage ids per
    observation; the teacher's own notes (model, seed, …) are under `made_by`.
    """
    question, golds, answer = chain.question, chain.question.answers, finish_answer(chain.steps)
    searches = [step for step in chain.steps if isinstance(step.action, Search)]
    return orjson.dumps(
        {
            "n": number,
            "side": side,
            "question_id": question.id,
            "question": question.question,
            "golds": golds,
            "dataset": source_of(chain),
            "source_id": question.meta.get("source_id"),
            "answer": answer,
            "f1": token_f1(answer, golds) if golds else None,
            "em": exact_match(answer, golds) if golds else None,
            "documents": [[passage.id for passage in step.passages] for step in searches],
            "scores": [[passage.scores.get("retrieval") for passage in step.passages] for step in searches],
            "teacher": teacher_of(chain),
            "chain": chain.provenance.get("chain"),
            "made_by": {k: v for k, v in chain.provenance.items() if k not in ("teacher", "chain")},
            "searches": len(searches),
            "usage": chain.usage,
            "seconds": chain.seconds,
        }
    )


def _merged(ours: LineSpool, theirs: LineSpool, *, seed: str) -> Iterator[bytes]:
    """Both as one, every interleaving equally likely; each keeps its own order."""
    draw = random.Random(seed)
    n_ours, n_theirs = len(ours), len(theirs)
    first, second = iter(ours), iter(theirs)
    while n_ours or n_theirs:
        if draw.random() * (n_ours + n_theirs) < n_ours:
            n_ours -= 1
            yield next(first)
        else:
            n_theirs -= 1
            yield next(second)
