"""Converts the result of training for the embedded server: a hub folder or a LoRA adapter of peft to a GGUF
file.

    python -m src_models.convert.to_gguf runs/x/model runs/x/model.gguf --like qwen2.5-coder-0.5b --type q8_0
    python -m src_models.convert.to_gguf runs/x/adapter runs/x/adapter.gguf --like qwen2.5-coder-0.5b

`--like` is the model that was trained: a name of configs/models.yaml or a GGUF file. Without it the
downloaded models are searched for one of the same shape. Needs the gguf package, no torch.
`MODEL=runs/x/model bash infer.sh` and `ADAPTER=runs/x/adapter bash infer.sh` run this conversion
automatically.
"""

from __future__ import annotations

import time
from pathlib import Path

from src_core.errors import UserError, run_main
from src_core.terminal import CommandLine, say
from src_models.catalog import cache_dir, load_catalog
from src_models.convert.gguf_adapter import require_base, write_adapter
from src_models.convert.gguf_model import FILE_TYPES, require_template, write_model
from src_models.model_file import find_model
from src_models.peft_folder import is_peft_folder, read_peft
from src_models.safetensors_file import open_folder


def to_gguf(folder: Path, base: Path, out: Path, *, kind: str = "") -> str:
    """Convert, and return one line about the written file. `kind` empty is q8_0 for a model, f16 for an
    adapter. Raises `UserError`.
    """
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}; give a hub folder or an adapter folder")
    begun = time.monotonic()
    if is_peft_folder(folder):
        kind = kind or "f16"
        facts = write_adapter(folder, base, out, kind=kind)
        what = f"adapter of rank {facts.rank}, {facts.tensors} tensors"
    else:
        kind = kind or "q8_0"
        write_model(folder, base, out, kind=kind)
        what = "model"
    size = out.stat().st_size / 1e6
    return f"{out}: {what}, {kind}, {size:,.1f} MB, {time.monotonic() - begun:.1f} s"


def find_base(folder: Path, *, cache: Path) -> Path:
    """The fetched model of configs/models.yaml that `folder` was trained from, judged by tensor sizes. Raises
    `UserError` unless there is exactly one.
    """
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}; give a hub folder or an adapter folder")
    is_adapter = is_peft_folder(folder)
    _ = read_peft(folder) if is_adapter else open_folder(folder)  # a damaged one is reported as such
    fetched = [file for name in load_catalog().models if (file := cache / f"{name}.gguf").is_file()]
    fitting = [file for file in fetched if _fits(folder, file, is_adapter=is_adapter)]
    if len(fitting) != 1:
        found = f"{len(fitting)} of {len(fetched)} fetched models have the sizes of {folder}"
        raise UserError(f"{found}; name the base model with --like")
    return fitting[0]


def _fits(folder: Path, base: Path, *, is_adapter: bool) -> bool:
    try:
        (require_base if is_adapter else require_template)(folder, base)
    except UserError:
        return False
    return True


def main() -> None:
    """Command line: convert one folder."""
    parser = CommandLine(description="hub folder or peft adapter to GGUF")
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--like", default="", metavar="BASE", help="model that was trained: name or .gguf")
    parser.add_argument("--type", default="", choices=["base", *FILE_TYPES], help="q8_0, for an adapter f16")
    chosen = parser.parse_args()
    if chosen.out.exists():
        raise UserError(f"{chosen.out} exists; remove it or choose another name")
    base = find_model(chosen.like) if chosen.like else find_base(chosen.folder, cache=cache_dir())
    line = to_gguf(chosen.folder, base, chosen.out, kind=chosen.type)
    say(line)


if __name__ == "__main__":
    run_main(main)
