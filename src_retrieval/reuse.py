"""Vectors of an earlier index of the same corpus: after an edit only new passages are encoded.

Beside the vectors of an index there is a 128-bit hash of each passage's text. A build looks for an index with
the same encoder in its own folder and in those beside it that differ in the mark at the end of their name
(`deploy/index_folder.sh`), newest first, and copies the vector of every passage that it knows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src_core.errors import UserError
from src_retrieval.encoders.spec import EncoderIdentity
from src_retrieval.layout import IndexLayout, Manifest, read_manifest
from src_retrieval.results import FloatArray
from src_retrieval.vector.base import map_vectors
from src_retrieval.watch_files import OpenFile

HASH_BYTES = 16
Hashes = NDArray[np.uint64]


class Known(NamedTuple):
    """Which passages have a vector already (bool [n]), and these vectors [found, dim] in order."""

    found: NDArray[np.bool_]
    vectors: FloatArray


class KnownVectors:
    """The vectors of an earlier index by the hash of their passage."""

    def __init__(self, hashes: Hashes, vectors: NDArray[np.float32]) -> None:
        self._order = np.argsort(hashes[:, 0], kind="stable")
        self._hashes = hashes[self._order]
        self._vectors = vectors

    def complete(
        self, texts: Sequence[str], hashes: Hashes, encode: Callable[[list[str]], FloatArray]
    ) -> Known:
        """Vectors of all `texts`, in `vectors` [n, dim]: those that are known, and the others by `encode`."""
        known = self.find(hashes)
        new = [text for text, found in zip(texts, known.found, strict=True) if not found]
        vectors = np.empty((len(texts), self._vectors.shape[1]), dtype=np.float32)
        vectors[known.found] = known.vectors
        if new:
            vectors[~known.found] = encode(new)
        return Known(known.found, vectors)

    def find(self, hashes: Hashes) -> Known:
        """The vectors of the passages with these hashes. Two texts of one 64-bit half count as unknown."""
        at = np.searchsorted(self._hashes[:, 0], hashes[:, 0])
        at = np.minimum(at, len(self._hashes) - 1)
        found = (self._hashes[at] == hashes).all(axis=1)
        return Known(found, np.asarray(self._vectors[self._order[at[found]]], dtype=np.float32))


def content_hashes(texts: Sequence[str]) -> Hashes:
    """uint64 [n, 2]: a hash of each text, the same on every machine."""
    data = b"".join(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()
        for text in texts
    )
    return np.frombuffer(data, dtype="<u8").reshape(len(texts), 2)


def known_vectors(layout: IndexLayout, encoder: EncoderIdentity) -> KnownVectors | None:
    """The vectors of the newest finished index with this encoder, None where there is none."""
    for root in _candidates(layout.root):
        found = IndexLayout(root)
        try:
            manifest = read_manifest(found)
            if manifest is None or manifest.encoder != encoder or not manifest.rows:
                continue
            if not all(_whole(path, manifest) for path in (found.vectors, found.content_hashes)):
                continue
            vectors = map_vectors(found.vectors, rows=manifest.rows, dim=encoder.dim)
        except UserError:  # of another version, or damaged: its passages are encoded again
            continue
        hashes = np.fromfile(found.content_hashes, dtype="<u8")
        if hashes.size == 2 * manifest.rows:
            return KnownVectors(hashes.reshape(-1, 2), vectors)
    return None


def _whole(path: Path, manifest: Manifest) -> bool:
    """Whether a file is the one that its manifest marks."""
    if not path.is_file() or path.name not in manifest.files:
        return False
    file = OpenFile(path)
    try:
        return file.mark() == manifest.files[path.name]
    finally:
        file.close()


def _candidates(root: Path) -> Iterator[Path]:
    yield root
    stem, mark, _ = root.name.rpartition("-")
    if mark:
        beside = (
            path for path in root.parent.glob("*") if path.name.rpartition("-")[0] == stem and path != root
        )
        yield from sorted((path for path in beside if path.is_dir()), key=lambda path: -path.stat().st_mtime)
