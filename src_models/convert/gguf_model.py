"""A trained hub folder as a GGUF file for the embedded server (command line: `src_models.convert.to_gguf`).

The GGUF file that the model was trained from is the template: same metadata and tokenizer, every tensor
replaced by the trained one. So the tokenizer needs no conversion, for which llama.cpp's convert_hf_to_gguf.py
has a case per model. Only the chat template follows the hub folder, where it has one: the prompt at inference
is the one of training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from src_core.chat_template import template_text
from src_core.errors import UserError
from src_core.json_file import read_object
from src_models.convert.gguf_names import Array, Layout, layout_of
from src_models.convert.gguf_write import QUANTISABLE, Entry, Tensor, fitting, write_gguf
from src_models.gguf_header import F32, GgufHeader, read_gguf_header
from src_models.safetensors_file import Stored, StoredTensor, open_folder

ADVICE = "copy the folder again"
FILE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "iq4_nl": 25, "bf16": 32}
"""llama.cpp's numbers for the main tensor type of a file (gguf.LlamaFileType)."""
FOUR_BITS = ("q4_0", "q4_1", "iq4_nl")
EMBEDDINGS, OUTPUT = "token_embd.weight", "output.weight"
COMPUTED = frozenset({"rope_freqs.weight"})
"""Tensors that follow from the configuration: no hub folder has them, no training changes them."""
SAME_FACTS = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "rope_theta": "rope.freq_base",
}
"""Keys of the hub's config.json and of the metadata that cannot be derived from tensor shapes."""


def write_model(folder: Path, base: Path, out: Path, *, kind: str) -> None:
    """Write `out`: the weights of the hub folder `folder`, all else from the GGUF file `base`. `kind` is a
    key of `FILE_TYPES`, or `base` for the types of the base. Raises `UserError` when the two do not belong
    together."""
    header, layout, stored = _open(folder, base)
    tensors = {
        name: Tensor(_kind(name, header, kind=kind), tensor.shape, partial(_load, tensor, layout, name))
        for name, tensor in stored.items()
    }
    copied = [name for name in header.tensors if name in COMPUTED]
    reader = _reader(base)
    tensors |= {name: _copy(name, reader) for name in copied}
    metadata = copied_metadata(reader, _changes(folder, kind=kind))
    write_gguf(out, architecture=header.architecture, metadata=metadata, tensors=tensors)


def require_template(folder: Path, base: Path) -> None:
    """Raise a `UserError` unless the GGUF file `base` can be the template for the hub folder `folder`."""
    _open(folder, base)


def _open(folder: Path, base: Path) -> tuple[GgufHeader, Layout, dict[str, StoredTensor]]:
    header = read_gguf_header(base)
    layout = layout_of(header)
    config = read_config(folder)
    require_same_model(config, header, layout=layout)
    tied = bool(config.get("tie_word_embeddings"))
    return header, layout, match_tensors(open_folder(folder), header, layout=layout, tied=tied)


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a hub folder. Raises `UserError` when it is missing or damaged."""
    file = folder / "config.json"
    if not file.is_file():
        raise UserError(f"{folder} has no config.json; give the folder of a trained model or adapter")
    return read_object(file, advice=ADVICE)


def require_same_model(config: Mapping[str, Any], base: GgufHeader, *, layout: Layout) -> None:
    """Raise a `UserError` when the hub configuration is not that of the GGUF file."""
    wants = "name the file of the model that was trained with --like"
    if str(config.get("model_type")) not in layout.architecture.model_types:
        raise UserError(
            f"the trained model is of the type {config.get('model_type')}, {base.path} is of the "
            f"architecture {base.architecture}; {wants}"
        )
    found = config.get("rope_parameters")  # where transformers 5 keeps rope_theta
    rope = found if isinstance(found, dict) else {}
    for key, theirs in SAME_FACTS.items():
        ours, wanted = config.get(key, rope.get(key)), base.number(theirs)
        if ours is not None and wanted is not None and not _equal(ours, wanted):
            raise UserError(f"the trained model has {key} {ours}, {base.path} has {wanted}; {wants}")


def _equal(ours: Any, wanted: float) -> bool:
    return isinstance(ours, int | float) and math.isclose(ours, wanted, rel_tol=1e-4)


def match_tensors(stored: Stored, base: GgufHeader, *, layout: Layout, tied: bool) -> dict[str, StoredTensor]:
    """The trained tensor for each of the base's by its name there, in the base's order; an output matrix that
    training untied comes last. Raises `UserError` for missing, unknown or misshapen tensors."""
    named = {layout.name(hub_name) or hub_name: tensor for hub_name, tensor in stored.items()}
    table = named.get(EMBEDDINGS)
    if table is not None and (tied or OUTPUT not in named):
        named[OUTPUT] = table
    wanted = [name for name in base.tensors if name not in COMPUTED]
    if OUTPUT not in wanted and OUTPUT in named:
        output = named[OUTPUT]
        if output is not table and (table is None or not np.array_equal(output.raw, table.raw)):
            wanted.append(OUTPUT)
    _require_same_names(wanted, [name for name in named if name not in wanted and name != OUTPUT], named)
    for name in wanted:
        shape = base.tensors.get(name, base.tensors[EMBEDDINGS]).shape
        if named[name].shape != shape:
            hint = "; the tokenizer is the base's, so no words can be added" if name == EMBEDDINGS else ""
            raise UserError(f"{name} is {named[name].shape} in the trained folder, {shape} in the base{hint}")
    return {name: named[name] for name in wanted}


def _require_same_names(wanted: list[str], unknown: list[str], named: Stored) -> None:
    missing = [name for name in wanted if name not in named]
    for names, words in ((missing, "lacks"), (unknown, "has, unlike the base,")):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UserError(
                f"the trained folder {words} {', '.join(names[:3])}{more}; "
                "name the file of the model that was trained with --like"
            )


def _kind(name: str, base: GgufHeader, *, kind: str) -> str:
    """The type of a tensor. Tensors in float32 in the base (norms, biases) stay in float32."""
    from gguf import GGMLQuantizationType

    theirs = base.tensors.get(name, base.tensors[EMBEDDINGS])
    if theirs.kind == F32 and len(theirs.shape) == 1:
        return "F32"
    chosen = GGMLQuantizationType(theirs.kind).name if kind == "base" else kind.upper()
    # The embeddings are the output matrix too in most small models: four bits there cost most.
    if chosen not in QUANTISABLE or (kind in FOUR_BITS and name in (EMBEDDINGS, OUTPUT)):
        chosen = "Q8_0"
    return fitting(chosen, theirs.shape)


def _load(tensor: StoredTensor, layout: Layout, name: str) -> Array:
    return layout.rows(tensor.floats(), name=name)


def _reader(base: Path) -> Any:
    from gguf import GGUFReader

    return GGUFReader(base)


def _copy(name: str, reader: Any) -> Tensor:
    found = next(tensor for tensor in reader.tensors if tensor.name == name)
    return Tensor("F32", found.data.shape, lambda: np.asarray(found.data, dtype=np.float32))


def copied_metadata(reader: Any, changes: Mapping[str, Entry]) -> Iterator[Entry]:
    """The base's entries in their order with the changed ones in their places, then the new ones. Leaves out
    entries that the writer adds itself and entries about the base's quantisation.
    """
    from gguf import GGUFValueType

    left = dict(changes)
    for field in reader.fields.values():
        if field.name.startswith(("GGUF.", "quantize.")) or field.name == "general.architecture":
            continue
        if field.name in left:
            yield left.pop(field.name)
        elif field.types[0] != GGUFValueType.ARRAY or field.data:
            yield Entry(field.name, field.contents(), field.types[0], field.types[-1])
    yield from left.values()


def _changes(folder: Path, *, kind: str) -> dict[str, Entry]:
    """Metadata that differs from the base's."""
    from gguf import GGUFValueType

    found = [Entry("general.quantization_version", 2, GGUFValueType.UINT32)]
    if kind in FILE_TYPES:
        found.append(Entry("general.file_type", FILE_TYPES[kind], GGUFValueType.UINT32))
    config = folder / "tokenizer_config.json"
    template = template_text(folder, read_object(config, advice=ADVICE) if config.is_file() else {})
    if template:
        found.append(Entry("tokenizer.chat_template", template, GGUFValueType.STRING))
    return {entry.key: entry for entry in found}
