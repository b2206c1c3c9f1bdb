"""An encoder over ONNX Runtime on CPU: no torch, int8 or fp32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src_core.errors import UserError
from src_retrieval.encoders.base import Advance, Encoder, EncoderOptions, Precision, in_length_order, pool
from src_retrieval.encoders.spec import EncoderIdentity, fingerprint, read_spec
from src_retrieval.onnx_session import open_session
from src_retrieval.results import FloatArray

MODEL_FILES = {Precision.INT8: "model.int8.onnx", Precision.FP32: "model.onnx"}
ONNX_PARTS = ("model.onnx.data", "model.onnx_data")


class OnnxEncoder(Encoder):
    """A BERT-like encoder with inputs int64 [batch, tokens] and output `last_hidden_state`."""

    def __init__(self, name: str, folder: Path, options: EncoderOptions) -> None:
        from tokenizers import Tokenizer

        model_file = MODEL_FILES[options.precision]
        for needed in (model_file, "tokenizer.json"):
            if not (folder / needed).is_file():
                raise UserError(f"{folder} has no {needed}; fetch the model again or set another precision")
        self._spec = read_spec(folder, family=options.family)
        files = [model_file, "tokenizer.json", *(ONNX_PARTS if options.precision is Precision.FP32 else ())]
        self.identity = EncoderIdentity(
            name, self._spec.family, self._spec.dim, options.precision, fingerprint(folder, files)
        )
        self.batch_size = options.batch_size
        self._query_length = min(options.query_max_length, self._spec.max_length)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._session = open_session(folder / model_file, options.threads)
        self._inputs = {node.name for node in self._session.get_inputs()}

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of queries, [n, dim]; int8 goes one by one.

        Dynamic quantisation takes one scale for all activations of a batch, so the vector of a query
        would depend on who else asks (overlap of the ten best passages .93); alone it costs the same
        time per query.
        """
        alone = self.identity.precision == Precision.INT8
        return self._encode(
            [self._spec.query_prefix + text for text in texts],
            self._query_length,
            batch_size=1 if alone else self.batch_size,
        )

    def encode_passages(self, texts: Sequence[str], *, advance: Advance = lambda _: None) -> FloatArray:
        """Vectors of passages, [n, dim]."""
        texts = [self._spec.passage_prefix + text for text in texts]
        return self._encode(texts, self._spec.max_length, batch_size=self.batch_size, advance=advance)

    def _encode(
        self, texts: list[str], max_length: int, *, batch_size: int, advance: Advance = lambda _: None
    ) -> FloatArray:
        self._tokenizer.enable_truncation(max_length)
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts)]

        def run(chosen: list[int]) -> FloatArray:
            return self._forward([ids[at] for at in chosen])

        lengths = [len(row) for row in ids]
        return in_length_order(lengths, self._spec.dim, batch_size, run, advance=advance)

    def _forward(self, ids: list[list[int]]) -> FloatArray:
        tokens = np.zeros((len(ids), max(map(len, ids))), dtype=np.int64)
        mask = np.zeros_like(tokens)
        for at, row in enumerate(ids):
            tokens[at, : len(row)] = row
            mask[at, : len(row)] = 1
        feed = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        feed = {name: array for name, array in feed.items() if name in self._inputs}
        hidden: FloatArray = self._session.run(["last_hidden_state"], feed)[0]
        return pool(hidden, mask, self._spec)
