"""One kind of index or store measured: loaded, opened, searched, compared with exact search. A part of
`backends.py`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO), str(Path(__file__).resolve().parent)]

from store_servers import Server, private_megabytes, running  # noqa: E402

from src_core.config import build_config  # noqa: E402
from src_core.progress import Steps  # noqa: E402
from src_retrieval.corpus import open_corpus  # noqa: E402
from src_retrieval.encoders.spec import EncoderIdentity  # noqa: E402
from src_retrieval.layout import IndexLayout  # noqa: E402
from src_retrieval.results import Hits  # noqa: E402
from src_retrieval.vector import vector_backend  # noqa: E402
from src_retrieval.vector.base import BuiltFrom, VectorIndex, map_vectors  # noqa: E402
from src_retrieval.vector.store import StoreOptions  # noqa: E402

TOP = 10
NEAR = 1e-5
"""Sums of float32 in another order differ by about this much."""


class Variant(NamedTuple):
    """A kind of index with its settings; an `exact` one has to find what exact search finds."""

    kind: str
    exact: bool = False
    shape: Mapping[str, Any] = MappingProxyType({})
    searching: Mapping[str, Any] = MappingProxyType({})


VARIANTS = {
    "flat": Variant("flat", exact=True),
    "hnsw": Variant("hnsw"),
    "pq": Variant("pq"),
    "pgvector exact": Variant("pgvector", exact=True, shape={"index": "flat"}),
    "pgvector hnsw": Variant("pgvector"),
    "pgvector hnsw halfvec": Variant("pgvector", shape={"storage": "halfvec"}),
    "qdrant exact": Variant("qdrant", exact=True, searching={"exact": True}),
    "qdrant hnsw": Variant("qdrant"),
    "milvus exact": Variant("milvus", exact=True, shape={"index": "flat"}),
    "milvus hnsw": Variant("milvus"),
    "lancedb exact": Variant("lancedb", exact=True),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """One variant. `same` of `queries` questions have the passages of exact search."""

    load_seconds: float
    rows_per_second: float
    queries_per_second: float
    queries_per_cpu_second: float
    recall: float
    same: int
    queries: int
    megabytes: float


def measure(name: str, work: Path, *, batch: int, seconds: float) -> Measured:
    """Load the vectors of `work` (`backends.py` writes them) into a new index or store, open it, and search
    it by `batch` queries at a time for `seconds`.
    """
    variant, facts = VARIANTS[name], json.loads((work / "given.json").read_text())
    backend = vector_backend(variant.kind)
    folder = Path(tempfile.mkdtemp(dir=work, prefix="v"))
    corpus = open_corpus(Path(facts["corpus"]), work / "corpus")
    encoder = EncoderIdentity(**facts["encoder"])
    vectors = map_vectors(Path(facts["vectors"]), rows=len(corpus), dim=encoder.dim)
    queries: NDArray[np.float32] = np.load(work / "queries.npy")
    layout = IndexLayout(folder)
    with running(variant.kind, folder) as server:
        outside = issubclass(backend.search_options, StoreOptions)
        place = server.settings if outside else {}
        shape = build_config(backend.build_options, {**place, **variant.shape}, (), where="shape")
        searching = build_config(
            backend.search_options, {**place, **variant.searching}, (), where="searching"
        )
        built = BuiltFrom(layout, corpus, encoder, backend.settings(shape))
        if backend.keeps_vectors(variant.kind):
            layout.vectors.symlink_to(facts["vectors"])  # the index may be on another disk
        begun = time.perf_counter()
        backend.build(variant.kind, built, vectors, shape, Steps(Console(stderr=True)))
        load = time.perf_counter() - begun
        index = backend.open(variant.kind, built, searching)
        hits = answers(index, queries, batch)
        rate, per_cpu = rates(index, queries, batch=batch, seconds=seconds, server=server)
        megabytes = sum(private_megabytes(pid) for pid in (os.getpid(), *server.processes()))
        if hasattr(index, "close"):
            index.close()
    exact = Hits(np.load(work / "exact_rows.npy"), np.load(work / "exact_scores.npy"))
    common = [len(set(a) & set(b)) for a, b in zip(exact.rows.tolist(), hits.rows.tolist(), strict=True)]
    return Measured(
        load_seconds=round(load, 2),
        rows_per_second=0.0 if backend.keeps_vectors(variant.kind) else round(len(corpus) / load, 1),
        queries_per_second=round(rate, 1),
        queries_per_cpu_second=round(per_cpu, 1),
        recall=round(sum(common) / (TOP * len(queries)), 4),
        same=sum(is_same(exact, hits, at) for at in range(len(queries))),
        queries=len(queries),
        megabytes=round(megabytes, 1),
    )


def answers(index: VectorIndex, queries: NDArray[np.float32], batch: int) -> Hits:
    """The rows of all queries, in batches as the search stage makes them."""
    parts = [index.search(queries[at : at + batch], TOP) for at in range(0, len(queries), batch)]
    rows, scores = zip(*parts, strict=True)
    return Hits(np.concatenate(rows), np.concatenate(scores))


def rates(
    index: VectorIndex, queries: NDArray[np.float32], *, batch: int, seconds: float, server: Server
) -> tuple[float, float]:
    """Queries per second, and per second of CPU of this process and the server."""
    cpu, begun, done = time.process_time() + server.cpu_seconds(), time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        at = done % max(1, len(queries) - batch + 1)
        done += len(index.search(queries[at : at + batch], TOP).rows)
    taken = time.perf_counter() - begun
    used = time.process_time() + server.cpu_seconds() - cpu
    return done / taken, done / max(used, 1e-6)


def is_same(exact: Hits, hits: Hits, at: int) -> bool:
    """Whether a query has the passages of exact search: one that it has not, or has beside them, is as near
    as the last of them.
    """
    wanted = dict(zip(exact.rows[at].tolist(), exact.scores[at].tolist(), strict=True))
    found = dict(zip(hits.rows[at].tolist(), hits.scores[at].tolist(), strict=True))
    last = min(wanted.values())
    return all(
        abs(scores[row] - last) <= NEAR
        for scores, others in ((wanted, found), (found, wanted))
        for row in scores.keys() - others.keys()
    )
