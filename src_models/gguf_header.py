"""The header of a GGUF file: metadata, and name, type and shape of each tensor.

The layout is the one of the GGUF specification, version 2 and 3 (ggml-org/ggml, docs/gguf.md), read with the
standard library alone and without keeping arrays: a vocabulary of 150,000 words takes 0.1 s instead of
seconds, so that a server can check its files before it starts. A header that is cut, contradicts itself or
has no end is refused, in flat memory and bounded time.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from src_core.errors import UserError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
STRING, ARRAY = 8, 9
SCALARS = {**dict(enumerate("BbHhIif?")), 10: "Q", 11: "q", 12: "d"}
ALIGNMENT = 32
F32 = 0
NORM = "output_norm.weight"
MOST_HEADER = 64 << 20
"""Bytes in which a header must end; the largest vocabularies take about 10 MB."""
MOST_TEXT = 16 << 20
MOST_DIMENSIONS = 8
DEEPEST = 4
"""Levels of arrays in arrays; llama.cpp reads one."""
WEIGHTS_PER_BYTE = 8
"""No type of ggml has fewer than one bit per weight."""
BLOCK = 1 << 20

Fact = str | int | float | bool


class TensorInfo(NamedTuple):
    """One tensor: number of its type in ggml, shape with rows first (as numpy has it), place in the file."""

    kind: int
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class GgufHeader:
    """Metadata without its arrays, and the tensors by name in the order of the file."""

    path: Path
    facts: Mapping[str, Fact]
    tensors: Mapping[str, TensorInfo]

    @property
    def architecture(self) -> str:
        """llama.cpp's name for the kind of model."""
        return str(self.facts.get("general.architecture", ""))

    @property
    def is_adapter(self) -> bool:
        """Whether this is a LoRA adapter rather than a model."""
        return self.facts.get("general.type") == "adapter"

    def number(self, key: str) -> int | float | None:
        """A numeric fact of the architecture (`attention.head_count`); None when the file has none."""
        value = self.facts.get(f"{self.architecture}.{key}")
        return None if isinstance(value, str) else value


def read_gguf_header(path: Path) -> GgufHeader:
    """Read the head of a GGUF file. Raises `UserError` when it is not a GGUF file, or is truncated."""
    if not path.is_file():
        raise UserError(f"no such file: {path}; check the path")
    try:
        with path.open("rb") as handle:
            if handle.read(len(MAGIC)) != MAGIC:
                raise UserError(f"{path} is not a GGUF file; give one, or a name of configs/models.yaml")
            with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _read(path, _Cursor(data))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}); check the file") from error
    except (struct.error, ValueError, OverflowError) as error:
        raise UserError(f"{path} is damaged or truncated ({error}); download or convert it again") from error


def model_mark(header: GgufHeader) -> str:
    """A digest that distinguishes models of one shape, independent of their quantisation: all common
    quantisations keep the last norm in float32. A model with a LoRA adapter merged into it has the mark of
    its base. Empty when the file holds no such norm in float32.
    """
    info = header.tensors.get(NORM)
    if info is None or info.kind != F32:
        return ""
    digest, left = hashlib.sha256(), 4 * math.prod(info.shape)
    with header.path.open("rb") as handle:
        handle.seek(info.offset)
        while left > 0 and (block := handle.read(min(left, BLOCK))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()[:16]


class _Cursor:
    """A position in the file that advances with every value read."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.at = len(MAGIC)
        self._end = min(len(data), MOST_HEADER)

    def scalar(self, form: str) -> int | float | bool:
        start = self.at
        self.skip(struct.calcsize("<" + form))
        value: int | float | bool = struct.unpack_from("<" + form, self.data, start)[0]
        return value

    def count(self, form: str = "Q") -> int:
        return int(self.scalar(form))

    def text(self) -> str:
        size = self.count()
        if size > MOST_TEXT:
            raise ValueError(f"one of its texts has {size:,} bytes")
        self.skip(size)
        return self.data[self.at - size : self.at].decode("utf-8", "replace")

    def skip(self, size: int) -> None:
        self.at += size
        if self.at > self._end:
            raise ValueError("its header ends in the middle of a value")


def _read(path: Path, cursor: _Cursor) -> GgufHeader:
    version = cursor.count("I")
    if version not in VERSIONS:
        raise ValueError(f"its version is {version}, known are 2 and 3")
    n_tensors, n_facts = cursor.count(), cursor.count()
    facts: dict[str, Fact] = {}
    for _ in range(n_facts):
        key = cursor.text()
        value = _value(cursor, cursor.count("I"))
        if value is not None:
            facts[key] = value
    found: dict[str, TensorInfo] = {}
    for _ in range(n_tensors):
        name = cursor.text()
        dimensions = cursor.count("I")
        if dimensions > MOST_DIMENSIONS:
            raise ValueError(f"the tensor {name} has {dimensions} dimensions")
        shape = tuple(reversed([cursor.count() for _ in range(dimensions)]))
        found[name] = TensorInfo(cursor.count("I"), shape, cursor.count())
    alignment = facts.get("general.alignment", ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        raise ValueError(f"its alignment is {alignment!r:.40}")
    start = -(-cursor.at // alignment) * alignment
    placed = {name: info._replace(offset=start + info.offset) for name, info in found.items()}
    for name, info in placed.items():
        _require_inside(name, info, size=len(cursor.data))
    return GgufHeader(path, facts, placed)


def _require_inside(name: str, info: TensorInfo, *, size: int) -> None:
    """Raises `ValueError` for a tensor that cannot be within a file of `size` bytes."""
    room = size - info.offset
    weights = math.prod(info.shape)
    if room < 0 or (4 * weights > room if info.kind == F32 else weights > room * WEIGHTS_PER_BYTE):
        raise ValueError(f"the tensor {name} is outside the file")


def _value(cursor: _Cursor, kind: int, *, depth: int = 0) -> Fact | None:
    """The next value, None for an array (which is skipped)."""
    if kind == STRING:
        return cursor.text()
    if kind in SCALARS:
        return cursor.scalar(SCALARS[kind])
    if kind != ARRAY:
        raise ValueError(f"one of its values has the unknown type {kind}")
    if depth == DEEPEST:
        raise ValueError(f"arrays are nested more than {DEEPEST} deep")
    inner, length = cursor.count("I"), cursor.count()
    if inner in SCALARS:
        cursor.skip(length * struct.calcsize("<" + SCALARS[inner]))
    else:
        for _ in range(length):
            if inner == STRING:
                cursor.skip(cursor.count())
            else:
                _value(cursor, inner, depth=depth + 1)
    return None
