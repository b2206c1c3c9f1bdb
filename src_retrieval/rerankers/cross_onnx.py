"""A cross-encoder over ONNX Runtime on a CPU: no torch, int8 or fp32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src_core.errors import UserError
from src_retrieval.encoders.spec import fingerprint
from src_retrieval.onnx_session import open_session
from src_retrieval.rerankers.base import (
    Candidates,
    Pair,
    Reranker,
    RerankerIdentity,
    RerankOptions,
    RerankPrecision,
    in_token_batches,
    list_by_list,
    query_by_query,
    sigmoid,
)
from src_retrieval.rerankers.pair_tokens import CONFIG, TOKENIZER, PairTokenizer, TokenPair
from src_retrieval.results import FloatArray

EXTERNAL = (".data", "_data")


class OnnxCrossEncoder(Reranker):
    """Inputs int64 [pairs, tokens] (`input_ids`, `attention_mask`, perhaps `token_type_ids`), first output
    the logits [pairs, 1].
    """

    def __init__(self, folder: Path, file: str, precision: RerankPrecision, options: RerankOptions) -> None:
        self._tokens = PairTokenizer(folder, options)
        self._options, self._precision, self._file = options, precision, file
        self._session = open_session(folder / file, options.threads)
        self._inputs = {node.name for node in self._session.get_inputs()}
        self._output = self._session.get_outputs()[0].name
        files = [file, *(file + end for end in EXTERNAL), TOKENIZER, CONFIG]
        self.identity = RerankerIdentity(
            type="cross_encoder",
            name=options.model,
            precision=f"onnx {precision}",
            sha256=fingerprint(folder, files),
            max_length=self._tokens.max_length,
            query_max_length=options.query_max_length,
            sigmoid=options.sigmoid,
        )

    def score(self, pairs: Sequence[Pair]) -> FloatArray:
        """See `Reranker.score`. Dynamic quantisation takes one scale for all activations of a batch, so with
        int8 each query has separate batches.
        """
        int8 = self._precision is RerankPrecision.INT8
        logits = query_by_query(pairs, self._score) if int8 else self._score(pairs)
        return sigmoid(logits) if self._options.sigmoid else logits

    def score_lists(self, lists: Sequence[Candidates]) -> list[FloatArray]:
        """See `Reranker.score_lists`."""
        int8 = self._precision is RerankPrecision.INT8
        return list_by_list(lists, self.score) if int8 else super().score_lists(lists)

    def count_tokens(self, pairs: Sequence[Pair]) -> int:
        """See `Reranker.count_tokens`."""
        return sum(len(pair.ids) for pair in self._tokens.encode(pairs))

    def _score(self, pairs: Sequence[Pair]) -> FloatArray:
        tokens = self._tokens.encode(pairs)

        def run(chosen: list[int]) -> FloatArray:
            return self._forward([tokens[at] for at in chosen])

        return in_token_batches([len(pair.ids) for pair in tokens], self._options.batch_tokens, run)

    def _forward(self, pairs: list[TokenPair]) -> FloatArray:
        batch = self._tokens.batch(pairs)
        feed = {"input_ids": batch.ids, "attention_mask": batch.mask, "token_type_ids": batch.types}
        feed = {name: array for name, array in feed.items() if name in self._inputs}
        logits: FloatArray = np.asarray(self._session.run([self._output], feed)[0], dtype=np.float32)
        if logits.size != len(pairs):
            raise UserError(
                f"{self._options.model}/{self._file} gives {logits.size // len(pairs)} numbers per pair, a "
                "reranker gives one; set rerank.model to a cross-encoder with one label"
            )
        return logits.reshape(-1)
