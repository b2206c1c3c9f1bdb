"""Converts a GGUF model to a plain hub folder in bf16, for `vllm serve` and as a start of training.

    python -m src_models.convert.to_hf qwen2.5-coder-0.5b OUT_DIR  # a name of configs/models.yaml or a GGUF

Needs torch, transformers, gguf and accelerate (requirements-train.txt; `bash scripts/vllm_cpu.sh convert`
too). The quantised weights are dequantised, which does not restore the original weights: the folder behaves
like the GGUF, not like the original model.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from src_core.errors import UserError, run_main
from src_core.terminal import CommandLine, say
from src_models.convert.packages import require_packages
from src_models.files import require_space
from src_models.model_file import find_model

PACKAGES = ("torch", "transformers", "gguf", "accelerate")
ROUNDING = 0.2
"""Largest relative distance between two quantised copies of one matrix; unrelated ones are above 1."""
BYTES_PER_GGUF_BYTE = 3.5
"""Size of the bf16 folder divided by the size of the 4-bit file; measured: 2.7 to 3.2."""


def to_hf(gguf: Path, out: Path) -> None:
    """Write `out` (config, tokenizer with chat template, safetensors). Raises `UserError` when `out` exists,
    the disk is too small or a package is missing."""
    if out.exists():
        raise UserError(f"{out} exists; remove it or choose another folder")
    require_packages(PACKAGES, command=f"src_models.convert.to_hf {gguf} {out}")
    out.parent.mkdir(parents=True, exist_ok=True)
    require_space(out.parent, need=int(gguf.stat().st_size * BYTES_PER_GGUF_BYTE), what="the bf16 copy")
    built = out.with_name(out.name + ".tmp")
    shutil.rmtree(built, ignore_errors=True)
    _convert(gguf, built)
    built.replace(out)


def _convert(gguf: Path, out: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where, file = str(gguf.parent), gguf.name
    quantised = AutoModelForCausalLM.from_pretrained(
        where, gguf_file=file, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    # The loaded object is marked as quantised and cannot be saved: its weights are moved to a new object.
    weights = quantised.state_dict()
    config = _plain_config(quantised.config, weights)
    fresh = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    fresh.load_state_dict(weights)
    fresh.tie_weights()
    fresh.save_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=file)
    tokenizer.save_pretrained(out)
    _fix_end_tokens(out, tokenizer)


def _plain_config(config: Any, weights: dict[str, Any]) -> Any:
    """The configuration without its quantisation, and with the tie between input and output embeddings that
    the loader drops. Two matrices that differ only by rounding are one matrix quantised twice: both become
    the output's, which usually has more bits.
    """
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    table, output = weights["model.embed_tokens.weight"], weights.get("lm_head.weight")
    distance = 0.0 if output is None else float((output - table).float().norm() / table.float().norm())
    config.tie_word_embeddings = distance < ROUNDING
    if config.tie_word_embeddings and output is not None:
        weights["model.embed_tokens.weight"] = output
    kept = "tied" if config.tie_word_embeddings else "kept apart"
    say(f"input and output embeddings differ by {distance:.3f} of their norm, {kept}")
    return config


def _fix_end_tokens(out: Path, tokenizer: Any) -> None:
    """Write a generation config whose end token is the one that closes a chat turn, without sampling
    settings, which the request gives.
    """
    facts = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    known = {key: value for key, value in facts.items() if value is not None}
    (out / "generation_config.json").write_text(json.dumps(known, indent=1), encoding="utf-8")


def main() -> None:
    """Command line: convert one model."""
    parser = CommandLine(description="GGUF to a plain hub folder in bf16")
    parser.add_argument("model", help="name in configs/models.yaml, or a GGUF file")
    parser.add_argument("out", type=Path)
    chosen = parser.parse_args()
    to_hf(find_model(chosen.model), chosen.out)


if __name__ == "__main__":
    run_main(main)
