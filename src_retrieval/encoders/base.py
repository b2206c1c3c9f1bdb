"""The base type of an encoder (text to vectors), its options, and the code that all encoders share.

All vectors are float32 [n, dim]; where the family normalises, inner product equals cosine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from src_core.config import Count, Positive, config_class
from src_retrieval.encoders.spec import EncoderIdentity, EncoderSpec, Pooling
from src_retrieval.results import FloatArray

Advance = Callable[[int], None]


class Precision(StrEnum):
    """The weights of an ONNX folder to run. The two give slightly different vectors; the manifest records
    which one was used. int8 is quantised dynamically: a passage's vector depends slightly on its batch.
    """

    INT8 = "int8"
    FP32 = "fp32"


class Device(StrEnum):
    """The device of the encoder. `auto`: ONNX on CPU where the folder has it, else torch on the GPU if there
    is one.
    """

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


@config_class
class EncoderOptions:
    """The settings of an encoder. `threads` 0 means all physical cores; lengths are in tokens. On a CPU
    batches of 8 pad least and stay in cache (measured 10 % faster than 32); on a GPU set `batch_size` to some
    hundreds.
    """

    family: str = ""
    precision: Precision = Precision.INT8
    device: Device = Device.AUTO
    threads: Count = 0
    batch_size: Positive = 8
    query_max_length: Positive = 128
    trust_remote_code: bool = False


class Encoder(ABC):
    """Texts to float32 [n, dim]. `identity` is the record of this encoder in an index; `batch_size` is the
    number of texts per batch.
    """

    identity: EncoderIdentity
    batch_size: int

    @abstractmethod
    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of queries."""

    @abstractmethod
    def encode_passages(self, texts: Sequence[str], *, advance: Advance = lambda _: None) -> FloatArray:
        """Vectors of passages; `advance` receives the number of texts of each finished batch."""


def pool(hidden: FloatArray, mask: NDArray[np.int64], spec: EncoderSpec) -> FloatArray:
    """One vector per text from hidden [n, tokens, dim] and mask [n, tokens]."""
    if spec.pooling is Pooling.CLS:
        pooled = np.ascontiguousarray(hidden[:, 0])
    else:
        weights = mask.astype(np.float32)
        total = np.einsum("nt,ntd->nd", weights, hidden, optimize=True)
        pooled = total / np.maximum(weights.sum(axis=1, keepdims=True), 1.0)
    return normalise(pooled) if spec.normalize else pooled.astype(np.float32, copy=False)


def normalise(vectors: FloatArray) -> FloatArray:
    """Rows of length 1; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: FloatArray = np.divide(vectors, np.maximum(lengths, 1e-12), dtype=np.float32)
    return scaled


def in_length_order(
    lengths: Sequence[int],
    dim: int,
    batch_size: int,
    encode: Callable[[list[int]], FloatArray],
    *,
    advance: Advance = lambda _: None,
) -> FloatArray:
    """Encode by batches of similar length and restore the order of the rows. Sorting cuts padding from 1.30x
    to 1.06x of the real tokens (reference/performance.md, section 1.6).
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    out = np.empty((len(lengths), dim), dtype=np.float32)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        out[chosen] = encode(chosen)
        advance(len(chosen))
    return out
