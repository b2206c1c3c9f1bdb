"""The contents of an index folder: file names, and the manifest (written last)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter

from src_core.caller import in_command
from src_core.errors import UserError
from src_core.jsonl import write_atomic
from src_retrieval.encoders.spec import EncoderIdentity

MANIFEST_VERSION = 3
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
    def unfinished(self) -> IndexLayout:
        """A folder of the same form inside this one, in which an index is built until it is complete."""
        return IndexLayout(self.root / "unfinished")

    @property
    def publishing(self) -> Path:
        """The manifest of an unfinished index whose files are being moved to their place."""
        return self.root / "publishing.json"

    @property
    def replaced(self) -> Path:
        """The manifest of an index whose files are being removed."""
        return self.root / "replaced.json"

    @property
    def progress(self) -> Path:
        """The number of encoded rows; absent once the index is complete."""
        return self.root / "progress.json"

    @property
    def halves(self) -> Path:
        """What the vector and the word half of a build are made from, and whether they are finished
        (`build_halves.py`); absent once the index is complete.
        """
        return self.root / "halves.json"

    @property
    def lock(self) -> Path:
        """Held while a builder works here."""
        return self.root / "build.lock"

    @property
    def vectors(self) -> Path:
        """float32 [rows, dim], raw: the flat index itself, or the source of the others."""
        return self.root / "vectors.f32"

    @property
    def linked_vectors(self) -> Path:
        """In place of `vectors`: a link to the flat FAISS file of others that a flat index searches."""
        return self.root / "vectors.index"

    @property
    def content_hashes(self) -> Path:
        """uint64 [rows, 2], raw: a hash of each passage's text, beside `vectors` (`reuse.py`)."""
        return self.root / "contents.u64"

    @property
    def half_vectors(self) -> Path:
        """float16 [rows, dim], raw: the vectors that refine PQ results. A build that needs no others has the
        encoder's vectors written here.
        """
        return self.root / "vectors.f16"

    @property
    def parts(self) -> Path:
        """A folder of an unfinished index: what of it is made already (`vector/pq_build.py`)."""
        return self.root / "parts"

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
    """The sources and settings of an index. `dense` and `sparse` are the kinds of its vector and its word
    index; None where it has none. `settings` and `library_version` are those of the vector index,
    `sparse_settings` those of the word index, `tokenizer` names what divided the passages into words. `files`
    holds the mark of each file (`OpenFile.mark`), by its path in the folder; indexes of earlier versions have
    none. `vectors` names the contents of the FAISS file that the vectors are from; "" for those that the
    encoder made.
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
    tokenizer: str = ""
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    sparse_settings: dict[str, str | int | float | bool] = dataclasses.field(default_factory=dict)
    vectors: str = ""

    def identity(self) -> dict[str, Any]:
        """The values that identify an index: without the path of the corpus and the build time."""
        facts = dataclasses.asdict(self)
        for name in ("version", "corpus_path", "build_seconds", "library_version", "files"):
            del facts[name]
        for name in ("sparse_settings", "vectors"):
            if not facts[name]:  # so that the identity of earlier indexes stays
                del facts[name]
        return facts


def read_manifest(layout: IndexLayout) -> Manifest | None:
    """The manifest, or None when there is none. Raises `UserError` when it cannot be read."""
    return parse_manifest(layout, layout.manifest)


def parse_manifest(layout: IndexLayout, path: Path) -> Manifest | None:
    """`read_manifest` of a file that has, or is to have, this role in `layout`."""
    if not path.is_file():
        return None
    try:
        values = orjson.loads(path.read_bytes())
        if not 1 <= values["version"] <= MANIFEST_VERSION:
            raise ValueError(f"version {values['version']} is unknown")
        if values.get("version") == 1:  # BM25 was the only word index
            values["library_version"] = values.pop("faiss_version")
            values["sparse"] = "bm25" if values["type"] in ("bm25", HYBRID) else None
        # The errors of pydantic and orjson are ValueErrors.
        return TypeAdapter(Manifest).validate_python(values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read; rebuild the index with {rebuild_hint(layout)}") from error


def write_manifest(layout: IndexLayout, manifest: Manifest) -> None:
    """Write it atomically: from then on the index counts as complete."""
    write_atomic(layout.manifest, orjson.dumps(manifest, option=orjson.OPT_INDENT_2))


def rebuild_hint(layout: IndexLayout) -> str:
    """The command that rebuilds this folder."""
    return f"bash scripts/build_index.sh index_dir={in_command(layout.root)} overwrite=true"
