"""A LoRA adapter merged into its base: a plain hub folder, which every engine serves.

    python -m src_models.convert.merge ADAPTER_DIR BASE_FOLDER OUT_DIR

Needs torch, transformers and peft (requirements-train.txt). The sum is computed in float32 and rounded once
to the base's type: in bfloat16 the update itself would be rounded before it is added. Memory: the base in
float32.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from src_core.errors import UserError, run_main
from src_core.terminal import CommandLine, say
from src_core.trained_prompt import TRAINING
from src_models.convert.packages import require_packages
from src_models.files import bytes_in, require_space
from src_models.peft_folder import PeftAdapter, read_peft, require_fit
from src_models.safetensors_file import open_folder

PACKAGES = ("torch", "transformers", "peft", "accelerate")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
EMBEDDINGS, OUTPUT = "model.embed_tokens", "lm_head"


def merge(adapter: Path, base: Path, out: Path) -> None:
    """Write `out`: weights of `base` with `adapter` added, in the base's type, with configuration and
    tokenizer (the adapter's own where it has one). Raises `UserError` when the two do not belong together,
    `out` exists, a package is missing or the disk is too small."""
    if out.exists():
        raise UserError(f"{out} exists; remove it or choose another folder")
    require_packages(PACKAGES, command=f"src_models.convert.merge {adapter} {base} {out}")
    lora = read_peft(adapter)
    require_fit(lora, _with_output(base), model=str(base))
    out.parent.mkdir(parents=True, exist_ok=True)
    require_space(out.parent, need=bytes_in(base), what=f"writing {out.name}")
    built = out.with_name(out.name + ".tmp")
    shutil.rmtree(built, ignore_errors=True)
    _merged(lora, base).save_pretrained(built)
    tokenizer = adapter if (adapter / "tokenizer_config.json").is_file() else base
    for file in (tokenizer / name for name in TOKENIZER_FILES):
        if file.is_file():
            shutil.copyfile(file, built / file.name)
    if (adapter / TRAINING).is_file():
        shutil.copyfile(adapter / TRAINING, built / TRAINING)
    built.replace(out)


def _with_output(base: Path) -> Any:
    """The base's tensors, with the output matrix under its own name where it is the embeddings."""
    stored = dict(open_folder(base))
    table = stored.get(f"{EMBEDDINGS}.weight")
    if table is not None:
        stored.setdefault(f"{OUTPUT}.weight", table)
    return stored


def _merged(adapter: PeftAdapter, base: Path) -> Any:
    """The model with the adapter in its weights, in the base's type. Raises `UserError` when the adapter
    changes embeddings that are tied."""
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForCausalLM

    dtype = AutoConfig.from_pretrained(base).dtype or torch.float32
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tied = _is_tied(model)
    if tied and {EMBEDDINGS, OUTPUT} & set(adapter.pairs):
        # one matrix has two uses, and the adapter was trained for one of them
        raise UserError(
            f"{adapter.folder} changes {EMBEDDINGS} or {OUTPUT}, which are one matrix in {base}; "
            "serve the adapter beside its base instead"
        )
    loaded = PeftModel.from_pretrained(model, adapter.folder)
    merged = loaded.merge_and_unload(safe_merge=True)
    if _is_tied(merged) != tied:
        raise UserError(
            f"the merge would untie the embeddings of {base}; serve the adapter beside its base instead"
        )
    return merged.to(dtype)


def _is_tied(model: Any) -> bool:
    output = model.get_output_embeddings()
    return output is not None and output.weight is model.get_input_embeddings().weight


def main() -> None:
    """Command line: merge one adapter."""
    parser = CommandLine(description="merge a LoRA adapter into its base model")
    parser.add_argument("adapter", type=Path, help="folder that peft saved")
    parser.add_argument("base", type=Path, help="hub folder of the model that was trained")
    parser.add_argument("out", type=Path)
    chosen = parser.parse_args()
    begun = time.monotonic()
    merge(chosen.adapter, chosen.base, chosen.out)
    say(f"{chosen.out}: merged, {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    run_main(main)
