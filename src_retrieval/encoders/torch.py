"""An encoder over torch and transformers: fp16 on a GPU, fp32 on CPU. Imported only when it is asked
for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src_core.errors import UserError
from src_retrieval.encoders.base import Advance, Device, Encoder, EncoderOptions, in_length_order
from src_retrieval.encoders.spec import EncoderIdentity, Pooling, fingerprint, read_spec
from src_retrieval.results import FloatArray

WEIGHTS = ("*.safetensors", "*.json", "vocab.txt")


class TorchEncoder(Encoder):
    """A Hugging Face model folder as encoder."""

    def __init__(self, name: str, folder: Path, options: EncoderOptions) -> None:
        try:
            import torch
            from transformers import AutoModel, AutoTokenizer
        except ModuleNotFoundError as error:
            raise UserError(
                f"the encoder {name!r} needs torch and transformers; install requirements.txt, or use an "
                "ONNX folder"
            ) from error
        cuda = torch.cuda.is_available()
        if options.device is Device.CUDA and not cuda:
            raise UserError("device is cuda but torch sees no GPU; set device to cpu, or mend the driver")
        self._torch: Any = torch
        self._device = "cuda" if cuda and options.device is not Device.CPU else "cpu"
        self._spec = read_spec(folder, family=options.family)
        files = sorted(path.name for pattern in WEIGHTS for path in folder.glob(pattern))
        precision = "fp16" if self._device == "cuda" else "fp32"
        self.identity = EncoderIdentity(
            name, self._spec.family, self._spec.dim, "torch", fingerprint(folder, files)
        )
        self.batch_size = options.batch_size
        self._query_length = min(options.query_max_length, self._spec.max_length)
        trust = options.trust_remote_code
        self._tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=trust)
        dtype = torch.float16 if precision == "fp16" else torch.float32
        model: Any = AutoModel.from_pretrained(str(folder), dtype=dtype, trust_remote_code=trust)
        self._model = model.to(self._device).eval()
        if self._device == "cpu" and options.threads:
            torch.set_num_threads(options.threads)

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of queries, [n, dim]."""
        return self._encode([self._spec.query_prefix + text for text in texts], self._query_length)

    def encode_passages(self, texts: Sequence[str], *, advance: Advance = lambda _: None) -> FloatArray:
        """Vectors of passages, [n, dim]."""
        texts = [self._spec.passage_prefix + text for text in texts]
        return self._encode(texts, self._spec.max_length, advance)

    def _encode(self, texts: list[str], max_length: int, advance: Advance = lambda _: None) -> FloatArray:
        ids = self._tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]

        def run(chosen: list[int]) -> FloatArray:
            return self._forward([ids[at] for at in chosen])

        lengths = [len(row) for row in ids]
        return in_length_order(lengths, self._spec.dim, self.batch_size, run, advance=advance)

    def _forward(self, ids: list[list[int]]) -> FloatArray:
        """Pool in fp32 on the device; only [n, dim] crosses to the host."""
        torch = self._torch
        batch = self._tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            hidden = self._model(**batch).last_hidden_state.float()
            if self._spec.pooling is Pooling.CLS:
                pooled = hidden[:, 0]
            else:
                mask = batch["attention_mask"].unsqueeze(-1).float()
                pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1.0)
            if self._spec.normalize:
                pooled = torch.nn.functional.normalize(pooled, dim=-1)
        vectors: FloatArray = np.asarray(pooled.cpu().numpy(), dtype=np.float32)
        return vectors
