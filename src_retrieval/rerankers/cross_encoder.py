"""Cross-encoders: query and passage go through the model together, which gives one logit.

It reads a folder in hub layout: `config.json`, `tokenizer.json`, and ONNX files (`model.onnx`,
`model.int8.onnx`, also under `onnx/`) or `model.safetensors`. FlashRAG runs the same models in batches of
pairs, always in fp32, also where its settings differ (reference/radio_flashrag.md, section 2.6).
"""

from __future__ import annotations

from src_core.errors import UserError
from src_models.fetch import model_folder
from src_retrieval.encoders.base import Device
from src_retrieval.rerankers.base import Reranker, RerankerBackend, RerankOptions, RerankPrecision
from src_retrieval.rerankers.cross_onnx import OnnxCrossEncoder
from src_retrieval.rerankers.cross_torch import TorchCrossEncoder

ONNX_FILES = {
    RerankPrecision.INT8: ("model.int8.onnx", "onnx/model.int8.onnx", "onnx/model_quantized.onnx"),
    RerankPrecision.FP32: ("model.onnx", "onnx/model.onnx"),
}


class CrossEncoderBackend(RerankerBackend):
    """`type: cross_encoder`."""

    kinds = ("cross_encoder",)

    def load(self, options: RerankOptions) -> Reranker:
        """ONNX on a CPU where the folder has it, else torch. See `RerankerBackend.load`."""
        folder = model_folder(options.model, what="reranker")
        if options.precision is not RerankPrecision.TORCH and options.device is not Device.CUDA:
            for precision in _wanted(options.precision):
                for name in ONNX_FILES[precision]:
                    if (folder / name).is_file():
                        return OnnxCrossEncoder(folder, name, precision, options)
        if options.precision in ONNX_FILES:
            raise UserError(
                f"{folder} has no ONNX file of precision {options.precision} for this device; write one with "
                ".venv/bin/python -m src_models.encoders FOLDER OUT --cross-encoder, or set "
                "rerank.precision=auto"
            )
        return TorchCrossEncoder(folder, options)


def _wanted(precision: RerankPrecision) -> tuple[RerankPrecision, ...]:
    return tuple(ONNX_FILES) if precision is RerankPrecision.AUTO else (precision,)


BACKEND = CrossEncoderBackend()
