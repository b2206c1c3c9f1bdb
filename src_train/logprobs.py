"""Log-probabilities of the trained tokens of a batch, and of no other token.

`return_logprobs` gives a model a `forward` that returns them, `token_logprobs` calls it. Every objective
(`losses`) is a function of these values. Logits are computed for trained tokens only, in chunks, and where
they are more than one chunk they are computed again in the backward pass: a vocabulary of 150,000 costs
memory for one chunk, not for a batch.
"""

from __future__ import annotations

import types
from typing import Any, NamedTuple

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from src_core.errors import UserError
from src_train.attention import PACKED, row_bounds
from src_train.packing import IGNORED

# A model with one of these does more than multiply hidden states with the output matrix.
_OTHER_HEADS = ("final_logit_softcapping", "logit_scale", "logits_scaling")

Batch = dict[str, torch.Tensor]
"""The result of `packing.collate`, as tensors."""


_SMALLEST_CHUNK = 32
"""Tokens below which a remainder is not cut any further."""


class TokenLogprobs(NamedTuple):
    """The trained tokens of a batch, in order: `values` (n,) float32 log-probabilities, `rows` (n,) int64
    number of the row that each belongs to, `states` (n, width) the hidden states that each was predicted
    from.
    """

    values: torch.Tensor
    rows: torch.Tensor
    states: torch.Tensor | None = None


def return_logprobs(model: Any, *, chunk: int) -> None:
    """Change `model` (a transformers causal language model) in place. Its `forward` then takes `input_ids`,
    `position_ids` and `labels`, each (batch, length), and returns `{"logprobs": (n,) float32}` of the n
    trained tokens (labels other than `IGNORED`), `chunk` of them at a time (0: all at once), and their hidden
    `states` (n, width). The model's own
    `forward` is replaced, not wrapped, so that sharding, adapters and saving still work. Raises `UserError`
    for a model whose logits are not the plain product.
    """
    changed = [name for name in _OTHER_HEADS if getattr(model.config, name, None) not in (None, 1.0)]
    if changed:
        raise UserError(
            f"this model changes its logits ({', '.join(changed)}), which is not supported; take "
            "another model"
        )
    body, head = model.base_model, model.get_output_embeddings()

    def forward(
        self: Any,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        labels: torch.Tensor,
        **_: Any,
    ) -> dict[str, torch.Tensor]:
        # No mask and no cache: only then do restarting position ids separate packed rows.
        rows = {"rows": row_bounds(position_ids)} if self.config._attn_implementation == PACKED else {}
        hidden = body(
            input_ids=input_ids, position_ids=position_ids, attention_mask=None, use_cache=False, **rows
        )
        trained = labels[:, 1:] != IGNORED
        states = hidden.last_hidden_state[:, :-1][trained]
        logprobs = chunked_logprobs(states, head, labels[:, 1:][trained], chunk=chunk)
        return {"logprobs": logprobs, "states": states}

    model.forward = types.MethodType(forward, model)


def token_logprobs(model: Any, batch: Batch) -> TokenLogprobs:
    """The log-probabilities of the batch's trained tokens under `model` (after `return_logprobs`, wrapped or
    not).
    """
    outputs = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], labels=batch["labels"])
    return TokenLogprobs(outputs["logprobs"], of_trained(batch, "row_numbers"), outputs["states"])


def of_trained(batch: Batch, key: str) -> torch.Tensor:
    """The values (n,) of a (batch, length) entry of the batch at its n trained tokens, in order."""
    return batch[key][batch["labels"] != IGNORED]


def chunked_logprobs(states: torch.Tensor, head: Any, ids: torch.Tensor, *, chunk: int) -> torch.Tensor:
    """(n,) float32 log-probabilities of `ids` (n,) after the hidden states (n, width), `chunk` at a time (0:
    all at once). Without trained tokens the result is empty, but its graph still includes every parameter, as
    data-parallel training requires.
    """
    if not len(ids):
        return head(states).float().sum(-1)
    sizes = chunk_sizes(len(ids), chunk)
    parts = zip(states.split(sizes), ids.split(sizes), strict=True)
    if not chunk or len(ids) <= chunk:  # no more is kept than a full chunk takes: nothing is computed twice
        return torch.cat([_logprobs(part, head, wanted) for part, wanted in parts])
    return torch.cat(
        [checkpoint(_logprobs, part, head, wanted, use_reentrant=False) for part, wanted in parts]
    )


def chunk_sizes(total: int, chunk: int) -> list[int]:
    """`total` in chunks of at most `chunk` tokens (0: one chunk). The rest after the full chunks is cut into
    halves, quarters and so on of `chunk`: glibc's heap reuses blocks of a few sizes, and grows when each step
    requests another size (60 steps of a small model: 1.0 GB instead of 1.2, in the same CPU time).
    """
    if not chunk:
        return [total]
    sizes = [chunk] * (total // chunk)
    left, size = total % chunk, chunk
    while left:
        size = max(size // 2, _SMALLEST_CHUNK)
        take = size if size <= left else left if size == _SMALLEST_CHUNK else 0
        sizes += [take] if take else []
        left -= take
    return sizes


def _logprobs(states: torch.Tensor, head: Any, ids: torch.Tensor) -> torch.Tensor:
    return -functional.cross_entropy(head(states).float(), ids, reduction="none")
