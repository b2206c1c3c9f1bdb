"""The quantiser of llama.cpp's IQ4_NL: 4 bits a weight with uneven levels, blocks of 32 with a scale in f16.

The gguf package reads this type and cannot write it. It is as large and as fast as Q4_0, which llama.cpp
computes several rows at a time on processors with AVX2 or better, and closer to the weights. As in
quantize_row_iq4_nl_impl of ggml-quants.c without an importance matrix: of 16 scales the one with the least
error, weighted by the square of each weight, is kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src_models.convert.gguf_names import Array

LEVELS = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], dtype=np.float32
)
BETWEEN = (LEVELS[1:] + LEVELS[:-1]) / 2
BLOCK = 32
TRIES = 7
CHUNK = 1 << 13
"""Blocks at a time: some MB, which stay in the processor's cache."""

_CODES = np.searchsorted(BETWEEN, np.arange(-128, 129, 0.5, dtype=np.float32), side="left").astype(np.uint8)
"""The nearest level of each half integer from -128 on: a table is several times faster than a search."""
_NEAREST = LEVELS[_CODES]
_TINY = np.float32(1e-30)


def quantise_iq4_nl(values: Array) -> NDArray[np.uint8]:
    """The bytes of `values`, whose rows are whole blocks: 18 a block, same leading shape."""
    blocks = values.reshape(-1, BLOCK)
    parts = [_blocks(blocks[at : at + CHUNK]) for at in range(0, len(blocks), CHUNK)]
    return np.concatenate(parts).reshape(*values.shape[:-1], -1)


def _blocks(x: Array) -> NDArray[np.uint8]:
    extreme = x[np.arange(len(x)), np.abs(x).argmax(axis=1)]
    safe = np.where(np.abs(extreme) < 1e-15, np.float32(1), extreme)
    weights = x * x
    weighted = weights * x
    scale = np.zeros(len(x), dtype=np.float32)
    best = np.full(len(x), -1, dtype=np.float32)
    for step in range(-TRIES, TRIES + 1):
        levels = _NEAREST.take(_places(x, (step + LEVELS[0]) / safe), mode="clip")
        product = np.einsum("ij,ij->i", weighted, levels)
        levels *= levels
        ratio = product / np.maximum(np.einsum("ij,ij->i", weights, levels), _TINY)
        gain = product * ratio
        better = gain > best
        np.copyto(best, gain, where=better)
        np.copyto(scale, ratio, where=better)
    stored = scale.astype(np.float16)
    wide = stored.astype(np.float32)
    inverse = np.divide(1, wide, out=np.zeros_like(wide), where=wide != 0)
    codes = _CODES.take(_places(x, inverse), mode="clip")
    packed = codes[:, : BLOCK // 2] | codes[:, BLOCK // 2 :] << 4
    return np.concatenate([stored[:, None].view(np.uint8), packed], axis=1)


def _places(x: Array, factor: Array) -> NDArray[np.intp]:
    """Where in the table `x`, times the factor of its row, stands."""
    scaled = x * (2 * factor)[:, None]
    np.rint(scaled, out=scaled)
    scaled += 256
    return scaled.astype(np.intp)
