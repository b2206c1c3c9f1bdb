"""Synthetic corpora and vectors, handed to the real index builder as if an encoder had just finished them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src_retrieval.build_plan import BuildConfig, make_plan
from src_retrieval.corpus import open_corpus
from src_retrieval.encoders.base import normalise
from src_retrieval.results import FloatArray
from src_retrieval.reuse import content_hashes

BLOCK = 50_000
DIRECTIONS = 96
"""Effective dimensions of the noise in a cluster."""
_SEEDS = 2_000


def write_corpus(path: Path, rows: int, *, body: Callable[[int], str]) -> None:
    """`rows` passages; what they say does not matter. `body` needs no escape in JSON."""
    with path.open("w") as out:
        for at in range(rows):
            out.write(f'{{"id": "{at}", "contents": "Passage {at}\\n{body(at)}"}}\n')


def write_mixtures(path: Path, rows: int, *, dim: int, seeds: Path) -> None:
    """Unit vectors: mixtures of three of the vectors in `seeds` (random ones where that file has not this
    dimension), one of them leading, plus a little noise.
    """
    rng = np.random.default_rng(0)
    if seeds.is_file() and seeds.stat().st_size % (dim * 4) == 0:
        known = np.fromfile(seeds, dtype=np.float32).reshape(-1, dim)
    else:
        known = normalise(rng.normal(size=(_SEEDS, dim)).astype(np.float32))
    with path.open("wb") as out:
        for start in range(0, rows, BLOCK):
            count = min(BLOCK, rows - start)
            weights = rng.dirichlet((4.0, 1.5, 1.0), size=count).astype(np.float32)
            parts = known[rng.integers(len(known), size=(count, 3))]
            noise = rng.normal(scale=0.2 / np.sqrt(dim), size=(count, dim)).astype(np.float32)
            out.write(normalise(np.einsum("nk,nkd->nd", weights, parts) + noise).tobytes())


class Clustered:
    """Unit vectors around centres float32 [clusters, dim], drawn in blocks that can be drawn again alone: a
    centre, plus noise along the rows of `shape` [directions, dim], plus a `rest` along every dimension.
    """

    def __init__(self, centres: FloatArray, shape: FloatArray, *, rest: float, seed: int = 0) -> None:
        self._centres, self._shape, self._rest, self._seed = centres, shape, rest, seed

    @classmethod
    def made_up(cls, rows: int, dim: int) -> Clustered:
        """One random centre for 500 rows, and noise as large as the distance between centres."""
        rng = np.random.default_rng(0)
        centres = rng.standard_normal((max(1, rows // 500), dim), dtype=np.float32)
        shape = rng.standard_normal((DIRECTIONS, dim), dtype=np.float32) / np.float32(np.sqrt(DIRECTIONS))
        return cls(centres, shape, rest=0.15)

    @classmethod
    def around(cls, real: FloatArray, *, noise: float) -> Clustered:
        """Real vectors are the centres. The noise goes where they differ most from each other, and is `noise`
        times as large as their distance from their mean.
        """
        away = real - real.mean(axis=0)
        values, axes = np.linalg.eigh(away.T @ away / len(away))
        values, axes = np.maximum(values[-DIRECTIONS:], 0), axes[:, -DIRECTIONS:]
        spread = noise * float(np.sqrt((away**2).sum(axis=1).mean()))
        shape = (axes * np.sqrt(values / values.sum()) * spread).T
        rest = 0.15 * spread / np.sqrt(real.shape[1])
        return cls(real, np.ascontiguousarray(shape, dtype=np.float32), rest=float(rest))

    def block(self, number: int, count: int) -> FloatArray:
        """Block `number` of the endless sequence, float32 [count, dim]."""
        rng = np.random.default_rng((self._seed, number))
        vectors = self._centres[rng.integers(len(self._centres), size=count)]
        vectors += rng.standard_normal((count, len(self._shape)), dtype=np.float32) @ self._shape
        vectors += np.float32(self._rest) * rng.standard_normal(vectors.shape, dtype=np.float32)
        return normalise(vectors)


def hand_over(config: BuildConfig, blocks: Callable[[int], Iterator[FloatArray]]) -> None:
    """A finished encoding in the builder's own files: vectors from `blocks`, which begins at the given row,
    replace those of an encoder. Goes on after an interrupted call.
    """
    plan = make_plan(config)
    layout = plan.layout.unfinished
    layout.root.mkdir(parents=True, exist_ok=True)
    assert plan.vectors is not None
    with closing(open_corpus(Path(config.corpus), layout.root)) as corpus:
        files = plan.vector_files(plan.vectors, corpus.info.sha256)
        done = files.rows_done(replace=False)
        with files.append_after(done) as out:
            for block in blocks(done):
                texts = corpus.contents(done, done + len(block)) if plan.keeps_vectors else []
                out.append(block, content_hashes(texts))
                done += len(block)


def rows_of(vectors: NDArray[np.float32]) -> Callable[[int], Iterator[FloatArray]]:
    """The rows of a mapped file, for `hand_over`."""

    def blocks(first: int) -> Iterator[FloatArray]:
        for start in range(first, len(vectors), BLOCK):
            yield np.ascontiguousarray(vectors[start : start + BLOCK])

    return blocks
