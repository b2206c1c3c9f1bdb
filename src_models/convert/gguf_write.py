"""Writing a GGUF file some tensors at a time: memory holds the three largest, not the model.

The gguf package has the format and the quantisers (bit for bit those of llama.cpp); the file gets its name
when it is complete.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from src_core.console import Terminal
from src_core.errors import UserError
from src_models.convert.iq4_nl import quantise_iq4_nl
from src_models.files import require_space

Array = NDArray[np.float32]

QUANTISABLE = frozenset({"F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL"})
"""Types that the gguf package can write, and IQ4_NL; the K types are read-only there."""
METADATA_ROOM = 16 << 20
WORKERS = 2
"""Tensors that are quantised at once: numpy gives up its lock for most of it."""


class Entry(NamedTuple):
    """One entry of the metadata. `kind` and `inner` (for arrays) are the gguf package's `GGUFValueType`."""

    key: str
    value: Any
    kind: Any
    inner: Any = None


class Tensor(NamedTuple):
    """One tensor to write: the name of its type, its shape (rows first), and the source of its values, which
    are bytes of that type where `stored` is true.
    """

    kind: str
    shape: tuple[int, ...]
    load: Callable[[], Any]
    stored: bool = False

    @property
    def size(self) -> int:
        """Bytes in the file."""
        block, width = _block(self.kind)
        return math.prod(self.shape) // block * width


def fitting(kind: str, shape: tuple[int, ...]) -> str:
    """`kind`, or F16 where a row does not divide into its blocks."""
    return kind if shape[-1] % _block(kind)[0] == 0 else "F16"


def write_gguf(
    out: Path, *, architecture: str, metadata: Iterable[Entry], tensors: Mapping[str, Tensor]
) -> None:
    """Write the file `out`. Raises `UserError` when it exists or the disk is too small or fails."""
    import gguf

    if out.exists():
        raise UserError(f"{out} exists; remove it or choose another name")
    out.parent.mkdir(parents=True, exist_ok=True)
    need = sum(tensor.size for tensor in tensors.values()) + METADATA_ROOM
    require_space(out.parent, need=need, what=f"writing {out.name}")
    part = out.with_name(out.name + ".tmp")
    writer = gguf.GGUFWriter(part, architecture)
    for entry in metadata:
        writer.add_key_value(entry.key, entry.value, entry.kind, sub_type=entry.inner)
    for name, tensor in tensors.items():
        kind = gguf.GGMLQuantizationType[tensor.kind]
        writer.add_tensor_info(name, tensor.shape, np.dtype(np.float32), tensor.size, raw_dtype=kind)
    try:
        _write_all(writer, tensors)
        writer.close()
        part.replace(out)
    except OSError as error:
        raise UserError(
            f"could not write {out}: {error.strerror or error}; free some space or choose another file"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _write_all(writer: Any, tensors: Mapping[str, Tensor]) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    console = Terminal(stderr=True)
    bar = track(tensors.values(), "writing tensors", console=console, disable=not console.is_terminal)
    ready: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(WORKERS) as pool:
        for tensor in bar:
            ready.append(pool.submit(_stored, tensor))
            if len(ready) > WORKERS:
                writer.write_tensor_data(ready.popleft().result())
        for result in ready:
            writer.write_tensor_data(result.result())


def _stored(tensor: Tensor) -> Any:
    return tensor.load() if tensor.stored else _quantised(tensor.load(), tensor.kind)


def _quantised(values: Any, kind: str) -> Any:
    import gguf

    values = np.ascontiguousarray(values, dtype=np.float32)
    if kind == "IQ4_NL":
        return quantise_iq4_nl(values)
    return gguf.quantize(values, gguf.GGMLQuantizationType[kind])


def _block(kind: str) -> tuple[int, int]:
    """Values and bytes per block of a type."""
    import gguf

    block, width = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    return int(block), int(width)
