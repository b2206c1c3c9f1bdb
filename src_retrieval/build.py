"""Build an index folder: scan the corpus, encode it, build the indexes, write the manifest last.

    bash scripts/build_index.sh corpus=data/sample_world/corpus.jsonl index_dir=indexes/sample_world

Memory stays flat as the corpus grows: vectors go to a file chunk by chunk, with a progress file behind
them, so a killed build goes on where it stopped when the same command is given again. The published
builder keeps all embeddings in memory (reference/rearag.md, section 2.7).
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from src_core.config import config_class, dump, load_config
from src_core.errors import UserError, run_main
from src_core.jsonl import write_atomic
from src_retrieval.bm25 import build_bm25
from src_retrieval.corpus import Corpus, open_corpus
from src_retrieval.dense_build import DenseOptions, build_dense, need_of
from src_retrieval.encoders import Encoder, EncoderOptions, load_encoder
from src_retrieval.indexes import load_faiss, map_vectors
from src_retrieval.layout import (
    MANIFEST_VERSION,
    DenseType,
    IndexLayout,
    IndexType,
    Manifest,
    read_manifest,
    write_manifest,
)

GIGABYTE = 1e9
BM25_DISK_PER_BYTE = 3


@config_class
class BuildConfig:
    """What to build. `dense` is the dense half of a hybrid. `keep_vectors` keeps the float32 vectors of
    an index that does not search them. `chunk_rows` passages are encoded between two saves.
    """

    corpus: str
    index_dir: str
    type: IndexType = IndexType.HYBRID
    dense: DenseType = DenseType.FLAT
    encoder: str = "e5-small"
    overwrite: bool = False
    keep_vectors: bool = False
    chunk_rows: int = 2_000
    encoding: EncoderOptions = EncoderOptions()
    shape: DenseOptions = DenseOptions()


@dataclasses.dataclass(frozen=True, slots=True)
class _Plan:
    """A checked build: what goes where, and what the manifest will say."""

    config: BuildConfig
    layout: IndexLayout
    dense: DenseType | None
    bm25: bool
    encoder: Encoder | None

    def manifest(self, corpus: Corpus, seconds: float) -> Manifest:
        """The manifest of this build."""
        return Manifest(
            version=MANIFEST_VERSION,
            type=self.config.type,
            dense=self.dense,
            encoder=self.encoder.identity if self.encoder else None,
            rows=len(corpus),
            corpus_path=self.config.corpus,
            corpus_sha256=corpus.info.sha256,
            faiss_version=str(load_faiss().__version__),
            build_seconds=round(seconds, 3),
            settings=dump(self.config.shape) if self.dense else {},
        )


def build_index(config: BuildConfig, *, console: Console) -> Manifest:
    """Build, or go on building, or find that the index is there already. Raises `UserError` with what
    to do.
    """
    started = time.monotonic()
    plan = _plan(config)
    layout = plan.layout
    layout.root.mkdir(parents=True, exist_ok=True)
    with _locked(layout), _progress(console) as progress:
        corpus = _open_with_progress(config, layout, progress)
        present = read_manifest(layout) if not config.overwrite else None
        if present is not None:
            _require_same(present, plan.manifest(corpus, 0.0), layout)
            console.print(f"the index in {layout.root} is up to date ({present.rows} passages)")
            return present
        layout.manifest.unlink(missing_ok=True)
        _check_space(plan, corpus)
        if plan.encoder is not None:
            _encode(plan, plan.encoder, corpus, progress)
        _remove_indexes(layout)
        _build_indexes(plan, corpus, progress)
        manifest = plan.manifest(corpus, time.monotonic() - started)
        write_manifest(layout, manifest)
        _tidy(plan)
        corpus.close()
    console.print(f"index ready in {layout.root}: {manifest.rows} passages, {manifest.build_seconds:.1f} s")
    return manifest


def _plan(config: BuildConfig) -> _Plan:
    if config.chunk_rows < 1:
        raise UserError("chunk_rows must be at least 1")
    bm25 = config.type in (IndexType.BM25, IndexType.HYBRID)
    dense: DenseType | None = None
    if config.type is IndexType.HYBRID:
        dense = config.dense
    elif config.type is not IndexType.BM25:
        dense = DenseType(config.type.value)
    encoder = load_encoder(config.encoder, config.encoding) if dense else None
    return _Plan(config, IndexLayout(Path(config.index_dir)), dense, bm25, encoder)


def _open_with_progress(config: BuildConfig, layout: IndexLayout, progress: Progress) -> Corpus:
    path = Path(config.corpus)
    task = progress.add_task("reading", total=path.stat().st_size if path.is_file() else None, visible=False)

    def advance(count: int) -> None:
        progress.update(task, advance=count, visible=True)

    return open_corpus(path, layout.root, advance=advance)


def _require_same(present: Manifest, wanted: Manifest, layout: IndexLayout) -> None:
    """A finished index is only replaced when that was asked for."""
    for what in ("corpus_sha256", "encoder", "type", "dense", "settings"):
        if getattr(present, what) != getattr(wanted, what):
            raise UserError(
                f"{layout.root} holds a finished index with another {what.removesuffix('_sha256')}; add "
                "overwrite=true to replace it, or choose another index_dir"
            )


def _check_space(plan: _Plan, corpus: Corpus) -> None:
    """Refuse before hours of work when disk or memory cannot hold the result."""
    disk, memory = 0, 1 << 29
    if plan.dense is not None and plan.encoder is not None:
        dim = plan.encoder.identity.dim
        need = need_of(plan.dense, rows=len(corpus), dim=dim, options=plan.config.shape)
        disk, memory = need.disk + len(corpus) * dim * 4, need.memory
    if plan.bm25:
        disk += corpus.info.size * BM25_DISK_PER_BYTE
    disk -= sum(path.stat().st_size for path in plan.layout.root.rglob("*") if path.is_file())
    free = shutil.disk_usage(plan.layout.root).free
    if disk > free:
        raise UserError(
            f"the index needs {disk / GIGABYTE:.1f} GB more on the disk of {plan.layout.root}, "
            f"{free / GIGABYTE:.1f} GB are free; free some space or choose another index_dir"
        )
    available = memory_available()
    if memory > available:
        raise UserError(
            f"building needs about {memory / GIGABYTE:.1f} GB of memory, {available / GIGABYTE:.1f} GB are "
            "available; close other programs, or choose type=pq or type=ivf, which need least"
        )


def memory_available() -> int:
    """Bytes that can be had without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _encode(plan: _Plan, encoder: Encoder, corpus: Corpus, progress: Progress) -> None:
    """Fill the vector file from where the last run stopped."""
    layout, chunk = plan.layout, plan.config.chunk_rows
    fingerprint = {"corpus": corpus.info.sha256, "encoder": dataclasses.asdict(encoder.identity)}
    done = _rows_done(plan, fingerprint)
    task = progress.add_task("encoding", total=len(corpus), completed=done)
    row_bytes = encoder.identity.dim * 4
    with layout.vectors.open("r+b" if done else "wb") as handle:
        handle.seek(done * row_bytes)
        handle.truncate()
        for start in range(done, len(corpus), chunk):
            stop = min(start + chunk, len(corpus))
            try:
                handle.write(encoder.encode_passages(corpus.contents(start, stop)).tobytes())
                handle.flush()
                os.fsync(handle.fileno())
            except OSError as error:
                raise UserError(
                    f"could not write {layout.vectors}: {error.strerror}; free some space and run this again"
                ) from error
            write_atomic(layout.progress, orjson.dumps({"fingerprint": fingerprint, "rows_done": stop}))
            progress.update(task, completed=stop)


def _rows_done(plan: _Plan, fingerprint: dict[str, Any]) -> int:
    """Rows that an earlier run left in the vector file; 0 when there was none or it is to be replaced."""
    layout = plan.layout
    if plan.config.overwrite and not layout.progress.is_file():
        return 0
    if not layout.progress.is_file() or not layout.vectors.is_file():
        return 0
    saved = orjson.loads(layout.progress.read_bytes())
    if saved.get("fingerprint") == fingerprint:
        return int(saved["rows_done"])
    if plan.config.overwrite:
        return 0
    raise UserError(
        f"{layout.root} holds an unfinished build of another corpus or encoder; add overwrite=true to "
        "replace it, or choose another index_dir"
    )


def _remove_indexes(layout: IndexLayout) -> None:
    """What an interrupted or replaced build left: indexes are made anew from the vectors, which stay."""
    for pattern in ("*.faiss", "*.tmp", "ivf.*", layout.half_vectors.name):
        for path in layout.root.glob(pattern):
            path.unlink()
    shutil.rmtree(layout.bm25, ignore_errors=True)


def _build_indexes(plan: _Plan, corpus: Corpus, progress: Progress) -> None:
    if plan.dense is not None and plan.encoder is not None:
        vectors = map_vectors(plan.layout.vectors, rows=len(corpus), dim=plan.encoder.identity.dim)
        task = progress.add_task(f"index {plan.dense}", total=len(corpus))
        build_dense(
            plan.dense, plan.layout, vectors, plan.config.shape, lambda count: progress.advance(task, count)
        )
    if plan.bm25:
        words = progress.add_task("index bm25", total=len(corpus))
        build_bm25(
            plan.layout.bm25, corpus.contents, len(corpus), lambda count: progress.advance(words, count)
        )


def _tidy(plan: _Plan) -> None:
    plan.layout.progress.unlink(missing_ok=True)
    if plan.dense is not DenseType.FLAT and not plan.config.keep_vectors:
        plan.layout.vectors.unlink(missing_ok=True)


@contextmanager
def _locked(layout: IndexLayout) -> Iterator[None]:
    """One builder per folder; the lock vanishes with the process."""
    with layout.lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another process is building in {layout.root}; wait for it to finish") from error
        yield


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


def main() -> None:
    """`python -m src_retrieval.build [FILE.yaml] [key=value ...]`."""
    arguments = sys.argv[1:]
    path = Path(arguments.pop(0)) if arguments and "=" not in arguments[0] else None
    build_index(load_config(BuildConfig, path, arguments), console=Console(stderr=True))


if __name__ == "__main__":
    run_main(main)
