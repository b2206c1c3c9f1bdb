"""Rollouts as rows: the sampled token ids, which are not decoded and tokenised again.

    {"samples": [{"ids": [...], "trainable": [0, 1, ...], "logprobs": [...], "advantages": 0.5 or [...],
                  "policy_version": 3}, ...]}

One rollout per line, or a JSON array. A sample is one sequence of the model. `trainable`, `logprobs` and a
list of `advantages` have one value per id; values where `trainable` is 0 (prompt, retrieved passages) are not
read and may be null. `logprobs` are those of the policy that sampled the ids. A sample without its mask is an
error: without it training would include the passages unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from src_core.chat_tokenizer import Encoded
from src_core.errors import UserError
from src_core.rowfiles import RawRow, file_rows
from src_train.config import DataFile
from src_train.packing import ADVANTAGES, OLD_LOGPROBS, Values
from src_train.rows import Limit, Rows, TrainRow, draw, no_progress, require_rows

_ROUNDING = 1e-3
"""The tolerance of log-probabilities above 0: servers round."""
_LARGE = 1e30


def read_rollouts(
    files: Sequence[DataFile],
    vocabulary: int,
    *,
    max_length: int,
    drop_long: bool,
    seed: int,
    on_row: Callable[[], None] = no_progress,
) -> Rows:
    """All samples of all rollouts of `files`, with the values `old_logprobs` and `advantages`. Raises
    `UserError` naming file, row and sample for one that cannot be trained on: no mask, lengths that differ,
    ids outside the `vocabulary`, values that are not finite numbers, a sample of more than `max_length`
    tokens unless `drop_long`.
    """
    rows: list[TrainRow] = []
    too_long: list[tuple[str, int]] = []
    limit = Limit(max_length, drop_long)
    for file in files:
        for raw in draw(file, file_rows(Path(file.path)), seed):
            place = f"{file.path}:{raw.place}"
            for number, sample in enumerate(_samples(raw, place), start=1):
                row = checked_row(sample, f"{place} sample {number}", vocabulary)
                if limit.keeps(row, too_long):
                    rows.append(row)
            on_row()
    require_rows(rows, files)
    return Rows(rows, too_long)


def _samples(raw: RawRow, place: str) -> list[Any]:
    samples = raw.value.get("samples") if isinstance(raw.value, dict) else None
    if not isinstance(samples, list) or not samples:
        problem = raw.problem or "it has no list of samples"
        raise UserError(f"{place} cannot be trained on: {problem}; correct or remove that row")
    return samples


def checked_row(sample: Any, place: str, vocabulary: int) -> TrainRow:
    """A sample as a row to train on. Raises `UserError` naming `place` (see `read_rollouts`)."""
    try:
        encoded, values = _parsed(sample, vocabulary)
    except ValueError as error:
        raise UserError(f"{place} cannot be trained on: {error}; correct or remove that row") from error
    return TrainRow(place, encoded, values, policy_version=sample["policy_version"])


def _parsed(sample: Any, vocabulary: int) -> tuple[Encoded, Values]:
    """Ids, mask and values of a sample. Raises `ValueError` with the problem."""
    if not isinstance(sample, dict):
        raise ValueError("it is not an object")
    if not _is_int(sample.get("policy_version")):
        raise ValueError("it has no policy_version (the number of the weights that sampled it)")
    ids, mask = sample.get("ids"), sample.get("trainable")
    if not isinstance(ids, list) or not ids or not all(_is_int(each) for each in ids):
        raise ValueError("ids is not a list of token ids")
    if not 0 <= min(ids) <= max(ids) < vocabulary:
        raise ValueError(f"ids are outside the tokenizer's {vocabulary}: {min(ids)} to {max(ids)}")
    if not isinstance(mask, list) or len(mask) != len(ids) or not all(each in (0, 1) for each in mask):
        raise ValueError(f"trainable is not a list of {len(ids)} values 0 or 1, one per id")
    trainable = np.asarray(mask, dtype=np.bool_)
    if trainable[0] or not trainable.any():
        raise ValueError(
            "trainable marks the first token, which nothing precedes"
            if trainable[0]
            else "no token is trainable"
        )
    logprobs = _numbers("logprobs", sample.get("logprobs"), trainable)
    if float(logprobs.max()) > _ROUNDING:
        raise ValueError(f"logprobs has a positive value, {float(logprobs.max()):.4g}")
    advantages = sample.get("advantages")
    if not isinstance(advantages, list):
        advantages = [advantages] * len(ids)
    values = {OLD_LOGPROBS: logprobs, ADVANTAGES: _numbers("advantages", advantages, trainable)}
    return Encoded(np.asarray(ids, dtype=np.int32), trainable), values


def _numbers(name: str, values: Any, trainable: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """One finite float32 per id, 0 where it is not trainable."""
    if not isinstance(values, list) or len(values) != len(trainable):
        raise ValueError(f"{name} is not a list of {len(trainable)} values, one per id")
    made = np.zeros(len(trainable), dtype=np.float32)
    for at in np.flatnonzero(trainable):
        value = values[at]
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGE:
            raise ValueError(f"{name} has {value!r} for trainable token {at + 1}")
        made[at] = value
    return made


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
