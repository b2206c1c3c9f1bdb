"""Rows into packs, and packs into batches, with little padding.

Best-fit decreasing: the longest row first, each into the fullest pack that has room for it. A pack is one
sequence for the model; its rows do not attend to each other because their position ids restart at 0, which
transformers converts to a block-diagonal mask as long as no attention mask is given and the cache is off
(reference performance.md section 3; `tests/test_train_model.py` proves it on logits and gradients). How we
differ from LongAlign (reference section 7.1): it packs in file order, drops the last pack, and does not reset
the positions.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from src_core.chat_tokenizer import Encoded

IGNORED = -100
"""The label of a token that is not trained, as everywhere in torch and transformers."""

Values = Mapping[str, npt.NDArray[np.float32]]
"""Further float32 values of each token of a row, by name, each (n,)."""
OLD_LOGPROBS, ADVANTAGES, REF_LOGPROBS = "old_logprobs", "advantages", "ref_logprobs"
"""Names of such values: log-probabilities under the sampling policy, advantages, log-probabilities under the
reference.
"""


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """The items (by index) of each pack, no pack longer than `capacity` tokens. Raises `ValueError` for an
    item that is longer. O(n log n) comparisons.
    """
    packs: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # (tokens left, pack), sorted
    for row in sorted(range(len(lengths)), key=lambda at: (-lengths[at], at)):
        if lengths[row] > capacity:
            raise ValueError(f"row {row} has {lengths[row]} tokens, a pack holds {capacity}")
        at = bisect.bisect_left(rooms, (lengths[row], -1))
        if at == len(rooms):
            packs.append([])
            room, number = capacity, len(packs) - 1
        else:
            room, number = rooms.pop(at)
        packs[number].append(row)
        bisect.insort(rooms, (room - lengths[row], number))
    return packs


def loss_weights(encoded: Encoded, *, per_sequence: bool) -> npt.NDArray[np.float32]:
    """(n,) the weight of each token's loss: 1 for a trained token, or 1 / (trained tokens of the row) with
    `per_sequence`, so that every row counts the same (LongAlign's rule); 0 elsewhere.
    """
    weights = loss_mask(encoded).astype(np.float32)
    total = float(weights.sum())
    return weights / np.float32(total) if per_sequence and total else weights


def join(
    rows: Sequence[Encoded], *, per_sequence: bool, values: Sequence[Values] = ()
) -> dict[str, npt.NDArray[Any]]:
    """One sequence of all `rows`: `input_ids`, `position_ids` (from 0 in each row), `row_numbers` (from 0),
    `labels` (the ids where they are trained, else `IGNORED`), `weights`, and the entries of `values` (one
    mapping per row, all with the same keys), each (sum of lengths,).
    """
    joined: dict[str, npt.NDArray[Any]] = {
        "input_ids": np.concatenate([row.ids for row in rows]).astype(np.int64),
        "position_ids": np.concatenate([np.arange(len(row.ids), dtype=np.int64) for row in rows]),
        "row_numbers": np.repeat(np.arange(len(rows), dtype=np.int64), [len(row.ids) for row in rows]),
        "labels": np.concatenate([np.where(loss_mask(row), row.ids, IGNORED) for row in rows]).astype(
            np.int64
        ),
        "weights": np.concatenate([loss_weights(row, per_sequence=per_sequence) for row in rows]),
    }
    for key in values[0] if values else ():
        joined[key] = np.concatenate([each[key] for each in values])
    return joined


def collate(packs: Sequence[dict[str, npt.NDArray[Any]]], *, pad_id: int) -> dict[str, npt.NDArray[Any]]:
    """A batch (packs, longest) of joined rows, whose numbers continue from pack to pack. Padding is at the
    end, with its own positions, so that it is one more row that no other row attends to and that is not
    trained; there is no attention mask.
    """
    longest = max(len(one["input_ids"]) for one in packs)
    fill = {"input_ids": pad_id, "labels": IGNORED, "row_numbers": _NO_ROW}
    counts = [int(one["row_numbers"][-1]) + 1 for one in packs]
    firsts = np.cumsum([0, *counts[:-1]])
    batch: dict[str, npt.NDArray[Any]] = {}
    for key in packs[0]:
        padded = []
        for first, one in zip(firsts, packs, strict=True):
            missing = longest - len(one[key])
            tail = (
                np.arange(missing, dtype=np.int64)
                if key == "position_ids"
                else np.full(missing, fill.get(key, 0), dtype=one[key].dtype)
            )
            own = one[key] + first if key == "row_numbers" else one[key]
            padded.append(np.concatenate([own, tail]))
        batch[key] = np.stack(padded)
    return batch


def loss_mask(row: Encoded) -> npt.NDArray[np.bool_]:
    """(n,) true for the trained tokens. A row's first token has no preceding token, so it is never
    trained.
    """
    trained = row.trainable.copy()
    trained[:1] = False
    return trained


_NO_ROW = -1
