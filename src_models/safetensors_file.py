"""Tensors of safetensors files as numpy arrays, one at a time: a tensor is read on access, without torch and
without unpickling.

A file is 8 bytes of header length, a JSON header and raw little-endian data
(https://huggingface.co/docs/safetensors, "Format"). A hub folder holds one file, or several with an index.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src_core.errors import UserError

FLOAT_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


class StoredTensor(NamedTuple):
    """A tensor in its file: its type there, its shape, and its bytes (memory-mapped)."""

    kind: str
    shape: tuple[int, ...]
    raw: NDArray[np.uint8]

    def floats(self) -> NDArray[np.float32]:
        """The values in float32 (bfloat16 is widened). Raises `UserError` for a type that is not a float
        type.
        """
        if self.kind == "BF16":
            wide = (self.raw.view(np.dtype("<u2")).astype(np.uint32) << 16).view(np.float32)
        elif self.kind in FLOAT_TYPES:
            wide = self.raw.view(np.dtype(FLOAT_TYPES[self.kind])).astype(np.float32)
        else:
            raise UserError(f"tensors of type {self.kind} are not supported; give weights in a float type")
        return wide.reshape(self.shape)


Stored = Mapping[str, StoredTensor]


def open_safetensors(path: Path) -> Stored:
    """The tensors of one file by name. Raises `UserError` for a damaged or cut-off file."""
    if not path.is_file():
        raise UserError(f"no such file: {path}; check the path")
    try:
        data = np.memmap(path, dtype=np.uint8, mode="r")
        start = 8 + int.from_bytes(data[:8].tobytes(), "little")
        header = json.loads(data[8:start].tobytes())
        return {name: _entry(facts, data[start:]) for name, facts in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path.name} is not a safetensors file, or is cut off ({error})") from error


def _entry(facts: dict[str, Any], body: NDArray[np.uint8]) -> StoredTensor:
    start, end = facts["data_offsets"]
    shape = tuple(int(size) for size in facts["shape"])
    if not 0 <= start <= end <= len(body) or (end - start) % max(1, math.prod(shape)):
        raise ValueError("its header points outside the file")
    return StoredTensor(str(facts["dtype"]), shape, body[start:end])


def open_folder(folder: Path) -> Stored:
    """The tensors of a hub folder, from all its files. Raises `UserError` when one is missing or damaged."""
    index = folder / INDEX
    if not index.is_file():
        if not (folder / SINGLE).is_file():
            raise UserError(f"{folder} has neither {SINGLE} nor {INDEX}; give a hub folder with safetensors")
        return open_safetensors(folder / SINGLE)
    try:
        files = set(json.loads(index.read_bytes())["weight_map"].values())
    except (ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{index} is not an index of safetensors files ({error})") from error
    found: dict[str, StoredTensor] = {}
    for name in sorted(files):
        found |= open_safetensors(folder / name)
    return found
