"""ONNX files of cross-encoders, for the server on a CPU: BERT and XLM-RoBERTa (bge-reranker-base) with one
logit.

XLM-RoBERTa is BERT under other names: its positions begin after the padding index, it has one segment, and
its head is called otherwise.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src_core.errors import UserError
from src_core.json_file import read_object, whole_number
from src_models.bert_onnx import NORM_EPSILON, Output, write_bert
from src_models.catalog import SourceError
from src_models.weights import Weights, read_safetensors

MODEL_TYPES = ("bert", "roberta", "xlm-roberta")
FILES = {"model.onnx": False, "model.int8.onnx": True}
"""The files that are written, and whether their matrices have 8 bits."""
MAX_BYTES = (1 << 31) - (1 << 20)
"""Weights that one ONNX file holds: protobuf's limit is 2 GiB."""
_WEIGHTS, _CONFIG, _TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
_ADVICE = "fetch the folder again"
_HEAD = {"classifier.dense": "pooler.dense", "classifier.out_proj": "classifier"}
"""RoBERTa's head in BERT's names: a dense layer with tanh over the first token, then the logit."""


def build_cross_encoder(folder: Path, out: Path) -> None:
    """Write the ONNX files of the cross-encoder in `folder` to the new folder `out`, with its tokenizer and
    config. Raises `UserError` for another kind of model, `SourceError` for unusable weights.
    """
    require_supported(folder)
    out.mkdir(parents=True)
    write_files(folder, out)
    for name in (_TOKENIZER, _CONFIG):
        shutil.copyfile(folder / name, out / name)


def write_files(folder: Path, out: Path) -> None:
    """Write `FILES` into the folder `out`; it may be `folder`. Raises as `build_cross_encoder`."""
    config = require_supported(folder)
    heads = whole_number(config, "num_attention_heads", path=folder / _CONFIG, advice=_ADVICE)
    epsilon = float(config.get("layer_norm_eps", NORM_EPSILON))
    weights = read_safetensors(folder / _WEIGHTS)
    if config.get("model_type") != "bert":
        first = whole_number(
            config, "pad_token_id", path=folder / _CONFIG, advice=_ADVICE, default=1, least=0
        )
        weights = _as_bert(weights, first_position=first + 1)
    for name, int8 in FILES.items():
        write_bert(weights, out / name, heads=heads, int8=int8, output=Output.LOGITS, epsilon=epsilon)


def is_supported(folder: Path) -> bool:
    """Whether `build_cross_encoder` knows this kind of model."""
    config = read_object(folder / _CONFIG, advice=_ADVICE)
    positions = config.get("position_embedding_type", "absolute")
    return (
        config.get("model_type") in MODEL_TYPES
        and config.get("hidden_act", "gelu") == "gelu"
        and positions == "absolute"
        and not _is_too_large(folder)
    )


def _is_too_large(folder: Path) -> bool:
    weights = folder / _WEIGHTS
    return weights.is_file() and weights.stat().st_size > MAX_BYTES


def require_supported(folder: Path) -> dict[str, Any]:
    """The config of a folder. Raises `UserError` where `build_cross_encoder` does not know the model."""
    if not is_supported(folder):
        raise UserError(
            f"{folder} is neither a BERT nor an XLM-RoBERTa model with GELU of less than 2 GiB; others "
            "cannot be converted, serve it with rerank.precision=torch"
        )
    return read_object(folder / _CONFIG, advice=_ADVICE)


def _as_bert(weights: Weights, *, first_position: int) -> Weights:
    """RoBERTa's weights under BERT's names, without the positions that no token has."""
    found: dict[str, NDArray[np.float32]] = {}
    for name, value in weights.items():
        base, _, kind = name.rpartition(".")
        found[f"{_HEAD.get(base, base)}.{kind}"] = value
    table = "embeddings.position_embeddings.weight"
    if table not in found:
        raise SourceError(f"the weights lack {table!r}, so this is no RoBERTa model")
    found[table] = found[table][first_position:]
    return found
