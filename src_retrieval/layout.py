"""What an index folder holds, as frozen data: file names, the manifest (written last), the types of
index.
"""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError

from src_core.errors import UserError
from src_core.jsonl import write_atomic
from src_retrieval.encoder_spec import EncoderIdentity

MANIFEST_VERSION = 1


class DenseType(StrEnum):
    """FAISS indexes, all by inner product. `flat` is exact."""

    FLAT = "flat"
    HNSW = "hnsw"
    IVF = "ivf"
    PQ = "pq"


class IndexType(StrEnum):
    """What a server answers from. `hybrid` fuses a dense index with BM25."""

    FLAT = "flat"
    HNSW = "hnsw"
    IVF = "ivf"
    PQ = "pq"
    BM25 = "bm25"
    HYBRID = "hybrid"


@dataclasses.dataclass(frozen=True, slots=True)
class IndexLayout:
    """The files of one index folder."""

    root: Path

    @property
    def manifest(self) -> Path:
        """`Manifest` as JSON; an index without it is unfinished."""
        return self.root / "manifest.json"

    @property
    def progress(self) -> Path:
        """How far encoding came; absent once the index is complete."""
        return self.root / "progress.json"

    @property
    def lock(self) -> Path:
        """Held while a builder works here."""
        return self.root / "build.lock"

    @property
    def vectors(self) -> Path:
        """float32 [rows, dim], raw: the flat index itself, or the source of the others."""
        return self.root / "vectors.f32"

    @property
    def half_vectors(self) -> Path:
        """float16 [rows, dim], raw: what PQ refines with."""
        return self.root / "vectors.f16"

    @property
    def bm25(self) -> Path:
        """A folder in the format of bm25s."""
        return self.root / "bm25"

    @property
    def ivf_lists(self) -> Path:
        """The inverted lists of an IVF index, mapped."""
        return self.root / "ivf.lists"

    def faiss_file(self, kind: DenseType) -> Path:
        """The FAISS file of an index other than flat."""
        return self.root / f"{kind}.faiss"


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """What an index was built from. `encoder` and `dense` are None for BM25 alone."""

    version: int
    type: IndexType
    dense: DenseType | None
    encoder: EncoderIdentity | None
    rows: int
    corpus_path: str
    corpus_sha256: str
    faiss_version: str
    build_seconds: float
    settings: dict[str, str | int | float | bool]


def read_manifest(layout: IndexLayout) -> Manifest | None:
    """The manifest, or None when there is none. Raises `UserError` when it cannot be read."""
    if not layout.manifest.is_file():
        return None
    try:
        return TypeAdapter(Manifest).validate_json(layout.manifest.read_bytes())
    except ValidationError as error:
        raise UserError(
            f"{layout.manifest} cannot be read; rebuild the index with {rebuild_hint(layout)}"
        ) from error


def write_manifest(layout: IndexLayout, manifest: Manifest) -> None:
    """Write it atomically: from now on the index counts as complete."""
    write_atomic(layout.manifest, orjson.dumps(manifest, option=orjson.OPT_INDENT_2))


def rebuild_hint(layout: IndexLayout) -> str:
    """The command that builds this folder anew."""
    return f"bash scripts/build_index.sh index_dir={layout.root} overwrite=true"
