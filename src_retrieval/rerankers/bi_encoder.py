"""A bi-encoder as reranker: the inner product of the encoder's vectors of query and passage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from src_core.errors import UserError
from src_retrieval.encoders.base import Encoder, EncoderOptions, Precision
from src_retrieval.encoders.load import load_encoder
from src_retrieval.rerankers.base import (
    Candidates,
    Pair,
    Reranker,
    RerankerBackend,
    RerankerIdentity,
    RerankOptions,
    RerankPrecision,
    list_by_list,
    query_by_query,
    sigmoid,
)
from src_retrieval.results import FloatArray


class BiEncoderReranker(Reranker):
    """Passages are cut at the encoder's own length, and batched as it batches them."""

    def __init__(self, encoder: Encoder, options: RerankOptions) -> None:
        self._encoder = encoder
        self._sigmoid = options.sigmoid
        own = encoder.identity
        self.identity = RerankerIdentity(
            type="bi_encoder",
            name=options.model,
            precision=own.precision,
            sha256=own.sha256,
            max_length=0,
            query_max_length=options.query_max_length,
            sigmoid=options.sigmoid,
        )

    def score(self, pairs: Sequence[Pair]) -> FloatArray:
        """See `Reranker.score`; the encoder's int8 weights make the vectors depend on their batch, so each
        query has separate batches.
        """
        scores = query_by_query(pairs, self._score)
        return sigmoid(scores) if self._sigmoid else scores

    def score_lists(self, lists: Sequence[Candidates]) -> list[FloatArray]:
        """See `Reranker.score_lists`."""
        return list_by_list(lists, self.score)

    def _score(self, pairs: Sequence[Pair]) -> FloatArray:
        query = self._encoder.encode_queries([pairs[0].query])[0]
        passages = self._encoder.encode_passages([pair.passage for pair in pairs])
        scores: FloatArray = np.asarray(passages @ query, dtype=np.float32)
        return scores


class BiEncoderBackend(RerankerBackend):
    """`type: bi_encoder`."""

    kinds = ("bi_encoder",)

    def load(self, options: RerankOptions) -> Reranker:
        """See `RerankerBackend.load`."""
        if options.precision is RerankPrecision.TORCH:
            raise UserError(
                "rerank.precision=torch is for cross-encoders; set it to int8 or fp32 for a bi-encoder"
            )
        fp32 = options.precision is RerankPrecision.FP32
        encoding = EncoderOptions(
            family=options.family,
            precision=Precision.FP32 if fp32 else Precision.INT8,
            device=options.device,
            threads=options.threads,
            query_max_length=options.query_max_length,
        )
        return BiEncoderReranker(load_encoder(options.model, encoding), options)


BACKEND = BiEncoderBackend()
