"""Tensors of safetensors files as numpy arrays, one at a time: a tensor is read on access, without torch and
without unpickling.

A file is 8 bytes of header length, a JSON header and raw little-endian data
(https://huggingface.co/docs/safetensors, "Format"). A hub folder holds one file, or several with an index.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src_core.errors import UserError
from src_core.json_file import read_object

FLOAT_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
MOST_HEADER = 16 << 20
"""Bytes of a header; those of the largest published files take about 1 MB."""
MOST_DIMENSIONS = 8
BYTES = {"BF16": 2, **{f"{kind}{bits}": bits // 8 for kind in "FIU" for bits in (8, 16, 32, 64)}, "BOOL": 1}
"""Bytes per value by type; other types are only compared with their number of values."""
_PART = re.compile(r"[^/\\\0]+\.safetensors")


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
        if not 8 < start <= min(len(data), MOST_HEADER):
            raise ValueError(f"its header would have {start - 8:,} bytes")
        header = json.loads(data[8:start].tobytes())
        if not isinstance(header, dict):
            raise ValueError("its header is no JSON object")
        return {
            name: _entry(name, facts, data[start:])
            for name, facts in header.items()
            if name != "__metadata__"
        }
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}); check the file") from error
    except RecursionError as error:
        raise UserError(f"the header of {path} is nested too deeply; fetch the file again") from error
    except ValueError as error:
        raise UserError(
            f"{path} is not a safetensors file, or is cut off ({error}); fetch or write it again"
        ) from error


def _entry(name: str, facts: Any, body: NDArray[np.uint8]) -> StoredTensor:
    """Raises `ValueError` where `facts` do not describe a tensor inside the file."""
    facts = facts if isinstance(facts, dict) else {}
    kind, shape, place = facts.get("dtype"), facts.get("shape"), facts.get("data_offsets")
    if not isinstance(kind, str) or not _sizes(shape) or not _sizes(place) or len(place) != 2:
        raise ValueError(f"the entry of {name!r:.80} is no tensor")
    start, end = place
    values = math.prod(shape)
    needed = values * BYTES[kind] if kind in BYTES else end - start
    if not start <= end <= len(body) or end - start != needed or (values == 0) != (start == end):
        raise ValueError(f"the tensor {name!r:.80} does not fit its place in the file")
    return StoredTensor(kind, tuple(shape), body[start:end])


def _sizes(value: Any) -> bool:
    """Whether `value` is a short list of whole numbers from 0 on."""
    return (
        isinstance(value, list)
        and len(value) <= MOST_DIMENSIONS
        and all(type(size) is int and size >= 0 for size in value)
    )


def open_folder(folder: Path) -> Stored:
    """The tensors of a hub folder, from all its files. Raises `UserError` when one is missing or damaged, or
    when the index names a file outside the folder.
    """
    index = folder / INDEX
    if not index.is_file():
        if not (folder / SINGLE).is_file():
            raise UserError(f"{folder} has neither {SINGLE} nor {INDEX}; give a hub folder with safetensors")
        return open_safetensors(folder / SINGLE)
    places = read_object(index, advice="fetch the folder again").get("weight_map")
    names = set(map(str, places.values())) if isinstance(places, dict) else set()
    if not names:
        raise UserError(f"{index} has no weight_map of tensors to files; fetch the folder again")
    found: dict[str, StoredTensor] = {}
    for name in sorted(names):
        if not _PART.fullmatch(name):
            raise UserError(f"{index} names {name!r:.100}, which is no file of the folder; fetch it again")
        found |= open_safetensors(folder / name)
    return found
