"""Build an index folder: scan the corpus, encode it, build the indexes, write the manifest last.

    bash scripts/build_index.sh corpus=data/sample_world/corpus.jsonl index_dir=indexes/sample_world

Memory stays flat as the corpus grows: vectors go to a file chunk by chunk, with a progress file, so that the
same command resumes a killed build. The published builder keeps all embeddings in memory
(reference/rearag.md, section 2.7).
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from src_core.config import load_config
from src_core.console import Terminal
from src_core.errors import UserError, run_main
from src_core.jsonl import write_atomic
from src_core.progress import Steps, mebibytes
from src_retrieval.build_plan import BuildConfig, Plan, check_space, make_plan
from src_retrieval.corpus import Corpus, open_corpus
from src_retrieval.encoders.base import Encoder
from src_retrieval.layout import IndexLayout, Manifest, read_manifest, write_manifest
from src_retrieval.sparse import sparse_backend
from src_retrieval.vector import vector_backend
from src_retrieval.vector.base import map_vectors


def build_index(config: BuildConfig, *, steps: Steps) -> Manifest:
    """Build the index, resume its build, or report that it is up to date. Raises `UserError`."""
    started = time.monotonic()
    plan = make_plan(config)
    layout = plan.layout
    layout.root.mkdir(parents=True, exist_ok=True)
    with _locked(layout):
        corpus = _open_corpus(config, layout, steps)
        present = None if config.overwrite else read_manifest(layout)
        if present is not None:
            _require_same(present, plan.manifest(corpus, 0.0), layout)
            steps.console.print(f"the index in {layout.root} is up to date ({present.rows} passages)")
            return present
        check_space(plan, corpus)
        _remove_indexes(plan)
        if plan.vectors is not None:
            _encode(plan, plan.vectors.encoder, corpus, steps)
        _build_indexes(plan, corpus, steps)
        manifest = plan.manifest(corpus, time.monotonic() - started)
        write_manifest(layout, manifest)
        _tidy(plan)
        corpus.close()
    message = f"index ready in {layout.root}: {manifest.rows} passages, {manifest.build_seconds:.1f} s"
    steps.console.print(message)
    return manifest


def _open_corpus(config: BuildConfig, layout: IndexLayout, steps: Steps) -> Corpus:
    path = Path(config.corpus)
    size = path.stat().st_size if path.is_file() else None
    with steps(f"of {path.name} read", total=size, show=mebibytes) as progress:
        return open_corpus(path, layout.root, advance=progress.advance)


def _require_same(present: Manifest, wanted: Manifest, layout: IndexLayout) -> None:
    """Raises `UserError` where a finished index of another corpus or encoder would be replaced without
    `overwrite`.
    """
    for what in ("corpus_sha256", "encoder", "type", "dense", "sparse", "settings"):
        if getattr(present, what) != getattr(wanted, what):
            raise UserError(
                f"{layout.root} holds a finished index with another {what.removesuffix('_sha256')}; add "
                "overwrite=true to replace it, or choose another index_dir"
            )


def _encode(plan: Plan, encoder: Encoder, corpus: Corpus, steps: Steps) -> None:
    """Append to the vector file, after the rows of the last run."""
    layout, chunk = plan.layout, plan.config.chunk_rows
    fingerprint = {"corpus": corpus.info.sha256, "encoder": dataclasses.asdict(encoder.identity)}
    done = _rows_done(plan, fingerprint)
    row_bytes = encoder.identity.dim * 4
    with (
        layout.vectors.open("r+b" if done else "wb") as handle,
        steps("passages encoded", total=len(corpus), done=done) as progress,
    ):
        handle.seek(done * row_bytes)
        handle.truncate()
        for start in range(done, len(corpus), chunk):
            stop = min(start + chunk, len(corpus))
            try:
                vectors = encoder.encode_passages(corpus.contents(start, stop), advance=progress.advance)
                handle.write(vectors.tobytes())
                handle.flush()
                os.fsync(handle.fileno())
            except OSError as error:
                raise UserError(
                    f"could not write {layout.vectors}: {error.strerror}; free some space and run this again"
                ) from error
            write_atomic(layout.progress, orjson.dumps({"fingerprint": fingerprint, "rows_done": stop}))


def _rows_done(plan: Plan, fingerprint: dict[str, Any]) -> int:
    """Rows that an earlier run left in the vector file; 0 when there are none or they are to be replaced."""
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


def _remove_indexes(plan: Plan) -> None:
    """Remove the indexes of an interrupted or replaced build: they are rebuilt from the vectors, which are
    kept.
    """
    replaced = None
    with contextlib.suppress(UserError):  # an unreadable manifest is replaced too
        replaced = read_manifest(plan.layout)
    plan.layout.manifest.unlink(missing_ok=True)
    dense = {plan.vectors.kind if plan.vectors else None, replaced.dense if replaced else None}
    sparse = {plan.words.kind if plan.words else None, replaced.sparse if replaced else None}
    for kind in dense - {None}:
        vector_backend(str(kind)).remove(plan.layout)
    for kind in sparse - {None}:
        sparse_backend(str(kind)).remove(plan.layout)


def _build_indexes(plan: Plan, corpus: Corpus, steps: Steps) -> None:
    if plan.vectors is not None:
        own = plan.vectors
        vectors = map_vectors(plan.layout.vectors, rows=len(corpus), dim=own.encoder.identity.dim)
        own.backend.build(own.kind, plan.layout, vectors, own.options, steps)
    if plan.words is not None:
        words = plan.words
        words.backend.build(words.kind, plan.layout, corpus.contents, len(corpus), words.options, steps)


def _tidy(plan: Plan) -> None:
    plan.layout.progress.unlink(missing_ok=True)
    own = plan.vectors
    searched = own is not None and own.backend.keeps_vectors(own.kind)
    if not searched and not plan.config.keep_vectors:
        plan.layout.vectors.unlink(missing_ok=True)


@contextmanager
def _locked(layout: IndexLayout) -> Iterator[None]:
    """One builder per folder; the lock ends with the process."""
    with layout.lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another process is building in {layout.root}; wait for it to finish") from error
        yield


def main() -> None:
    """`python -m src_retrieval.build [FILE.yaml] [key=value ...]`."""
    arguments = sys.argv[1:]
    path = Path(arguments.pop(0)) if arguments and "=" not in arguments[0] else None
    build_index(load_config(BuildConfig, path, arguments), steps=Steps(Terminal(stderr=True)))


if __name__ == "__main__":
    run_main(main)
