"""Synthetic corpora and vectors, handed to the real index builder as if an encoder had just finished them."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src_retrieval.corpus import open_corpus
from src_retrieval.encoders.base import normalise
from src_retrieval.encoders.spec import EncoderIdentity
from src_retrieval.layout import IndexLayout

BLOCK = 50_000
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


def hand_over(
    layout: IndexLayout, *, corpus: Path, vectors: Path, rows: int, encoder: EncoderIdentity
) -> None:
    """A finished encoding in the builder's format: `vectors` (linked) replace those of an encoder."""
    built = layout.unfinished
    built.root.mkdir(parents=True, exist_ok=True)
    built.vectors.unlink(missing_ok=True)
    os.link(vectors, built.vectors)
    done = {"corpus": open_corpus(corpus, built.root).info.sha256, "encoder": dataclasses.asdict(encoder)}
    built.progress.write_text(json.dumps({"fingerprint": done, "rows_done": rows}))
