"""An encoder without weights, for tests and smoke runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from src_retrieval.encoders.base import Advance, Encoder, Precision, normalise
from src_retrieval.encoders.spec import EncoderIdentity
from src_retrieval.results import FloatArray

TOY = "toy"
TOY_DIM = 64
TOY_BATCH = 64
_WORD = re.compile(r"\w+")


class ToyEncoder(Encoder):
    """Signed hashed bag of words: no weights, deterministic, shares words -> shares direction. For
    tests.
    """

    def __init__(self, dim: int = TOY_DIM) -> None:
        self._dim = dim
        self.batch_size = TOY_BATCH
        self.identity = EncoderIdentity(f"{TOY}:{dim}", TOY, dim, Precision.FP32, f"{TOY}-1-{dim}")

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of queries, [n, dim]."""
        out = np.zeros((len(texts), self._dim), dtype=np.float32)
        for at, text in enumerate(texts):
            for word in _WORD.findall(text.lower()):
                digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
                slot = int.from_bytes(digest, "little")
                out[at, slot % self._dim] += 1.0 if slot >> 63 else -1.0
        return normalise(out)

    def encode_passages(self, texts: Sequence[str], *, advance: Advance = lambda _: None) -> FloatArray:
        """The same as for queries."""
        vectors = self.encode_queries(texts)
        advance(len(texts))
        return vectors
