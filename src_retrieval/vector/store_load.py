"""Filling a store with the vectors of a corpus: progress, resume, and a count at the end.

The store itself holds, in the record beside the vectors, what they are made from and how many rows have
arrived: a second call resumes there, also from another machine, and nobody searches a collection whose
vectors are not all there.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src_core.errors import UserError
from src_core.progress import StepProgress, Steps
from src_retrieval.corpus import Corpus
from src_retrieval.vector.base import BuiltFrom, whole_block
from src_retrieval.vector.store import LoadOptions, StoreCalls, StoreManifest, read_text

SAVE_SECONDS = 5.0
"""Between two saves of how far a build has come."""
_NAMES = {"corpus": "passages", "encoder": "weights", "settings": "settings"}


class NotOursError(UserError):
    """A collection without a record of a build is somebody else's: `shape.replace` does not delete it."""


def wanted_manifest(built: BuiltFrom) -> StoreManifest:
    """The record of a collection that is made from this."""
    sha256, rows = built.corpus.info.sha256, len(built.corpus)
    return StoreManifest(uuid.uuid4().hex, sha256, rows, built.encoder, built.settings)


def load(
    call: StoreCalls, built: BuiltFrom, vectors: NDArray[np.float32], options: Any, steps: Steps
) -> StoreManifest:
    """Make the collection, or complete the one that an interrupted build left. Raises `UserError`."""
    store, rows = call.store, len(vectors)
    manifest = _usable(call, wanted_manifest(built), options)
    if manifest is None:
        manifest = wanted_manifest(built)
        text = manifest.to_text()
        call(lambda: store.create(vectors.shape[1], text, options))
    done = _rows_done(manifest, call(store.count))
    with steps(f"vectors sent to {store.title}", total=rows, done=done) as progress:
        _send(call, manifest, vectors, built.corpus, options.bulk_rows, done, progress)
    with steps(f"preparing the search in {store.title}"):
        call(lambda: store.finish(options))
    there = call(store.count) or 0
    if there != rows:  # the next build trusts nothing of this one
        _save(call, manifest.at(0))
    require_whole(call, manifest.at(rows, ended=True), wanted_manifest(built), there)
    manifest = manifest.at(rows, ended=True)
    _save(call, manifest)
    return manifest


def state(call: StoreCalls) -> tuple[StoreManifest | None, int]:
    """The record and the number of vectors of a collection; (None, 0) where there is none. Raises
    `NotOursError` for a collection without a record, and `UserError` for a record that cannot be read.
    """
    store = call.store
    count = call(store.count)
    if count is None:
        return None, 0
    text = call(store.manifest)
    if text is None:
        raise NotOursError(
            f"{where(call)} has no record of a build ({count} rows), so shape.replace does not delete it; "
            "choose another shape.collection"
        )
    return read_text(text, where(call)), count


def require_whole(
    call: StoreCalls, manifest: StoreManifest | None, wanted: StoreManifest, count: int
) -> StoreManifest:
    """The record of a collection that holds all the wanted vectors and nothing else. Raises `UserError` for
    any other.
    """
    if manifest is None:
        raise UserError(f"there is no {where(call)}; build it with {_command(call)}")
    _require_same(call, manifest, wanted)
    if count != manifest.rows:
        raise UserError(
            f"{where(call)} holds {count} vectors, the corpus has {manifest.rows} passages; "
            + (
                f"complete it with {_command(call)}"
                if count < manifest.rows
                else "delete what is not of this corpus, or add shape.replace=true to a new build"
            )
        )
    if not manifest.ended:
        raise UserError(f"the build of {where(call)} has not ended; run it again: {_command(call)}")
    return manifest


def where(call: StoreCalls) -> str:
    """The collection, as sentences name it."""
    errors = call.store.errors
    return f"collection {errors.collection} of {errors.title} at {errors.place}"


def _usable(call: StoreCalls, wanted: StoreManifest, options: LoadOptions) -> StoreManifest | None:
    """The record of the collection to go on with; None where a new one has to be made."""
    store = call.store
    try:
        manifest, _ = state(call)
        if manifest is not None:
            _require_same(call, manifest, wanted)
    except NotOursError:
        raise
    except UserError:
        if not options.replace:
            raise
        manifest = None
    if manifest is None:
        call(store.drop)  # also half of one that a killed build had begun to make or to delete
    return manifest


def _require_same(call: StoreCalls, manifest: StoreManifest, wanted: StoreManifest) -> None:
    other = manifest.other(wanted)
    if other is not None:
        raise UserError(
            f"{where(call)} holds vectors of other {_NAMES[other]} ({_of(manifest, other)}, here: "
            f"{_of(wanted, other)}); choose another shape.collection, or replace that one by adding "
            "shape.replace=true to a build"
        )


def _of(manifest: StoreManifest, what: str) -> str:
    if what == "corpus":
        return f"{manifest.rows} passages, {manifest.corpus_sha256[:8]}"
    if what == "encoder":
        encoder = manifest.encoder
        return f"{encoder.name:.80} {encoder.precision} {encoder.dim}d {encoder.sha256[:8]}"
    return ", ".join(f"{name}={value}" for name, value in sorted(manifest.settings.items()))


def _rows_done(manifest: StoreManifest, count: int | None) -> int:
    """The rows that need not be sent; none where the collection has lost some of them."""
    done = manifest.rows_done
    return done if 0 <= done <= min(count or 0, manifest.rows) else 0


def _send(
    call: StoreCalls,
    manifest: StoreManifest,
    vectors: NDArray[np.float32],
    corpus: Corpus,
    bulk: int,
    done: int,
    progress: StepProgress,
) -> None:
    store, saved = call.store, time.monotonic()
    for start in range(done, len(vectors), bulk):
        block = whole_block(vectors[start : start + bulk])
        ids = [row.id for row in corpus.rows(start, start + len(block))]
        call(lambda start=start, ids=ids, block=block: store.add(start, ids, block))  # type: ignore[misc]
        progress.advance(len(block))
        if time.monotonic() - saved >= SAVE_SECONDS:
            _save(call, manifest.at(start + len(block)))
            saved = time.monotonic()


def _save(call: StoreCalls, manifest: StoreManifest) -> None:
    text = manifest.to_text()
    call(lambda: call.store.write_manifest(text))


def _command(call: StoreCalls) -> str:
    errors = call.store.errors
    return f"bash scripts/build_index.sh (shape.collection={errors.collection}, at {errors.place})"
