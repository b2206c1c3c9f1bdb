"""Builds an encoder folder that onnxruntime serves without torch, from the files of a source.

    python -m src_models.encoders HF_FOLDER OUT_FOLDER --family bge    # any plain BERT with safetensors
    python -m src_models.encoders HF_FOLDER OUT_FOLDER --cross-encoder # a BERT or XLM-R reranker

The folder: `model.onnx` (fp32), `model.int8.onnx` (8-bit matrices), `tokenizer.json`, and `encoder.json` with
the family's prefixes, pooling, width, maximum length, and `int8_cosine`: the lowest cosine between fp32 and
int8 vectors of a few sentences, measured on this machine (int8 kernels differ between CPUs).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src_core.errors import UserError, run_main
from src_core.json_file import read_object, whole_number
from src_core.jsonl import write_atomic
from src_core.terminal import CommandLine
from src_core.tokenizer_file import open_tokenizer
from src_models.bert_onnx import write_bert
from src_models.catalog import SourceError
from src_models.cross_encoders import build_cross_encoder
from src_models.families import FAMILIES
from src_models.machine import ONNX_SUMS
from src_models.weights import Weights, read_onnx, read_safetensors, unpack_onnx

PROBES = (
    "Who wrote the novel on which the film was based?",
    "The river rises in the Alps and flows through four countries before it reaches the sea.",
    "born 1867",
    "A string quartet in C minor, first performed in Vienna, was received coldly by the critics of the day.",
)
INT8_FLOOR = 0.95
"""Below this cosine the 8-bit file counts as broken; rounding alone gives a higher one."""


def build_encoder(
    fetched: Mapping[str, Path], *, family: str, heads: int, max_length: int, out: Path
) -> None:
    """Write the encoder folder `out`. `fetched` holds `tokenizer.json` and either `model.safetensors` or
    `weights.tar.gz` (an ONNX export). Raises `SourceError` for unusable weights.
    """
    out.mkdir(parents=True)
    weights = _weights(fetched, scratch=out / "unpacked")
    write_bert(weights, out / "model.onnx", heads=heads, int8=False)
    write_bert(weights, out / "model.int8.onnx", heads=heads, int8=True)
    shutil.copyfile(fetched["tokenizer.json"], out / "tokenizer.json")
    facts: dict[str, Any] = {
        "family": family,
        "dim": int(weights["embeddings.LayerNorm.weight"].shape[0]),
        "normalize": True,
        "max_length": max_length,
        **FAMILIES[family]._asdict(),
    }
    facts["int8_cosine"] = round(_int8_cosine(out), 4)
    if facts["int8_cosine"] < INT8_FLOOR:
        raise SourceError(f"the 8-bit encoder disagrees with fp32 (cosine {facts['int8_cosine']})")
    write_atomic(out / "encoder.json", json.dumps(facts, indent=1).encode())


def _weights(fetched: Mapping[str, Path], *, scratch: Path) -> Weights:
    if "model.safetensors" in fetched:
        return read_safetensors(fetched["model.safetensors"])
    weights = read_onnx(unpack_onnx(fetched["weights.tar.gz"], scratch))
    shutil.rmtree(scratch)
    return weights


def _int8_cosine(folder: Path) -> float:
    tokenizer = open_tokenizer(folder / "tokenizer.json")
    tokenizer.enable_padding()
    tokenizer.enable_truncation(64)
    batch = tokenizer.encode_batch(list(PROBES))
    ids = np.array([item.ids for item in batch], dtype=np.int64)
    mask = np.array([item.attention_mask for item in batch], dtype=np.int64)
    feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    exact = _mean_vectors(folder / "model.onnx", feed)
    rounded = _mean_vectors(folder / "model.int8.onnx", feed)
    return float((exact * rounded).sum(axis=1).min())


def _mean_vectors(model: Path, feed: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
    """Mean-pooled unit vectors [batch, dim]."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry(*ONNX_SUMS)
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    hidden: NDArray[np.float32] = session.run(["last_hidden_state"], dict(feed))[0]
    mask = feed["attention_mask"][:, :, None].astype(np.float32)
    pooled = (hidden * mask).sum(axis=1) / mask.sum(axis=1)
    unit: NDArray[np.float32] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    return unit


def _convert(folder: Path, out: Path, *, family: str) -> None:
    """`family` empty: a cross-encoder."""
    names = ("model.safetensors", "tokenizer.json", "config.json")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder} lacks {', '.join(missing)}; give a folder of a BERT model from the hub")
    if out.exists():
        raise UserError(f"{out} exists; remove it or choose another folder")
    try:
        if family:
            _convert_encoder(folder, out, family=family)
        else:
            build_cross_encoder(folder, out)
    except SourceError as error:
        shutil.rmtree(out, ignore_errors=True)
        raise UserError(f"could not convert {folder}: {error}; check that the files are whole") from error


def _convert_encoder(folder: Path, out: Path, *, family: str) -> None:
    file, advice = folder / "config.json", "fetch the folder again"
    config = read_object(file, advice=advice)
    if config.get("model_type") != "bert" or config.get("hidden_act", "gelu") != "gelu":
        raise UserError(
            f"{folder} is not a plain BERT encoder with GELU; give one, others cannot be converted"
        )
    fetched = {name: folder / name for name in ("model.safetensors", "tokenizer.json")}
    heads = whole_number(config, "num_attention_heads", path=file, advice=advice)
    length = whole_number(config, "max_position_embeddings", path=file, advice=advice)
    build_encoder(fetched, family=family, heads=heads, max_length=length, out=out)


def main() -> None:
    """Command line: convert one hub folder."""
    parser = CommandLine(description="convert a BERT encoder to an ONNX folder")
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--family", choices=sorted(FAMILIES), default="")
    kind.add_argument("--cross-encoder", action="store_true", help="a reranker with one logit")
    chosen = parser.parse_args()
    _convert(chosen.folder, chosen.out, family=chosen.family)


if __name__ == "__main__":
    run_main(main)
