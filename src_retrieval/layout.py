"""What an index folder holds, as frozen data: file names, and the manifest (written last)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter

from src_core.errors import UserError
from src_core.jsonl import write_atomic
from src_retrieval.encoders.spec import EncoderIdentity

MANIFEST_VERSION = 2
HYBRID = "hybrid"
"""The type that fuses a vector index with a word index."""


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

    def faiss_file(self, kind: str) -> Path:
        """The FAISS file of an index other than flat."""
        return self.root / f"{kind}.faiss"


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """What an index was built from. `dense` and `sparse` are the kinds of its vector and its word index; the
    one that it does not have is None. `settings` and
    `library_version` are those of the vector index.
    """

    version: int
    type: str
    dense: str | None
    sparse: str | None
    encoder: EncoderIdentity | None
    rows: int
    corpus_path: str
    corpus_sha256: str
    library_version: str
    build_seconds: float
    settings: dict[str, str | int | float | bool]

    def identity(self) -> dict[str, Any]:
        """What tells two indexes apart: neither where the corpus lay nor how long the build took."""
        facts = dataclasses.asdict(self)
        for name in ("version", "corpus_path", "build_seconds", "library_version"):
            del facts[name]
        return facts


def read_manifest(layout: IndexLayout) -> Manifest | None:
    """The manifest, or None when there is none. Raises `UserError` when it cannot be read."""
    if not layout.manifest.is_file():
        return None
    try:
        values = orjson.loads(layout.manifest.read_bytes())
        if values.get("version") == 1:  # BM25 was the only word index
            values["library_version"] = values.pop("faiss_version")
            values["sparse"] = "bm25" if values["type"] in ("bm25", HYBRID) else None
        return TypeAdapter(Manifest).validate_python(values)
    except (ValueError, KeyError, AttributeError) as error:  # pydantic's and orjson's errors are ValueErrors
        raise UserError(
            f"{layout.manifest} cannot be read; rebuild the index with {rebuild_hint(layout)}"
        ) from error


def write_manifest(layout: IndexLayout, manifest: Manifest) -> None:
    """Write it atomically: from now on the index counts as complete."""
    write_atomic(layout.manifest, orjson.dumps(manifest, option=orjson.OPT_INDENT_2))


def rebuild_hint(layout: IndexLayout) -> str:
    """The command that builds this folder anew."""
    return f"bash scripts/build_index.sh index_dir={layout.root} overwrite=true"
