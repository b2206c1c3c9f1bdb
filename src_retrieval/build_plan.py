"""The plan of an index build, checked before anything is written: the config, the backends, the space."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

from src_core.config import NotNegative, Positive, config_class
from src_core.errors import UserError
from src_core.progress import Steps
from src_retrieval.backends import options_of
from src_retrieval.corpus import Corpus
from src_retrieval.corpus_scan import CorpusInfo
from src_retrieval.encoders.base import Encoder, EncoderOptions
from src_retrieval.encoders.load import load_encoder
from src_retrieval.layout import HYBRID, MANIFEST_VERSION, IndexLayout, Manifest
from src_retrieval.results import Facts
from src_retrieval.reuse import HASH_BYTES
from src_retrieval.sparse import sparse_backend, sparse_kinds
from src_retrieval.sparse.base import SparseBackend
from src_retrieval.vector import vector_backend, vector_kinds
from src_retrieval.vector.base import VectorBackend
from src_retrieval.vector.flat_file import FlatFile, open_flat_file
from src_retrieval.vector_files import VectorFiles, row_bytes

GIGABYTE = 1e9
BASE_MEMORY = 1 << 29
MARGIN_BYTES = 1 << 18
"""Manifest, progress file and what the file system needs for the names."""


@config_class
class BuildConfig:
    """The settings of a build. `type` is a kind of vector index, a kind of word index, or `hybrid`, whose
    halves are `dense` and `sparse`. `shape` and `sparse_options` hold the settings of the two backends.
    `follow_edits` replaces the index of an earlier version of the corpus, where it would be refused.
    `keep_vectors` keeps the float32 vectors of an index that does not search them. `chunk_rows` passages are
    encoded between two saves. Another build of the same folder is waited for, at most `wait_seconds`.
    `vectors` is a flat FAISS file by inner product with the vectors of the corpus by `encoder`, in its order
    (FlashRAG's `e5_Flat.index`): nothing is encoded then, and a flat index searches the file where it lies.
    """

    corpus: str
    index_dir: str
    type: str = HYBRID
    dense: str = "flat"
    sparse: str = "bm25"
    encoder: str = "e5-small"
    overwrite: bool = False
    follow_edits: bool = False
    keep_vectors: bool = False
    chunk_rows: Positive = 2_000
    wait_seconds: NotNegative = 3_600.0
    vectors: str = ""
    encoding: EncoderOptions = EncoderOptions()
    shape: dict[str, Any] = dataclasses.field(default_factory=dict)
    sparse_options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Vectors:
    """The vector half of a build. `file` holds its vectors; None: they are encoded."""

    kind: str
    backend: VectorBackend
    options: Any
    encoder: Encoder
    file: FlatFile | None = None

    @property
    def settings(self) -> Facts:
        """The options that the index is built by."""
        return self.backend.settings(self.options)


@dataclasses.dataclass(frozen=True, slots=True)
class Words:
    """The word half of a build."""

    kind: str
    backend: SparseBackend
    options: Any

    @property
    def settings(self) -> Facts:
        """The options that the index is built by."""
        return self.backend.settings(self.options)


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """A checked build: its files and the values of its manifest."""

    config: BuildConfig
    layout: IndexLayout
    vectors: Vectors | None
    words: Words | None

    @property
    def vectors_mark(self) -> str:
        """What names the contents of the FAISS file that the vectors are from; "" where they are encoded."""
        return self.vectors.file.mark if self.vectors and self.vectors.file else ""

    @property
    def half(self) -> bool:
        """Whether the encoder's vectors are written as fp16."""
        own = self.vectors
        enough = own is not None and own.file is None and own.backend.half_is_enough(own.kind)
        return enough and not self.config.keep_vectors

    @property
    def keeps_vectors(self) -> bool:
        """Whether the finished index has the float32 vectors, and with them a hash of each passage."""
        own = self.vectors
        return own is not None and (own.backend.keeps_vectors(own.kind) or self.config.keep_vectors)

    def vector_files(self, own: Vectors, corpus_sha256: str) -> VectorFiles:
        """The files that the encoder's vectors are written to. A hash of each passage goes with float32 ones
        that stay.
        """
        return VectorFiles(
            self.layout.unfinished,
            corpus_sha256=corpus_sha256,
            encoder=own.encoder.identity,
            half=self.half,
            hashed=self.keeps_vectors,
        )

    def manifest(self, corpus: CorpusInfo, seconds: float) -> Manifest:
        """The manifest of this build."""
        return Manifest(
            version=MANIFEST_VERSION,
            type=self.config.type,
            dense=self.vectors.kind if self.vectors else None,
            sparse=self.words.kind if self.words else None,
            encoder=self.vectors.encoder.identity if self.vectors else None,
            rows=corpus.rows,
            corpus_path=self.config.corpus,
            corpus_sha256=corpus.sha256,
            library_version=self.vectors.backend.version() if self.vectors else "",
            build_seconds=round(seconds, 3),
            settings=self.vectors.settings if self.vectors else {},
            tokenizer=self.words.backend.version(self.words.settings) if self.words else "",
            sparse_settings=self.words.settings if self.words else {},
            vectors=self.vectors_mark,
        )


def make_plan(config: BuildConfig) -> Plan:
    """The plan of a config. Raises `UserError` for an unknown kind of index, encoder or setting."""
    if config.chunk_rows < 1:
        raise UserError("chunk_rows must be at least 1")
    known = [HYBRID, *vector_kinds(), *sparse_kinds()]
    if config.vectors and (config.keep_vectors or config.type in sparse_kinds()):
        other = "keep_vectors=true" if config.keep_vectors else f"type={config.type}, which has no vectors"
        raise UserError(f"vectors={config.vectors} does not go with {other}; leave one of them out")
    if config.type not in known:
        raise UserError(f"no index type is called {config.type!r}; there are: {', '.join(known)}")
    dense = config.dense if config.type == HYBRID else config.type
    sparse = config.sparse if config.type == HYBRID else config.type
    vectors: Vectors | None = None
    words: Words | None = None
    if config.type not in sparse_kinds():
        backend = vector_backend(dense)
        options = options_of(backend.build_options, config.shape, where="shape")
        encoder = load_encoder(config.encoder, config.encoding)
        file = open_flat_file(Path(config.vectors), encoder) if config.vectors else None
        vectors = Vectors(dense, backend, options, encoder, file)
    if config.type not in vector_kinds():
        own = sparse_backend(sparse)
        words = Words(sparse, own, options_of(own.options, config.sparse_options, where="sparse_options"))
    return Plan(config, IndexLayout(Path(config.index_dir)), vectors, words)


def check_space(plan: Plan, corpus: Corpus, steps: Steps) -> None:
    """Raises `UserError`, before hours of work, when disk or memory is too small for the result; says what a
    large one needs.
    """
    disk, memory = MARGIN_BYTES, BASE_MEMORY
    if plan.vectors is not None:
        own = plan.vectors
        dim = own.encoder.identity.dim
        need = own.backend.need(own.kind, rows=len(corpus), dim=dim, options=own.options)
        row = 0 if own.file else row_bytes(dim, half=plan.half) + (HASH_BYTES if plan.keeps_vectors else 0)
        if own.backend.half_is_enough(own.kind) and not plan.half:
            row += row_bytes(dim, half=True)
        disk, memory = disk + need.disk + len(corpus) * row, need.memory
    if plan.words is not None:
        disk += plan.words.backend.disk_need(corpus, plan.words.options)
    disk = max(MARGIN_BYTES, disk - _held(plan.layout.unfinished))
    free = shutil.disk_usage(plan.layout.root).free
    if disk > free:
        raise UserError(
            f"the index needs {_size(disk)} more on the disk of {plan.layout.root}, {_size(free)} are free; "
            "free some space or choose another index_dir"
        )
    if disk > GIGABYTE:
        free_now = f"{_size(free)} are free"
        steps.console.print(f"the index needs {_size(disk)} on the disk of {plan.layout.root}, {free_now}")
    available = memory_available()
    if memory > available:
        raise UserError(
            f"building needs about {_size(memory)} of memory, {_size(available)} are available; close other "
            "programs, or choose type=pq or type=ivf, which need least"
        )


def _held(layout: IndexLayout) -> int:
    """Bytes of an interrupted build: it goes on with them, or removes them first. The files of the corpus are
    not a part of the need.
    """
    files = (path for path in layout.root.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files if not path.name.startswith("corpus."))


def _size(count: int) -> str:
    return f"{count / GIGABYTE:.1f} GB" if count >= GIGABYTE / 10 else f"{count / 1e6:.1f} MB"


def memory_available() -> int:
    """Bytes that are available without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
