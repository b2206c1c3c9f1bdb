"""The losses of the three objectives, as pure functions of log-probabilities in float32, and that of a
reranker, of scores.

Each returns a *sum*. The trainer divides it (by a total over all devices and accumulation steps of an
optimiser step), so that the gradient does not depend on the split of a batch. Metrics are sums over the same
items, without gradient.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch.nn import functional

DpoVariant = Literal["sigmoid", "ipo"]

_MAX_LOG_RATIO = 20.0
"""The log-ratio is bounded by 20, so that a single token does not overflow (as in verl)."""


class DpoLoss(NamedTuple):
    """`total`: sum of the loss over pairs. Sums over pairs of: the implicit rewards (beta times the log-ratio
    to the reference) of the chosen and the rejected side, and whether the chosen one's is higher.
    """

    total: torch.Tensor
    chosen_reward: torch.Tensor
    rejected_reward: torch.Tensor
    accuracy: torch.Tensor


class PolicyLoss(NamedTuple):
    """`total`: weighted sum of the loss over tokens. Sums over tokens of: the ratio of the new to the old
    probability, whether clipping took effect, and the estimate of the KL divergence from the reference (0
    without a reference).
    """

    total: torch.Tensor
    ratio: torch.Tensor
    clipped: torch.Tensor
    kl: torch.Tensor


def weighted_nll(logprobs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted cross-entropy: the sum over tokens (n,) of weight times negative log-likelihood."""
    return -(logprobs * weights).sum()


def dpo_loss(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    ref_chosen: torch.Tensor,
    ref_rejected: torch.Tensor,
    *,
    beta: float,
    variant: DpoVariant = "sigmoid",
    label_smoothing: float = 0.0,
) -> DpoLoss:
    """Direct preference optimisation. All arguments are (pairs,): the log-probability of a side under the
    trained model and under the reference, summed over its trained tokens, or its mean per token for the
    length-normalised forms.

    `sigmoid` (arXiv 2305.18290, eq. 7): -log sigmoid(beta x margin), where the margin is the difference of
    the sides' log-ratios to the reference. `label_smoothing` is the assumed share of pairs whose sides are
    swapped (conservative DPO). `ipo` (arXiv 2310.12036, eq. 17): (margin - 1 / (2 beta)) squared; its authors
    meant means per token.
    """
    chosen_ratio, rejected_ratio = chosen - ref_chosen, rejected - ref_rejected
    margin = chosen_ratio - rejected_ratio
    if variant == "ipo":
        losses = (margin - 1 / (2 * beta)) ** 2
    else:
        losses = -functional.logsigmoid(beta * margin) * (1 - label_smoothing)
        losses = losses - functional.logsigmoid(-beta * margin) * label_smoothing
    return DpoLoss(
        losses.sum(),
        beta * chosen_ratio.detach().sum(),
        beta * rejected_ratio.detach().sum(),
        (margin.detach() > 0).float().sum(),
    )


def policy_loss(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    *,
    weights: torch.Tensor,
    clip_low: float,
    clip_high: float,
    kl_coef: float = 0.0,
    ref_logprobs: torch.Tensor | None = None,
) -> PolicyLoss:
    """Clipped policy gradient (PPO, arXiv 1707.06347, eq. 7), per token; all tensors are (n,) over trained
    tokens. The ratio of the new to the old probability is clipped to 1 - `clip_low` … 1 + `clip_high` where a
    larger change would raise the objective. `weights` scale each token's share.

    With `kl_coef` the k3 estimate of the KL divergence from the reference is added: exp(d) - d - 1, where d
    is reference minus new log-probability (never negative; its gradient pulls towards the reference). Raises
    `ValueError` for a `kl_coef` without reference.
    """
    if kl_coef and ref_logprobs is None:
        raise ValueError("kl_coef needs the reference's log-probabilities")
    ratio = (logprobs - old_logprobs).clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO).exp()
    plain, clipped = ratio * advantages, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages
    losses = -torch.minimum(plain, clipped)
    kl = torch.zeros((), dtype=torch.float32, device=logprobs.device)
    if ref_logprobs is not None:
        distance = (ref_logprobs - logprobs).clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO)
        k3 = distance.exp() - distance - 1
        losses = losses + kl_coef * k3
        kl = k3.detach().sum()
    return PolicyLoss(
        (losses * weights).sum(), ratio.detach().sum(), (clipped < plain).detach().float().sum(), kl
    )


def group_loss(
    scores: torch.Tensor,
    targets: torch.Tensor,
    *,
    soft_weight: float = 0.0,
    soft_targets: torch.Tensor | None = None,
) -> torch.Tensor:
    """The loss of a reranker: a softmax over the passages of each question (reference/radio_flashrag.md,
    section 1.5). `scores` (groups, members) are logits, -inf where a group has fewer members; `targets` (same
    shape) are 1 for the positive, else 0. The cross-entropy of a group of equal logits is ln(members).

    `soft_targets` (same shape, each row a distribution) are the labels of a teacher: their KL divergence to
    the model's distribution has the share `soft_weight` of the loss. Raises `ValueError` for a share without
    them.
    """
    if soft_weight and soft_targets is None:
        raise ValueError("soft_weight needs soft_targets")
    logprobs = functional.log_softmax(scores, dim=-1)
    # 0 * inf is no number; a score that is no number stays one, so that the trainer sees it
    logprobs = torch.where(scores == -torch.inf, torch.zeros_like(logprobs), logprobs)
    total = (1 - soft_weight) * -(logprobs * targets).sum()
    if soft_targets is not None and soft_weight:
        entropy = torch.special.entr(soft_targets).sum()
        total = total + soft_weight * (-(logprobs * soft_targets).sum() - entropy)
    return total


def value_loss(
    values: torch.Tensor,
    old_values: torch.Tensor,
    returns: torch.Tensor,
    *,
    weights: torch.Tensor,
    clip: float,
) -> torch.Tensor:
    """The weighted sum over tokens (n,) of half the squared error of a value head: the larger error of the
    value and of the value clipped to `clip` around its old one (PPO, as in OpenRLHF and verl).
    """
    near = old_values + (values - old_values).clamp(-clip, clip)
    return (0.5 * torch.maximum((values - returns) ** 2, (near - returns) ** 2) * weights).sum()
