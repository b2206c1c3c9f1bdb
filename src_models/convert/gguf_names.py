"""The names and the row order of a hub folder's tensors in a GGUF file.

Names come from the map of the gguf package. The order of rows is llama.cpp's own: the hub's rotary embedding
pairs row i of a head with row i + half, llama.cpp's `llama` architecture pairs neighbours, so the rows of the
q and k projections are interleaved there (`permute` in llama.cpp's convert_hf_to_gguf.py). Architectures that
llama.cpp runs with the hub's pairing (qwen2, qwen3) keep their rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src_core.errors import UserError
from src_models.gguf_header import GgufHeader

Array = NDArray[np.float32]
MOST_PARTS = 10_000
"""Above the number of layers and of heads of every model."""


class Architecture(NamedTuple):
    """The `model_type`s of the hub that llama.cpp runs under one name; whether q and k are interleaved."""

    model_types: frozenset[str]
    interleaved: bool


ARCHITECTURES = {
    "llama": Architecture(frozenset({"llama", "mistral"}), interleaved=True),
    "qwen2": Architecture(frozenset({"qwen2"}), interleaved=False),
    "qwen3": Architecture(frozenset({"qwen3"}), interleaved=False),
}


@dataclass(frozen=True)
class Layout:
    """Names and row order of one model. `names` is the gguf package's `TensorNameMap`."""

    architecture: Architecture
    names: Any
    heads: int
    kv_heads: int

    def name(self, hub_name: str) -> str | None:
        """`model.layers.0.self_attn.q_proj.weight` -> `blk.0.attn_q.weight`; None for an unknown name."""
        found: str | None = self.names.get_name(hub_name, try_suffixes=(".weight", ".bias"))
        return found

    def rows(self, values: Array, *, name: str) -> Array:
        """`values`, the tensor `name` of the GGUF file (or the B matrix of its adapter), in llama.cpp's order
        of rows."""
        part = name.split(".")[-2]
        if not self.architecture.interleaved or part not in ("attn_q", "attn_k"):
            return values
        heads = self.heads if part == "attn_q" else self.kv_heads
        halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
        return halves.swapaxes(1, 2).reshape(values.shape)


def layout_of(base: GgufHeader) -> Layout:
    """The layout of the model file `base`. Raises `UserError` for an adapter or an unknown architecture."""
    import gguf

    if base.is_adapter:
        raise UserError(f"{base.path} is an adapter; name the model that was trained with --like")
    if base.architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise UserError(f"{base.path} is of the architecture {base.architecture!r}; supported are: {known}")
    number = {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}[base.architecture]
    names = gguf.get_tensor_name_map(number, fact(base, "block_count"))
    heads = fact(base, "attention.head_count")
    kv_heads = fact(base, "attention.head_count_kv", default=heads)
    return Layout(ARCHITECTURES[base.architecture], names, heads, kv_heads)


def fact(base: GgufHeader, key: str, *, default: int | None = None) -> int:
    """A count in the model's metadata. Raises `UserError` where it is missing (without a `default`) or is no
    count.
    """
    value = base.number(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or not 0 < value <= MOST_PARTS:
        raise UserError(
            f"{base.path} gives {base.architecture}.{key} as {value!r:.40}; name another model with --like"
        )
    return value
