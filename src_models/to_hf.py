"""A GGUF model as a plain hub folder in bf16: what `vllm serve` loads and training starts from.

    python -m src_models.to_hf qwen2.5-coder-0.5b OUT_DIR       # a name of configs/models.yaml or a GGUF file

Needs torch, transformers, gguf and accelerate (scripts/vllm_cpu.sh installs them). The quantised weights are
widened, not restored: the folder answers like the GGUF, not like the model that was quantised.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

from src_core.errors import UserError, run_main
from src_models.files import require_space
from src_models.llama_server import find_model

PACKAGES = ("torch", "transformers", "gguf", "accelerate")
BYTES_PER_GGUF_BYTE = 3.5
"""bf16 folder over 4-bit file, a little above what was measured (2.7 to 3.2)."""


def to_hf(gguf: Path, out: Path) -> None:
    """Write `out` (config, tokenizer with chat template, safetensors). Raises `UserError` when `out` exists,
    the disk is too small or a package is missing."""
    if out.exists():
        raise UserError(f"{out} exists; remove it or choose another folder")
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"{', '.join(missing)} must be installed; run this through scripts/vllm_cpu.sh convert"
        )
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
    # The loaded object remembers that it was quantised and refuses to be saved: a fresh one takes over.
    config = _plain_config(quantised.config, quantised.state_dict())
    fresh = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    fresh.load_state_dict(quantised.state_dict())
    fresh.tie_weights()
    fresh.save_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=file)
    tokenizer.save_pretrained(out)
    _fix_end_tokens(out, tokenizer)


def _plain_config(config: Any, weights: Any) -> Any:
    """The configuration without its quantisation. Embeddings are tied when the two matrices are the same: a
    GGUF file of a tied model leaves the output matrix out, and the loader then forgets the tie."""
    import torch

    if hasattr(config, "quantization_config"):
        del config.quantization_config
    output = weights.get("lm_head.weight")
    same = output is None or torch.equal(output, weights["model.embed_tokens.weight"])
    config.tie_word_embeddings = bool(same)
    return config


def _fix_end_tokens(out: Path, tokenizer: Any) -> None:
    """Write a generation config whose end token is the one that closes a chat turn, with sampling left to the
    request."""
    facts = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    known = {key: value for key, value in facts.items() if value is not None}
    (out / "generation_config.json").write_text(json.dumps(known, indent=1), encoding="utf-8")


def main() -> None:
    """Command line: convert one model."""
    parser = argparse.ArgumentParser(description="GGUF to a plain hub folder in bf16")
    parser.add_argument("model", help="name in configs/models.yaml, or a GGUF file")
    parser.add_argument("out", type=Path)
    chosen = parser.parse_args()
    to_hf(find_model(chosen.model), chosen.out)


if __name__ == "__main__":
    run_main(main)
