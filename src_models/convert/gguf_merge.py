"""A GGUF model with its GGUF adapter in its weights, in types that every engine reads.

    python -m src_models.convert.gguf_merge qwen2.5-coder-0.5b OUT.gguf --lora ADAPTER.gguf

Both files keep their rows in the same order, so an update is added where it stands: the weights are
dequantised, b @ a times alpha / rank is added in float32, and the sum is rounded once. No torch: the gguf
package has all of llama.cpp's dequantisers, and the quantisers of `gguf_write.QUANTISABLE`. Memory: the
largest matrices in float32, twice.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from src_core.errors import UserError, run_main
from src_core.terminal import CommandLine, say
from src_models.adapters import require_gguf_adapter
from src_models.convert.gguf_model import EMBEDDINGS, FILE_TYPES, FOUR_BITS, OUTPUT, copied_metadata
from src_models.convert.gguf_write import QUANTISABLE, Array, Entry, Tensor, fitting, write_gguf
from src_models.gguf_header import TensorInfo, read_gguf_header
from src_models.model_file import find_model

KINDS = ("q8_0", "q4_0", "iq4_nl", "bf16", "f16", "f32")


def merge_gguf(base: Path, lora: Path | None, out: Path, *, kind: str = "q8_0") -> None:
    """Write `out`: the model `base`, with the adapter `lora` where there is one, its matrices in the type
    `kind` (one of `KINDS`; see `_kind`). Raises `UserError` when the two do not belong together, or `out`
    exists.
    """
    import gguf

    if kind not in KINDS:
        raise UserError(f"a merged model cannot be stored as {kind}; choose one of {', '.join(KINDS)}")
    header = read_gguf_header(base)
    if header.is_adapter:
        raise UserError(f"{base} is an adapter; name the model that it belongs to")
    if lora is not None:
        require_gguf_adapter(lora, base)
    reader = gguf.GGUFReader(base)
    updates = _updates(lora) if lora is not None else {}
    tensors = {
        found.name: _tensor(found, header.tensors[found.name], updates.get(found.name), kind=kind)
        for found in reader.tensors
    }
    changes = {
        "general.file_type": Entry("general.file_type", FILE_TYPES[kind], gguf.GGUFValueType.UINT32),
        "general.quantization_version": Entry("general.quantization_version", 2, gguf.GGUFValueType.UINT32),
    }
    metadata = copied_metadata(reader, changes)
    write_gguf(out, architecture=header.architecture, metadata=metadata, tensors=tensors)


def _tensor(found: Any, info: TensorInfo, update: _Update | None, *, kind: str) -> Tensor:
    """One tensor to write. What changes neither in value nor in type is copied."""
    import gguf

    theirs = gguf.GGMLQuantizationType(info.kind).name
    ours = _kind(found.name, info.shape, theirs, kind=kind)
    if ours == theirs and update is None:
        return Tensor(ours, info.shape, lambda: found.data, stored=True)
    return Tensor(ours, info.shape, partial(_load, found, update))


def _kind(name: str, shape: tuple[int, ...], theirs: str, *, kind: str) -> str:
    """The type of a tensor. Vectors (norms, biases) are small and decide much: float32. In a file of four
    bits the embeddings keep their type, or have eight bits where it cannot be written.
    """
    if len(shape) == 1:
        return "F32"
    if kind not in FOUR_BITS or name not in (EMBEDDINGS, OUTPUT):
        return fitting(kind.upper(), shape)
    return theirs if theirs in QUANTISABLE else fitting("Q8_0", shape)


class _Update:
    """What an adapter adds to one matrix, computed when it is needed."""

    def __init__(self, a: Any, b: Any, *, alpha: float) -> None:
        self._a, self._b, self._alpha = a, b, alpha

    def __call__(self) -> Array:
        a, b = _floats(self._a), _floats(self._b)
        scaled: Array = np.float32(self._alpha / a.shape[0]) * (b @ a)
        return scaled


def _updates(lora: Path) -> dict[str, _Update]:
    import gguf

    reader = gguf.GGUFReader(lora)
    alpha = float(reader.fields["adapter.lora.alpha"].contents())
    found = {tensor.name: tensor for tensor in reader.tensors}
    return {
        name.removesuffix(".lora_a"): _Update(
            tensor, found[name.removesuffix(".lora_a") + ".lora_b"], alpha=alpha
        )
        for name, tensor in found.items()
        if name.endswith(".lora_a")
    }


def _load(found: Any, update: _Update | None) -> Array:
    values = _floats(found)
    return values if update is None else values + update()


def _floats(found: Any) -> Array:
    """A tensor's values in float32, rows first."""
    import gguf

    values: Array = gguf.dequantize(found.data, found.tensor_type).astype(np.float32, copy=False)
    return values


def main() -> None:
    """Command line: merge one adapter, or only change the type."""
    parser = CommandLine(description="a GGUF model with its adapter merged into it")
    parser.add_argument("model", help="name in configs/models.yaml, or a GGUF file")
    parser.add_argument("out", type=Path)
    parser.add_argument("--lora", type=Path, help="LoRA adapter in GGUF")
    parser.add_argument("--type", default="q8_0", choices=KINDS)
    chosen = parser.parse_args()
    begun = time.monotonic()
    merge_gguf(find_model(chosen.model), chosen.lora, chosen.out, kind=chosen.type)
    size = chosen.out.stat().st_size / 1e6
    say(f"{chosen.out}: {chosen.type}, {size:,.1f} MB, {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    run_main(main)
