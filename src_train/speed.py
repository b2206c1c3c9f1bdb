"""Training speed: tokens per second, and the share of the device's matrix rate that the model's arithmetic
uses (MFU). The rate is measured on the device, in the precision of the run.
"""

from __future__ import annotations

import time
from typing import Any, Literal, NamedTuple

import torch

from src_models.machine import native_bf16

_SIZES = {"cuda": 8192, "cpu": 1536}
_SECONDS = 1.0
_PROBE = 384


class Cost(NamedTuple):
    """Floating-point operations of one forward and backward pass: `per_token` of the body, `per_trained` of
    the output matrix for each trained token, and `per_pair` of attention, for each pair of a token and a
    token that it attends to.
    """

    per_token: float
    per_trained: float
    per_pair: float

    def total(self, tokens: int, trained: int, pairs: int) -> float:
        """Operations for a batch. Recomputed activations are not counted, as is usual for MFU."""
        return self.per_token * tokens + self.per_trained * trained + self.per_pair * pairs


def training_cost(model: Any) -> Cost:
    """6 operations per weight of the body and token (2 forward, 4 backward), 6 per entry of the output matrix
    and trained token, 12 x layers x width per pair of attention. Adapters: gradients of frozen weights are
    not computed, 4 instead of 6.
    """
    head = model.get_output_embeddings().weight
    embeddings = model.get_input_embeddings().weight
    body = sum(weight.numel() for weight in model.parameters()) - embeddings.numel()
    body -= head.numel() if head is not embeddings else 0
    factor = 6.0 if embeddings.requires_grad or head.requires_grad else 4.0
    config = model.config
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    return Cost(factor * body, factor * head.numel(), factor * 2 * config.num_hidden_layers * width)


def causal_pairs(lengths: list[int]) -> int:
    """The number of attention pairs in rows of these lengths."""
    return sum(length * (length + 1) // 2 for length in lengths)


def faster_precision(device: torch.device) -> Literal["bf16", "fp32"]:
    """The faster precision on `device`. Where the processor reports whether it supports bf16, that decides: a
    measurement on a busy machine can be wrong by more than the difference. Otherwise both are measured; bf16
    is preferred where they are similar, as it needs less memory.
    """
    if device.type == "cpu" and (native := native_bf16()) is not None:
        return "bf16" if native else "fp32"
    rates = [
        matrix_rate(device, dtype, size=_PROBE, seconds=0.05) for dtype in (torch.bfloat16, torch.float32)
    ]
    return "bf16" if rates[0] > 0.8 * rates[1] else "fp32"


def matrix_rate(
    device: torch.device, dtype: torch.dtype, *, size: int = 0, seconds: float = _SECONDS
) -> float:
    """Operations per second of a square matrix product on `device`, a large one unless `size` is given,
    measured for `seconds`.
    """
    size = size or _SIZES.get(device.type, 4096)
    left = torch.randn(size, size, device=device, dtype=dtype)
    right = torch.randn(size, size, device=device, dtype=dtype)
    _wait(left @ right)
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        for _ in range(4):
            result = left @ right
        _wait(result)
        done += 4
    return done * 2.0 * size**3 / spent


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: allocated by torch on a GPU, resident memory of this process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _wait(tensor: torch.Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
