"""The loss of a causal language model where it is learnt, and nowhere else.

`learn_targets` gives a model a `forward` that returns the *sum* of weighted negative log-likelihoods. What
a sum is divided by (the targets of all devices and accumulation steps) is the trainer's business: so the
gradient does not depend on how a batch was cut. Only positions before a target go through the output
matrix, and those in chunks whose logits are computed again in the backward pass: a vocabulary of 150,000
costs memory for one chunk, not for a batch.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from src_core.errors import UserError
from src_train.attention import PACKED, row_bounds
from src_train.packing import IGNORED

# A model with one of these does more between hidden states and loss than multiply with the output matrix.
_OTHER_HEADS = ("final_logit_softcapping", "logit_scale", "logits_scaling")


def learn_targets(model: Any, *, chunk: int) -> None:
    """Change `model` (a transformers causal language model) in place. Its `forward` then takes `input_ids`,
    `position_ids`, `labels` and `weights`, each (batch, length), and returns `{"loss": sum}`, a float32
    scalar over all targets. It is the model's own `forward` that changes, not a wrapper's, so that
    sharding, adapters and saving go on working. Raises `UserError` for a model whose logits are not the
    plain product.
    """
    changed = [name for name in _OTHER_HEADS if getattr(model.config, name, None) not in (None, 1.0)]
    if changed:
        raise UserError(
            f"{type(model).__name__} changes its logits ({', '.join(changed)}); that is not supported"
        )
    body, head = model.base_model, model.get_output_embeddings()

    def forward(
        self: Any,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        labels: torch.Tensor,
        weights: torch.Tensor,
        **_: Any,
    ) -> dict[str, torch.Tensor]:
        # No mask and no cache: only then do position ids that start again keep packed rows apart.
        rows = {"rows": row_bounds(position_ids)} if self.config._attn_implementation == PACKED else {}
        hidden = body(
            input_ids=input_ids, position_ids=position_ids, attention_mask=None, use_cache=False, **rows
        )
        states, ids, shares = select(hidden.last_hidden_state, labels, weights)
        return {"loss": chunked_nll(states, head, ids, shares, chunk=chunk)}

    model.forward = types.MethodType(forward, model)


def select(
    hidden: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The hidden states (targets, width) before each target, its id (targets,) and weight (targets,)."""
    learnt = labels[:, 1:] != IGNORED
    return hidden[:, :-1][learnt], labels[:, 1:][learnt], weights[:, 1:][learnt]


def chunked_nll(
    states: torch.Tensor, head: Any, ids: torch.Tensor, weights: torch.Tensor, *, chunk: int
) -> torch.Tensor:
    """Sum of weight x negative log-likelihood, float32; `chunk` targets at a time (0: all at once). Without
    targets it is a zero that still reaches every parameter, as data-parallel training expects.
    """
    if not len(ids):
        return (head(states[:0]).sum() + states.sum() * 0.0).float()
    total = torch.zeros((), dtype=torch.float32, device=states.device)
    for part in torch.arange(len(ids), device=states.device).split(chunk or len(ids)):
        low, high = int(part[0]), int(part[-1]) + 1
        args = (states[low:high], head, ids[low:high], weights[low:high])
        total = total + (checkpoint(_nll, *args, use_reentrant=False) if chunk else _nll(*args))
    return total


def _nll(states: torch.Tensor, head: Any, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    losses = functional.cross_entropy(head(states).float(), ids, reduction="none")
    return (losses * weights).sum()
