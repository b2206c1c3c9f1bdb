"""Converts an encoder of the catalogue to a plain hub folder of a `BertModel`, as a start of training.

    python -m src_models.convert.encoder_to_hf minilm OUT_DIR

Needs onnx and safetensors (requirements-train.txt). The vectors of the folder are those of the encoder.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from src_core.errors import UserError, run_main
from src_core.terminal import CommandLine, answer
from src_models.bert_onnx import NORM_EPSILON, layer_count
from src_models.bert_read import read_bert
from src_models.catalog import SourceError, cache_dir, load_catalog
from src_models.convert.packages import require_packages
from src_models.fetch import ensure_model
from src_models.weights import Weights

PACKAGES = ("onnx", "safetensors")
ONNX, TOKENIZER = "model.onnx", "tokenizer.json"


def encoder_to_hf(name: str, out: Path) -> None:
    """Write `out`: config, tokenizer and weights of the catalogue's encoder `name`, downloaded if needed.
    Raises `UserError` for another kind of model, an existing `out`, or weights that cannot be read.
    """
    entry = load_catalog().entry(name)
    if entry.kind != "encoder":
        raise UserError(
            f"{name} is no encoder; give the name of one (.venv/bin/python -m src_models.fetch --list)"
        )
    if out.exists():
        raise UserError(f"{out} exists; remove it or choose another folder")
    require_packages(PACKAGES, command=f"src_models.convert.encoder_to_hf {name} {out}")
    folder = ensure_model(name)
    try:
        weights = read_bert(folder / ONNX, heads=entry.heads)
    except SourceError as error:
        raise UserError(f"cannot read {folder}: {error}; fetch it again") from error
    _write(weights, folder / TOKENIZER, out, heads=entry.heads)


def hub_copy(name: str) -> Path:
    """The hub folder of the catalogue's encoder `name` in the cache, written once. Raises `UserError` as
    `encoder_to_hf`.
    """
    copy = cache_dir() / f"{name}-hf"
    if not copy.exists():
        encoder_to_hf(name, copy)
    return copy


def _write(weights: Weights, tokenizer: Path, out: Path, *, heads: int) -> None:
    from safetensors.numpy import save_file

    vocabulary, width = weights["embeddings.word_embeddings.weight"].shape
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": weights["encoder.layer.0.intermediate.dense.weight"].shape[0],
        "num_hidden_layers": layer_count(weights),
        "num_attention_heads": heads,
        "max_position_embeddings": weights["embeddings.position_embeddings.weight"].shape[0],
        "type_vocab_size": weights["embeddings.token_type_embeddings.weight"].shape[0],
        "hidden_act": "gelu",
        "layer_norm_eps": NORM_EPSILON,
        "pad_token_id": 0,
    }
    partial = out.with_name(out.name + ".tmp")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(dict(weights), partial / "model.safetensors", metadata={"format": "pt"})
    shutil.copyfile(tokenizer, partial / TOKENIZER)
    (partial / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    partial.replace(out)


def main() -> None:
    """Command line: convert one encoder."""
    parser = CommandLine(description="convert an encoder of the catalogue to a hub folder")
    parser.add_argument("name")
    parser.add_argument("out", type=Path)
    chosen = parser.parse_args()
    encoder_to_hf(chosen.name, chosen.out)
    answer(f"written: {chosen.out}")


if __name__ == "__main__":
    run_main(main)
