"""A LoRA adapter of peft as a GGUF adapter, which llama.cpp adds to its base model while it runs (command
line: `src_models.convert.to_gguf`).

Format: metadata `general.type` = adapter, `adapter.type` = lora, `adapter.lora.alpha`, and two tensors for
each changed one, `<name>.lora_a` [rank, in] and `<name>.lora_b` [out, rank], as convert_lora_to_gguf.py of
llama.cpp writes them. llama.cpp scales every pair by alpha / rank; where peft scaled otherwise (patterns of
alpha, rank-stabilised LoRA), the rest of the factor is multiplied into b. b has the rows of the base's
matrix, so it is reordered as that one is; a is not touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from src_core.errors import UserError
from src_models.adapters import MARK_KEY
from src_models.convert.gguf_names import Array, Layout, layout_of
from src_models.convert.gguf_write import Entry, Tensor, fitting, write_gguf
from src_models.gguf_header import GgufHeader, model_mark, read_gguf_header
from src_models.peft_folder import LoraPair, PeftAdapter, read_peft

KINDS = ("f16", "f32", "q8_0")


class AdapterFacts(NamedTuple):
    """Facts about the written adapter."""

    rank: int
    tensors: int
    size: int


def write_adapter(folder: Path, base: Path, out: Path, *, kind: str) -> AdapterFacts:
    """Write the adapter in `folder` for the GGUF model `base` as `out`, in one of `KINDS` (matrices whose
    rows do not divide into blocks of 32 stay in f16). Raises `UserError` when the two do not match.
    """
    if kind not in KINDS:
        raise UserError(f"an adapter cannot be stored as {kind}; choose one of {', '.join(KINDS)}")
    header = read_gguf_header(base)
    adapter = read_peft(folder)
    tensors = dict(_tensors(adapter, header, layout=layout_of(header), kind=kind.upper()))
    metadata = _metadata(adapter, header)
    write_gguf(out, architecture=header.architecture, metadata=metadata, tensors=tensors)
    return AdapterFacts(adapter.rank, len(tensors), out.stat().st_size)


def require_base(folder: Path, base: Path) -> None:
    """Raise a `UserError` unless the adapter in `folder` fits the GGUF file `base`."""
    header = read_gguf_header(base)
    dict(_tensors(read_peft(folder), header, layout=layout_of(header), kind="F32"))


def _tensors(
    adapter: PeftAdapter, base: GgufHeader, *, layout: Layout, kind: str
) -> Iterator[tuple[str, Tensor]]:
    for module, pair in adapter.pairs.items():
        name = layout.name(f"{module}.weight")
        found = base.tensors.get(name or "")
        if name is None or found is None or name.startswith("token_embd"):
            raise UserError(
                f"{adapter.folder} changes {module}, which llama.cpp cannot change in {base.path}; train "
                "an adapter without it, or merge the adapter"
            )
        if found.shape != (pair.b.shape[0], pair.a.shape[1]):
            raise UserError(
                f"{adapter.folder} changes {module} of {pair.b.shape[0]} x {pair.a.shape[1]}, {base.path} "
                f"has it with {found.shape[0]} x {found.shape[1]}; name the model that was "
                "trained with --like"
            )
        factor = pair.scale * pair.rank / adapter.alpha if adapter.alpha else 0.0
        b = partial(_load_b, pair, layout, name, factor)
        yield f"{name}.lora_a", Tensor(fitting(kind, pair.a.shape), pair.a.shape, pair.a.floats)
        yield f"{name}.lora_b", Tensor(fitting(kind, pair.b.shape), pair.b.shape, b)


def _load_b(pair: LoraPair, layout: Layout, name: str, factor: float) -> Array:
    values = layout.rows(pair.b.floats(), name=name)
    return values if factor == 1.0 else values * factor


def _metadata(adapter: PeftAdapter, base: GgufHeader) -> Iterator[Entry]:
    """The metadata that llama.cpp requires, and the mark that distinguishes this adapter's base from another
    model of the same shape.
    """
    from gguf import GGUFValueType

    yield Entry("general.type", "adapter", GGUFValueType.STRING)
    yield Entry("adapter.type", "lora", GGUFValueType.STRING)
    yield Entry("adapter.lora.alpha", adapter.alpha, GGUFValueType.FLOAT32)
    name = base.facts.get("general.name")
    if name:
        yield Entry("general.base_model.count", 1, GGUFValueType.UINT32)
        yield Entry("general.base_model.0.name", str(name), GGUFValueType.STRING)
    if model_mark(base):
        yield Entry(MARK_KEY, model_mark(base), GGUFValueType.STRING)
