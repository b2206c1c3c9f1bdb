"""The two ways of `stages.py` to run a search engine, and encoders that need no weights."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src_retrieval.encoders.base import Advance, Encoder, normalise
from src_retrieval.encoders.spec import EncoderIdentity
from src_retrieval.engine import SearchEngine
from src_retrieval.results import FloatArray, Ranked

FAKES = ("fake:", "wait:")
FAKE_DIM = 384
FAKE_BATCH = 8


class Side(Protocol):
    """One way to run the engine."""

    def run(self, queries: Sequence[str], top_n: int, *, timeout: float) -> list[list[Ranked]]: ...

    def close(self) -> None: ...


class FakeEncoder(Encoder):
    """Hashed vectors, after some milliseconds per query: of one core without the GIL (`fake:6`), as ONNX
    Runtime has them, or of another machine or a GPU (`wait:6`).
    """

    def __init__(self, name: str) -> None:
        kind, _, milliseconds = name.partition(":")
        self.batch_size = FAKE_BATCH
        self.identity = EncoderIdentity(name, kind, FAKE_DIM, "fp32", name)
        self._matrix = np.ones((256, 256), dtype=np.float32)
        self._pause = float(milliseconds) / 1000 if kind == "wait" else 0.0
        self._rounds = 0 if self._pause else self._rounds_in(float(milliseconds) / 1000)

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        time.sleep(self._pause * len(texts))
        return np.concatenate([self._one(text) for text in texts])

    def encode_passages(self, texts: Sequence[str], *, advance: Advance = lambda _: None) -> FloatArray:
        vectors = self.encode_queries(texts)
        advance(len(texts))
        return vectors

    def _rounds_in(self, seconds: float) -> int:
        begun, rounds = time.thread_time(), 200
        for _ in range(rounds):
            self._matrix @ self._matrix
        return max(1, round(seconds / ((time.thread_time() - begun) / rounds)))

    def _one(self, text: str) -> FloatArray:
        for _ in range(self._rounds):
            self._matrix @ self._matrix
        seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
        return normalise(np.random.default_rng(seed).normal(size=(1, FAKE_DIM)).astype(np.float32))


class _Asked(NamedTuple):
    query: str
    top_n: int
    answer: Future[list[Ranked]]


class OneThread:
    """Encode, search and rerank one after another on one thread, in micro-batches."""

    def __init__(self, engine: SearchEngine, *, max_batch: int) -> None:
        self._engine, self._max_batch = engine, max_batch
        self._queue: list[_Asked] = []
        self._changed = threading.Condition()
        self._closing = False
        self.batches = 0
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def run(self, queries: Sequence[str], top_n: int, *, timeout: float) -> list[list[Ranked]]:
        asked = [_Asked(query, top_n, Future()) for query in queries]
        with self._changed:
            self._queue += asked
            self._changed.notify()
        return [each.answer.result(timeout) for each in asked]

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
            self._batch()

    def _batch(self) -> None:
        batch: list[_Asked] = []
        vectors: list[FloatArray] = []
        while fresh := self._fresh(self._max_batch - len(batch)):
            vectors += self._engine.encode([each.query for each in fresh])
            batch += fresh
        queries, wanted = [each.query for each in batch], [each.top_n for each in batch]
        counts = [self._engine.candidates(count) for count in wanted]
        rows = self._engine.rerank(queries, self._engine.search_dense(vectors, counts), wanted)
        self.batches += 1
        for each, found in zip(batch, rows, strict=True):
            each.answer.set_result(found)

    def _fresh(self, most: int) -> list[_Asked]:
        with self._changed:
            fresh, self._queue = self._queue[:most], self._queue[most:]
            return fresh
