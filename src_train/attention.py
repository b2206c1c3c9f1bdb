"""Causal attention inside each row of a pack; no attention is computed between rows.

transformers separates packed rows by a mask, and torch's kernels then compute every pair of tokens, masked or
not: on a CPU more than half of a step at 1,600 tokens. Here the kernel is called for each row alone, causally
and without a mask, which gives the same attention (`tests/test_train_model.py`). On a GPU torch's own flash
kernel runs, once per row, and no mask of length x length is in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from src_core.errors import UserError

PACKED = "packed"
"""The value of `TrainConfig.attention`, and the name under which `packed_attention` is registered in
transformers.
"""

Bounds = Sequence[Sequence[tuple[int, int]]]
"""For each sequence of a batch, the start and end of each of its rows."""


def row_bounds(position_ids: torch.Tensor) -> Bounds:
    """The rows of (batch, length) positions, which restart at 0 with each row (`packing.collate`)."""
    length = position_ids.shape[1]
    starts = [line.nonzero().flatten().tolist() for line in (position_ids == 0).cpu()]
    return [list(zip(line, [*line[1:], length], strict=True)) for line in starts]


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001 - part of the interface, always None here
    *,
    rows: Bounds,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """`query`, `key` and `value` are (batch, heads, length, width of a head), the result is (batch, length,
    heads, width of a head). Raises `UserError` for a row longer than the layer's sliding window, which would
    need a mask.
    """
    longest = max(end - start for line in rows for start, end in line)
    if sliding_window is not None and longest > sliding_window:
        raise UserError(
            f"a row of {longest} tokens is longer than the model's sliding window of {sliding_window}: take"
            " attention=sdpa"
        )

    def attend(at: slice, start: int, end: int) -> torch.Tensor:
        parts = (tensor[at, :, start:end] for tensor in (query, key, value))
        return sdpa_attention_forward(module, *parts, None, **kwargs)[0]

    if all(line == rows[0] for line in rows):  # one row per sequence, or only one sequence
        return torch.cat([attend(slice(None), *row) for row in rows[0]], dim=1), None
    lines = [
        torch.cat([attend(slice(at, at + 1), *row) for row in line], dim=1) for at, line in enumerate(rows)
    ]
    return torch.cat(lines), None


AttentionInterface.register(PACKED, packed_attention)
