"""Rows into packs, and packs into batches: every token of a batch is a real one.

Best-fit decreasing: the longest row first, each into the fullest pack that still has room. A pack is one
sequence for the model; its rows do not see each other because their position ids start again at 0, which
transformers turns into a block-diagonal mask as long as no attention mask is given and the cache is off
(reference performance.md section 3; `tests/test_train_model.py` proves it on logits and gradients). How we
differ from LongAlign (reference section 7.1): it packs in file order, loses the last pack, and does not reset
the positions.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from src_core.chat_tokenizer import Encoded

IGNORED = -100
"""The label of a token that is not learnt, as everywhere in torch and transformers."""


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """The rows (by index) of each pack, no pack longer than `capacity` tokens. Raises `ValueError` for a row
    that is longer. O(n log n) comparisons.
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
    """(n,) the weight of each token's loss: 1 for a target, or 1 / (targets of the row) with `per_sequence`,
    so that every row counts the same (LongAlign's rule); 0 elsewhere.
    """
    weights = _learnt(encoded).astype(np.float32)
    total = float(weights.sum())
    return weights / np.float32(total) if per_sequence and total else weights


def join(rows: Sequence[Encoded], *, per_sequence: bool) -> dict[str, npt.NDArray[Any]]:
    """One sequence of all `rows`: `input_ids`, `position_ids` (from 0 in each row), `labels` (the ids where
    they are learnt, else `IGNORED`) and `weights`, each (sum of lengths,). A row's first token has nothing
    before it to be predicted from, so it is never a label.
    """
    return {
        "input_ids": np.concatenate([row.ids for row in rows]).astype(np.int64),
        "position_ids": np.concatenate([np.arange(len(row.ids), dtype=np.int64) for row in rows]),
        "labels": np.concatenate([np.where(_learnt(row), row.ids, IGNORED) for row in rows]).astype(np.int64),
        "weights": np.concatenate([loss_weights(row, per_sequence=per_sequence) for row in rows]),
    }


def collate(packs: Sequence[dict[str, npt.NDArray[Any]]], *, pad_id: int) -> dict[str, npt.NDArray[Any]]:
    """A batch (packs, longest) of joined rows. Padding stands behind, with positions of its own, so that it
    is one more row that nobody sees and nothing is learnt from; there is no attention mask.
    """
    longest = max(len(one["input_ids"]) for one in packs)
    fill = {"input_ids": pad_id, "labels": IGNORED, "weights": 0.0}
    batch: dict[str, npt.NDArray[Any]] = {}
    for key in ("input_ids", "position_ids", "labels", "weights"):
        padded = []
        for one in packs:
            missing = longest - len(one[key])
            tail = (
                np.arange(missing, dtype=np.int64)
                if key == "position_ids"
                else np.full(missing, fill[key], dtype=one[key].dtype)
            )
            padded.append(np.concatenate([one[key], tail]))
        batch[key] = np.stack(padded)
    return batch


def _learnt(row: Encoded) -> npt.NDArray[np.bool_]:
    learnt = row.trainable.copy()
    learnt[:1] = False
    return learnt
