"""A cross-encoder over torch and transformers: fp16 on a GPU, fp32 on a CPU. Imported only when it
is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src_core.errors import UserError
from src_retrieval.encoders.base import Device
from src_retrieval.encoders.spec import fingerprint
from src_retrieval.rerankers.base import (
    Pair,
    Reranker,
    RerankerIdentity,
    RerankOptions,
    in_token_batches,
    sigmoid,
)
from src_retrieval.rerankers.pair_tokens import CONFIG, TOKENIZER, PairTokenizer, TokenPair
from src_retrieval.results import FloatArray

WEIGHTS = "*.safetensors"


class TorchCrossEncoder(Reranker):
    """A Hugging Face folder of a sequence classifier with one label. Weights are read from safetensors
    only.
    """

    def __init__(self, folder: Path, options: RerankOptions) -> None:
        try:
            import torch
            from transformers import AutoModelForSequenceClassification
        except ModuleNotFoundError as error:
            raise UserError(
                f"the reranker {options.model!r} needs torch and transformers; install requirements.txt, or "
                "use an ONNX folder"
            ) from error
        cuda = torch.cuda.is_available()
        if options.device is Device.CUDA and not cuda:
            raise UserError(
                "rerank.device is cuda but torch sees no GPU; set it to cpu, or repair the driver"
            )
        self._torch: Any = torch
        self._options = options
        self._device = "cuda" if cuda and options.device is not Device.CPU else "cpu"
        half = self._device == "cuda" and options.use_fp16
        self._tokens = PairTokenizer(folder, options)
        model = _load(AutoModelForSequenceClassification, folder, torch.float16 if half else torch.float32)
        self._model = model.to(self._device).eval()
        self._has_types = getattr(model.config, "type_vocab_size", 0) > 1
        if self._device == "cpu" and options.threads:
            torch.set_num_threads(options.threads)
        files = [TOKENIZER, CONFIG, *sorted(path.name for path in folder.glob(WEIGHTS))]
        self.identity = RerankerIdentity(
            type="cross_encoder",
            name=options.model,
            precision="torch fp16" if half else "torch fp32",
            sha256=fingerprint(folder, files),
            max_length=self._tokens.max_length,
            query_max_length=options.query_max_length,
            sigmoid=options.sigmoid,
        )

    def score(self, pairs: Sequence[Pair]) -> FloatArray:
        """See `Reranker.score`."""
        tokens = self._tokens.encode(pairs)

        def run(chosen: list[int]) -> FloatArray:
            return self._forward([tokens[at] for at in chosen])

        lengths = [len(pair.ids) for pair in tokens]
        logits = in_token_batches(lengths, self._options.batch_tokens, run)
        return sigmoid(logits) if self._options.sigmoid else logits

    def count_tokens(self, pairs: Sequence[Pair]) -> int:
        """See `Reranker.count_tokens`."""
        return sum(len(pair.ids) for pair in self._tokens.encode(pairs))

    def _forward(self, pairs: list[TokenPair]) -> FloatArray:
        torch, batch = self._torch, self._tokens.batch(pairs)
        feed = {"input_ids": batch.ids, "attention_mask": batch.mask}
        if self._has_types:
            feed["token_type_ids"] = batch.types
        with torch.inference_mode():
            inputs = {name: torch.from_numpy(array).to(self._device) for name, array in feed.items()}
            logits = self._model(**inputs).logits.float().reshape(-1)
        scores: FloatArray = np.asarray(logits.cpu().numpy(), dtype=np.float32)
        return scores


def _load(auto: Any, folder: Path, dtype: Any) -> Any:
    """A model with one label and all its weights: transformers fills gaps of a folder with random numbers."""
    from safetensors import SafetensorError

    try:
        model, loaded = auto.from_pretrained(
            str(folder), dtype=dtype, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{folder} is not a sequence classifier that transformers reads: {reason:.200}; give "
            "a cross-encoder"
        ) from error
    if loaded["missing_keys"]:
        lacking = sorted(loaded["missing_keys"])[0]
        raise UserError(f"{folder} lacks the weights {lacking}; give a cross-encoder")
    if model.config.num_labels != 1:
        raise UserError(
            f"{folder} has {model.config.num_labels} labels, a reranker has one; set rerank.model to a "
            "cross-encoder with one label"
        )
    return model
