"""Build an index folder: scan the corpus, encode it, build the indexes, write the manifest last.

    bash scripts/build_index.sh corpus=data/sample_world/corpus.jsonl index_dir=indexes/sample_world

Memory stays flat as the corpus grows: vectors go to a file chunk by chunk, with a progress file, so that the
same command resumes a killed build; a finished half of it is not built again. The published builder keeps all
embeddings in memory (reference/rearag.md, section 2.7). A server that has the folder open goes on with the
old files: the new ones are made in a folder of their own and moved when they are complete (`index_files.py`).
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from src_core.config import load_config
from src_core.console import Terminal
from src_core.errors import UserError, run_main
from src_core.progress import Steps, mebibytes
from src_retrieval.build_halves import VECTORS, WORDS, Halves
from src_retrieval.build_lock import locked
from src_retrieval.build_plan import BuildConfig, Plan, Vectors, check_space, make_plan
from src_retrieval.corpus import Corpus, cached_info, open_corpus, require_corpus
from src_retrieval.corpus_scan import CorpusInfo
from src_retrieval.disk import writing_into
from src_retrieval.encoders.base import Encoder
from src_retrieval.index_files import complete, publish
from src_retrieval.layout import IndexLayout, Manifest, read_manifest
from src_retrieval.reuse import content_hashes, known_vectors
from src_retrieval.sparse import sparse_backend
from src_retrieval.vector import vector_backend
from src_retrieval.vector.base import BuiltFrom
from src_retrieval.vector.flat_file import require_of_corpus
from src_retrieval.vector_files import VectorFiles


def build_index(config: BuildConfig, *, steps: Steps) -> Manifest:
    """Build the index, resume its build, or report that it is up to date. Raises `UserError`."""
    started = time.monotonic()
    require_corpus(Path(config.corpus))  # before a model is loaded, or a folder made
    plan = make_plan(config)
    layout = plan.layout
    with writing_into(layout.root):
        layout.root.mkdir(parents=True, exist_ok=True)
        with locked(layout, steps, seconds=config.wait_seconds):
            present = _present(plan, steps)
            if present is not None:
                rows = present.rows
                steps.console.print(f"the index in {layout.root} is up to date ({rows} passages)")
                return present
            corpus = _open_corpus(config, layout.unfinished, steps)
            with steps("checking disk and memory"):
                check_space(plan, corpus, steps)
            _build_halves(plan, corpus, steps)
            corpus.file.check()
            done = plan.manifest(corpus.info, time.monotonic() - started)
            complete(layout, done, without=_scaffolding(plan))
            corpus.close()
            manifest = publish(layout, partial(_remove_old, plan))
    message = f"index ready in {layout.root}: {manifest.rows} passages, {manifest.build_seconds:.1f} s"
    steps.console.print(message)
    return manifest


def _present(plan: Plan, steps: Steps) -> Manifest | None:
    """The finished index of this plan: the one that is there, or one that a killed process had not moved
    yet. None when there is something to build. Raises `UserError` where the index there is another one; it
    is not touched then.
    """
    config, layout, begun = plan.config, plan.layout, plan.layout.unfinished.root.is_dir()
    moved = publish(layout, partial(_remove_old, plan)) if layout.unfinished.publishing.is_file() else None
    there = moved if config.overwrite else read_manifest(layout)
    waiting = _unmoved(layout)
    if there is None and waiting is None:
        return None
    wanted = plan.manifest(_corpus_info(plan, steps), 0.0)
    if there is not None and _other(there, wanted) is None:
        return there if _is_whole(plan, there) else None
    if waiting is not None and (there is None or config.overwrite) and _other(waiting, wanted) is None:
        return publish(layout, partial(_remove_old, plan))
    if there is None or config.overwrite:
        return None
    if config.follow_edits and _other(there, wanted) == "corpus_sha256":
        return None
    if not begun:
        shutil.rmtree(layout.unfinished.root, ignore_errors=True)
    raise UserError(
        f"{layout.root} holds a finished index with another "
        f"{str(_other(there, wanted)).removesuffix('_sha256')}; add overwrite=true to replace it, or choose "
        "another index_dir"
    )


def _is_whole(plan: Plan, there: Manifest) -> bool:
    halves = [half for half in (plan.vectors, plan.words) if half is not None]
    return all(half.backend.is_whole(half.kind, there, half.options) for half in halves)


def _corpus_info(plan: Plan, steps: Steps) -> CorpusInfo:
    """By the record of the finished index where that is of this corpus: such a corpus is not read again."""
    known = cached_info(Path(plan.config.corpus), plan.layout.root)
    if known is not None:
        return known
    corpus = _open_corpus(plan.config, plan.layout.unfinished, steps)
    corpus.close()
    return corpus.info


def _unmoved(layout: IndexLayout) -> Manifest | None:
    with contextlib.suppress(UserError):  # an unreadable one is built again
        return read_manifest(layout.unfinished)
    return None


def _other(present: Manifest, wanted: Manifest) -> str | None:
    """The first thing in which a finished index is another one."""
    facts = (
        "corpus_sha256",
        "encoder",
        "type",
        "dense",
        "sparse",
        "settings",
        "sparse_settings",
        "tokenizer",
        "vectors",
    )
    return next((name for name in facts if getattr(present, name) != getattr(wanted, name)), None)


def _open_corpus(config: BuildConfig, layout: IndexLayout, steps: Steps) -> Corpus:
    path = Path(config.corpus)
    size = path.stat().st_size if path.is_file() else None
    with steps(f"of {path.name} read", total=size, show=mebibytes) as progress:
        return open_corpus(path, layout.root, advance=progress.advance)


def _encode(plan: Plan, files: VectorFiles, encoder: Encoder, corpus: Corpus, steps: Steps) -> None:
    """Append to the vector file, after the rows of the last run. Passages of an earlier index keep their
    vectors.
    """
    config = plan.config
    done = files.rows_done(replace=config.overwrite or config.follow_edits)
    known = known_vectors(plan.layout, encoder.identity)
    reused = 0
    with (
        files.append_after(done) as out,
        steps("passages encoded", total=len(corpus), done=done) as progress,
    ):
        for start in range(done, len(corpus), config.chunk_rows):
            texts = corpus.contents(start, start + config.chunk_rows)
            hashes = content_hashes(texts)
            encode = partial(encoder.encode_passages, advance=progress.advance)
            if known is None:
                rows = encode(texts)
            else:
                found, rows = known.complete(texts, hashes, encode)
                reused += int(found.sum())
                progress.leave_out(int(found.sum()), note=f"{reused:,} reused")
            out.append(rows, hashes)
    if reused:
        encoded = len(corpus) - done - reused
        steps.console.print(f"{encoded:,} encoded, {reused:,} reused from the earlier index")


def _remove_old(plan: Plan, replaced: Manifest | None) -> None:
    """Remove the files of the index that is replaced, and of an index of this plan's kinds."""
    layout = plan.layout
    layout.manifest.unlink(missing_ok=True)
    dense = {plan.vectors.kind if plan.vectors else None, replaced.dense if replaced else None}
    sparse = {plan.words.kind if plan.words else None, replaced.sparse if replaced else None}
    for kind in dense - {None}:
        vector_backend(str(kind)).remove(layout)
    for kind in sparse - {None}:
        sparse_backend(str(kind)).remove(layout)
    for path in (layout.vectors, layout.half_vectors, layout.content_hashes, layout.progress):
        path.unlink(missing_ok=True)


def _build_halves(plan: Plan, corpus: Corpus, steps: Steps) -> None:
    layout = plan.layout.unfinished
    layout.manifest.unlink(missing_ok=True)
    halves = Halves(plan, layout, corpus.info.sha256)
    own, words = plan.vectors, plan.words
    if own is not None and not halves.finished(VECTORS):
        vectors = _vectors(plan, own, corpus, steps)
        built = BuiltFrom(layout, corpus, own.encoder.identity, own.settings, plan.vectors_mark)
        own.backend.build(own.kind, built, vectors, own.options, steps)
        halves.finish(VECTORS)
    if words is not None and not halves.finished(WORDS):
        words.backend.build(words.kind, layout, corpus, words.options, steps)
        halves.finish(WORDS)


def _vectors(plan: Plan, own: Vectors, corpus: Corpus, steps: Steps) -> NDArray[Any]:
    """The vectors of the corpus, mapped: encoded, or those of a FAISS file, of which a flat index keeps a
    link.
    """
    layout, file = plan.layout.unfinished, own.file
    if file is None:
        files = plan.vector_files(own, corpus.info.sha256)
        _encode(plan, files, own.encoder, corpus, steps)
        return files.vectors(len(corpus))
    require_of_corpus(file, corpus, own.encoder)
    for path in (layout.vectors, layout.half_vectors, layout.content_hashes, layout.progress):
        path.unlink(missing_ok=True)  # of an interrupted build that encoded
    if own.backend.keeps_vectors(own.kind):
        layout.linked_vectors.symlink_to(file.path.resolve())
    return file.vectors()


def _scaffolding(plan: Plan) -> set[Path]:
    """The files that served the build only."""
    layout = plan.layout.unfinished
    scaffolding = {layout.progress, layout.halves, *layout.parts.rglob("*")}
    return scaffolding | (set() if plan.keeps_vectors else {layout.vectors, layout.content_hashes})


def main() -> None:
    """`python -m src_retrieval.build [FILE.yaml] [key=value ...]`."""
    arguments = sys.argv[1:]
    path = Path(arguments.pop(0)) if arguments and "=" not in arguments[0] else None
    build_index(load_config(BuildConfig, path, arguments), steps=Steps(Terminal(stderr=True)))


if __name__ == "__main__":
    run_main(main)
