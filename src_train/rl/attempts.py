"""A rollout as a row on disk, and its samples as rows to train on.

The rollouts of a step are appended to one file as they end, so that a run that was killed plays only the
missing ones again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import orjson
from pydantic import TypeAdapter, ValidationError

from src_core.errors import UserError
from src_core.jsonl import drop_torn_tail, read_jsonl
from src_core.malformed import malformed_notes
from src_core.types import Question, Status, Trajectory, to_json
from src_infer.rollout_record import Rollout, Sample, sample_row
from src_tasks.reward_rules import answer_of
from src_train.rollouts import checked_row
from src_train.rows import TrainRow


class Key(NamedTuple):
    """A rollout of a step: its question and its number in the group."""

    question_id: str
    number: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One rollout. `policy_version` is the number of updates before it, `discarded` the number of sampled
    tokens that a retry replaced.
    """

    number: int
    policy_version: int
    trajectory: Trajectory
    samples: tuple[Sample, ...]
    discarded: int = 0

    @property
    def key(self) -> Key:
        """Question and number."""
        return Key(self.trajectory.question.id, self.number)

    @property
    def row_key(self) -> str:
        """Question and number as one text, for the log."""
        return f"{self.trajectory.question.id}#{self.number}"

    @property
    def failed(self) -> bool:
        """Whether a server failed; there is nothing to train on."""
        return self.trajectory.status.retryable

    @property
    def is_cut(self) -> bool:
        """Whether a limit of steps or tokens ended it."""
        return self.trajectory.status.capped


_ATTEMPT = TypeAdapter(Attempt)


def attempt_of(done: Rollout, *, number: int, policy_version: int, seconds: float) -> Attempt:
    """The row of a rollout."""
    episode = done.episode
    trajectory = Trajectory(
        question=done.question,
        steps=episode.steps,
        answer="",
        status=episode.status,
        usage=episode.usage,
        seconds=seconds,
        error=episode.error,
        provenance=malformed_notes(episode.malformed),
    )
    discarded = sum(len(span.ids) for span in done.discarded)
    return Attempt(
        number, policy_version, replace(trajectory, answer=answer_of(trajectory)), done.samples, discarded
    )


def failed_attempt(question: Question, error: str, *, number: int, policy_version: int) -> Attempt:
    """The row of a rollout whose text cannot be tokenised."""
    row = Trajectory(question, (), "", Status.MODEL_ERROR, error=error)
    return Attempt(number, policy_version, row, ())


def attempt_json(attempt: Attempt) -> bytes:
    """One line."""
    samples = [
        {"spans": [list(span) for span in sample.spans], "steps": sample.steps} for sample in attempt.samples
    ]
    return to_json(
        {
            "number": attempt.number,
            "policy_version": attempt.policy_version,
            "trajectory": attempt.trajectory,
            "samples": samples,
            "discarded": attempt.discarded,
        }
    )


def parse_attempt(row: object) -> Attempt | None:
    """The rollout in a parsed line, None where it has another layout."""
    try:
        return _ATTEMPT.validate_json(orjson.dumps(row))
    except ValidationError:
        return None


def read_attempts(path: Path, *, policy_version: int) -> dict[Key, Attempt]:
    """The rollouts of a file that these weights played and that did not fail, each once; a torn last line is
    dropped. A line of another layout is left out, and played again.
    """
    if not path.is_file():
        return {}
    drop_torn_tail(path)
    found: dict[Key, Attempt] = {}
    for row in read_jsonl(path):
        attempt = parse_attempt(row)
        if attempt is not None and attempt.policy_version == policy_version and not attempt.failed:
            found[attempt.key] = attempt
    return found


def train_rows(attempt: Attempt, vocabulary: int, *, file: Path) -> list[TrainRow]:
    """The samples as rows, with advantages of 0, checked as those of a file are. Raises `UserError` for a
    sample without a mask, or with values that do not fit its ids, with the place of the rollout in `file`.
    """
    place = f"rollout {attempt.number} of question {attempt.key.question_id}"
    try:
        return [
            checked_row(sample_row(sample, 0.0), f"{place}, sample {number}", vocabulary)
            for number, sample in enumerate(attempt.samples, start=1)
        ]
    except UserError as error:
        raise UserError(
            f"{file}{_line_of(file, attempt)}: {error}, then run the same command again, which plays it anew"
        ) from error


def _line_of(file: Path, attempt: Attempt) -> str:
    """`, line 3` for the line of a rollout, "" where it is not there."""
    rows = enumerate(read_jsonl(file, torn_tail_ok=True), start=1) if file.is_file() else ()
    lines = [number for number, row in rows if parse_attempt(row) == attempt]
    return f", line {lines[-1]}" if lines else ""
