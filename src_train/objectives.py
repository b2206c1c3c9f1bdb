"""The objectives of training: supervised fine-tuning, preference pairs, or policy gradient on rollouts.

An objective computes a loss sum from the log-probabilities of a batch, and the divisor for the sums of an
optimiser step. Everything else of a run (packing, chunks, steps, checkpoints) is the same for all.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch

from src_train.config import DpoConfig, PolicyConfig, TrainConfig
from src_train.logprobs import Batch, TokenLogprobs, of_trained
from src_train.losses import dpo_loss, policy_loss, weighted_nll
from src_train.packing import ADVANTAGES, OLD_LOGPROBS, REF_LOGPROBS


class LossSum(NamedTuple):
    """`total`: the loss before division, a float32 scalar. `metrics`: sums over `items` (pairs or tokens)."""

    total: torch.Tensor
    metrics: dict[str, torch.Tensor]
    items: torch.Tensor


class Objective(Protocol):
    """One objective."""

    def divisor(self, batch: Batch) -> torch.Tensor:
        """The batch's share (a scalar) of the divisor of an optimiser step's loss."""
        ...

    def loss(self, tokens: TokenLogprobs, batch: Batch) -> LossSum:
        """The sum for one batch."""
        ...


class Sft:
    """Weighted cross-entropy; divided by the weight of the trained tokens."""

    def divisor(self, batch: Batch) -> torch.Tensor:
        """Sum of the weights."""
        return batch["weights"].sum()

    def loss(self, tokens: TokenLogprobs, batch: Batch) -> LossSum:
        """See `losses.weighted_nll`."""
        total = weighted_nll(tokens.values, of_trained(batch, "weights"))
        return LossSum(total, {}, self.divisor(batch))


class Dpo:
    """Preference pairs: row 2k of a batch is the chosen side of pair k, row 2k + 1 the rejected one. Divided
    by the number of pairs.
    """

    def __init__(self, config: DpoConfig) -> None:
        self._config = config
        self._mean = config.length_normalised or config.variant == "ipo"

    def divisor(self, batch: Batch) -> torch.Tensor:
        """Number of pairs."""
        return (batch["row_numbers"].max() + 1).float() / 2

    def loss(self, tokens: TokenLogprobs, batch: Batch) -> LossSum:
        """See `losses.dpo_loss`."""
        pairs = self.divisor(batch)
        counts = torch.bincount(tokens.rows, minlength=2 * int(pairs)).tolist()
        sides = per_row(tokens.values, counts, mean=self._mean)
        reference = per_row(of_trained(batch, REF_LOGPROBS), counts, mean=self._mean)
        terms = dpo_loss(
            *(sides[0::2], sides[1::2], reference[0::2], reference[1::2]),
            beta=self._config.beta,
            variant=self._config.variant,
            label_smoothing=self._config.label_smoothing,
        )
        metrics = {
            "chosen_reward": terms.chosen_reward,
            "rejected_reward": terms.rejected_reward,
            "accuracy": terms.accuracy,
        }
        return LossSum(terms.total, metrics, pairs)


class Policy:
    """Clipped policy gradient on rollouts; divided by the weight of the trained tokens."""

    def __init__(self, config: PolicyConfig) -> None:
        self._config = config

    def divisor(self, batch: Batch) -> torch.Tensor:
        """Sum of the weights."""
        return batch["weights"].sum()

    def loss(self, tokens: TokenLogprobs, batch: Batch) -> LossSum:
        """See `losses.policy_loss`."""
        terms = policy_loss(
            tokens.values,
            of_trained(batch, OLD_LOGPROBS),
            of_trained(batch, ADVANTAGES),
            weights=of_trained(batch, "weights"),
            clip_low=self._config.clip_low,
            clip_high=self._config.clip_high,
            kl_coef=self._config.kl_coef,
            ref_logprobs=of_trained(batch, REF_LOGPROBS) if self._config.kl_coef else None,
        )
        metrics = {"ratio": terms.ratio, "clip_share": terms.clipped}
        if self._config.kl_coef:
            metrics["kl"] = terms.kl
        return LossSum(
            terms.total, metrics, torch.tensor(float(len(tokens.values)), device=terms.total.device)
        )


def objective_of(config: TrainConfig) -> Objective:
    """The objective that a run is configured for."""
    if config.objective == "dpo":
        return Dpo(config.dpo)
    return Policy(config.policy) if config.objective == "policy" else Sft()


def needs_reference(config: TrainConfig) -> bool:
    """Whether the loss uses the log-probabilities of a reference model."""
    return config.objective == "dpo" or (config.objective == "policy" and config.policy.kl_coef > 0)


def per_row(values: torch.Tensor, counts: list[int], *, mean: bool) -> torch.Tensor:
    """Sums (rows,) or means of `values` (n,), of which each row has `counts` in order. Each row is summed
    separately: the order of an indexed sum differs between runs on a GPU.
    """
    sums = torch.stack([part.sum() for part in values.split(counts)])
    return sums / torch.tensor(counts, device=values.device).clamp(min=1) if mean else sums
