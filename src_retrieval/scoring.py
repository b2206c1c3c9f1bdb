"""Scores of given passages, outside a search: by an encoder, and by a reranker.

An encoder's vectors are kept in a folder and computed once per distinct text, whatever the number of queries
that its passage is a candidate of (RADIO's release encodes 50 passages anew for each question:
reference/radio_flashrag.md, section 1.3). Those of an index of the same encoder are not computed at all.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson

from src_core.config import config_class
from src_core.errors import UserError
from src_core.jsonl import JsonlWriter, drop_torn_tail, read_jsonl
from src_core.progress import Steps
from src_retrieval.encoders.base import Encoder, EncoderOptions
from src_retrieval.encoders.load import load_encoder
from src_retrieval.fusion import blended, min_max, with_retrieval
from src_retrieval.layout import IndexLayout
from src_retrieval.rerankers import load_reranker
from src_retrieval.rerankers.base import Candidates, Reranker, RerankOptions
from src_retrieval.results import FloatArray
from src_retrieval.reuse import KnownVectors, content_hashes, known_vectors

__all__ = [
    "EncoderOptions",
    "PassageReranker",
    "RerankOptions",
    "ScorerSettings",
    "Similarity",
    "blended",
    "min_max",
    "with_retrieval",
]

_CHUNK = 1024
"""Passages that are encoded before their vectors are saved: an interrupted run loses at most these."""


@config_class
class ScorerSettings:
    """The encoder of a similarity: a registry name, a model folder, or a hub name; `toy` in tests. A query
    of RADIO holds question, answers and rationale, hence its length. `index` is the folder of an index whose
    vectors are taken where it was made with this encoder; another index is of no use and does no harm.
    """

    encoder: str = "BAAI/bge-m3"
    encoding: EncoderOptions = EncoderOptions(query_max_length=512)
    index: str = ""


class Encoded(NamedTuple):
    """How many vectors were made: by the encoder, and by taking them from an index."""

    encoded: int
    taken: int


class Similarity:
    """Inner products of queries and passages under an encoder (cosines, where its family normalises)."""

    def __init__(self, settings: ScorerSettings, folder: Path) -> None:
        """Load the encoder; `folder` holds its vectors. Raises `UserError` when it is not available."""
        self._encoder: Encoder = load_encoder(settings.encoder, settings.encoding)
        self.identity = dataclasses.asdict(self._encoder.identity)
        marks = orjson.dumps(self.identity, option=orjson.OPT_SORT_KEYS)
        name = f"vectors-{hashlib.sha256(marks).hexdigest()[:12]}"
        self._vectors = _VectorFile(folder / name, self._encoder.identity.dim)
        self._index = IndexLayout(Path(settings.index)) if settings.index else None

    def encode(self, texts: Iterable[str], *, steps: Steps) -> Encoded:
        """Make the vectors of the passages that have none yet, in the order given."""
        new = {key: text for text in texts if (key := _key(text)) not in self._vectors.rows}
        known = self._known() if new else None
        waiting, taken = iter(new.items()), 0
        with steps("passages encoded", total=len(new)) as progress:
            encode = partial(self._encoder.encode_passages, advance=progress.advance)
            while chunk := list(islice(waiting, _CHUNK)):
                made = [text for _, text in chunk]
                if known is None:
                    vectors = encode(made)
                else:
                    found, vectors = known.complete(made, content_hashes(made), encode)
                    taken += int(found.sum())
                    progress.leave_out(int(found.sum()), note=f"{taken:,} taken from the index")
                self._vectors.append([key for key, _ in chunk], vectors)
        return Encoded(len(new) - taken, taken)

    def _known(self) -> KnownVectors | None:
        return None if self._index is None else known_vectors(self._index, self._encoder.identity)

    def scores(self, queries: Sequence[str], passages: Sequence[Sequence[str]]) -> list[list[float]]:
        """The score of each passage (a text that was encoded) of `passages[i]` for query i. Raises
        `UserError` for scores that are no numbers.
        """
        matrix = self._vectors.matrix()
        found = []
        for vector, texts in zip(self._encoder.encode_queries(queries), passages, strict=True):
            rows = [self._vectors.rows[_key(text)] for text in texts]
            scores = matrix[rows] @ vector if rows else np.zeros(0, dtype=np.float32)
            found.append(_numbers(scores, self.identity["name"]))
        return found

    def close(self) -> None:
        """Close the file of vectors."""
        self._vectors.close()


class PassageReranker:
    """Scores of pairs under a reranker."""

    def __init__(self, options: RerankOptions) -> None:
        """Load the reranker. Raises `UserError` when it is not available."""
        self._reranker: Reranker = load_reranker(options)
        self.identity = dataclasses.asdict(self._reranker.identity)
        self.retrieval_weight = options.retrieval_weight

    def scores(self, queries: Sequence[str], passages: Sequence[Sequence[str]]) -> list[list[float]]:
        """The score of each passage of `passages[i]` for query i, batched as the server batches them. Raises
        `UserError` for scores that are no numbers, and `ModelError` where a language model does not answer.
        """
        lists = [Candidates(query, texts) for query, texts in zip(queries, passages, strict=True)]
        return [_numbers(scores, self.identity["name"]) for scores in self._reranker.score_lists(lists)]

    def close(self) -> None:
        """Release what the reranker holds."""
        self._reranker.close()


def _numbers(scores: FloatArray, name: str) -> list[float]:
    if not np.isfinite(scores).all():
        raise UserError(f"{name} gave scores that are not numbers; take another model or precision")
    values: list[float] = scores.astype(float).tolist()
    return values


def _key(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


class _VectorFile:
    """Vectors float32 [n, dim] in `NAME.f32`, the keys of their texts in `NAME.keys.jsonl`, both only ever
    appended to. A vector counts once its key is on disk, so that an interruption leaves no half of one.
    """

    def __init__(self, name: Path, dim: int) -> None:
        self._path, self._dim = name.with_name(f"{name.name}.f32"), dim
        keys = name.with_name(f"{name.name}.keys.jsonl")
        drop_torn_tail(keys)
        held = [str(row["key"]) for row in read_jsonl(keys)] if keys.is_file() else []
        whole = (self._path.stat().st_size if self._path.is_file() else 0) // (4 * dim)
        if len(held) > whole:
            raise UserError(
                f"{self._path} holds {whole} of {len(held)} vectors; remove both files and run again"
            )
        self.rows = {key: row for row, key in enumerate(held)}
        self._keys = JsonlWriter(keys)
        with self._path.open("ab") as handle:
            handle.truncate(4 * dim * len(held))

    def append(self, keys: Sequence[str], vectors: FloatArray) -> None:
        """Add vectors, then their keys."""
        with self._path.open("ab") as handle:
            handle.write(np.ascontiguousarray(vectors, dtype=np.float32).tobytes())
            handle.flush()
            os.fsync(handle.fileno())
        for key in keys:
            self.rows[key] = len(self.rows)
        self._keys.write_many([orjson.dumps({"key": key}) for key in keys])

    def matrix(self) -> FloatArray:
        """All vectors, read from disk as they are used."""
        if not self.rows:
            return np.zeros((0, self._dim), dtype=np.float32)
        return np.memmap(self._path, dtype=np.float32, mode="r", shape=(len(self.rows), self._dim))

    def close(self) -> None:
        """Close the file of keys."""
        self._keys.close()
