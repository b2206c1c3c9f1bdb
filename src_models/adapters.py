"""Checks that a LoRA adapter fits a model, before a server starts, and prints the flags with which vLLM
serves it.

    python -m src_models.adapters MODEL ADAPTER     # prints vLLM's flags, one word per line

llama.cpp takes an adapter in GGUF, vLLM the folder that peft saved. Both refuse a wrong adapter with a
misleading message ("failed to create context"), and neither detects an adapter of another model of the same
shape.
"""

from __future__ import annotations

from pathlib import Path

from src_core.caller import in_command
from src_core.errors import UserError, run_main
from src_core.terminal import CommandLine, answer
from src_models.gguf_header import GgufHeader, model_mark, read_gguf_header
from src_models.peft_folder import is_peft_folder, read_peft, require_fit
from src_models.safetensors_file import open_folder

MARK_KEY = "rearag.base_model.mark"
"""Metadata of our GGUF adapters: the `model_mark` of their base model."""
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The values that vLLM accepts for `--max-lora-rank` (vllm 0.32, vllm/config/lora.py)."""


def require_gguf_adapter(adapter: Path, model: Path) -> None:
    """Raise a `UserError` unless `adapter` is a GGUF adapter whose tensors fit the GGUF file `model`."""
    if is_peft_folder(adapter):
        raise UserError(
            f"{adapter} is a folder of peft; llama.cpp takes an adapter in GGUF; make it: "
            f".venv/bin/python -m src_models.convert.to_gguf {in_command(adapter, at_home=True)} OUT.gguf "
            f"--like {in_command(model, at_home=True)}"
        )
    if not adapter.is_file():
        raise UserError(f"no such LoRA file: {adapter}; give an adapter in GGUF")
    lora, base = read_gguf_header(adapter), read_gguf_header(model)
    if not lora.is_adapter:
        raise UserError(f"{adapter} is a whole model, not a LoRA adapter; serve it as the model itself")
    if lora.architecture != base.architecture:
        raise _misfit(lora, base, f"is for the architecture {lora.architecture}")
    for name in lora.tensors:
        if name.endswith(".lora_a"):
            _require_pair(name.removesuffix(".lora_a"), lora, base)
    mark = lora.facts.get(MARK_KEY)
    if mark and model_mark(base) and mark != model_mark(base):
        raise _misfit(lora, base, "was made for another model of the same shape")


def _require_pair(target: str, lora: GgufHeader, base: GgufHeader) -> None:
    a, b = (lora.tensors.get(f"{target}.lora_{side}") for side in "ab")
    found = base.tensors.get(target)
    if found is None:
        raise _misfit(lora, base, f"changes {target}, which the model lacks")
    if a is None or b is None or (*b.shape[:1], *a.shape[-1:]) != found.shape:
        raise _misfit(lora, base, f"changes {target} in another size")


def _misfit(lora: GgufHeader, base: GgufHeader, why: str) -> UserError:
    made_for = lora.facts.get("general.base_model.0.name")
    hint = f" (it was made for {made_for})" if made_for else ""
    name = base.facts.get("general.name") or base.architecture
    return UserError(
        f"the adapter {lora.path} does not fit {base.path} ({name}): it {why}{hint}; serve its own model"
    )


def served_name(model: str, adapter: Path) -> str:
    """The served name of `model` with `adapter`, in both engines. It includes the parent folder, because the
    adapter folder has the same name in every run.
    """
    full = adapter.absolute()
    return f"{model}+{full.parent.name}/{full.name.removesuffix('.gguf')}"


def vllm_flags(model: str, adapter: Path) -> list[str]:
    """The flags that make vLLM serve the peft folder `adapter` beside `model`. The sizes are compared where
    `model` is a folder here; for a model of the hub vLLM checks them. Raises `UserError`.
    """
    if adapter.is_file():
        raise UserError(f"{adapter} is a file; give the folder of the adapter that peft saved")
    lora = read_peft(adapter)
    if (Path(model) / "config.json").is_file():
        require_fit(lora, open_folder(Path(model)), model=model)
    rank = next((size for size in RANKS if size >= lora.rank), None)
    if rank is None:
        raise UserError(
            f"the rank of {adapter} is {lora.rank}; train one of at most {RANKS[-1]}, or merge it"
        )
    named = f"{served_name(Path(model).name, adapter)}={adapter}"
    return ["--enable-lora", "--max-lora-rank", str(rank), "--lora-modules", named]


def main() -> None:
    """Command line: check and print the flags."""
    parser = CommandLine(description="check a peft adapter and print vLLM's flags for it")
    parser.add_argument("model", help="hub name or folder that vLLM serves")
    parser.add_argument("adapter", type=Path)
    chosen = parser.parse_args()
    answer("\n".join(vllm_flags(chosen.model, chosen.adapter)))


if __name__ == "__main__":
    run_main(main)
