"""Index types at a million vectors: memory to build and to serve, recall against exact search, rate, size.

    python scripts/bench/index.py rows=1000000 dim=768

Vectors are synthetic: one centre per 500 rows plus noise of 96 effective dimensions and a little of full
rank, unit length; queries are drawn the same way and are not in the index. Recall on other data differs
(isotropic Gaussians are much harder). Each index is built by the real builder process from a finished
encoding, and served by the real server process; memory is sampled from /proc/PID/smaps_rollup while they
work. `anonymous` is private memory of the process; `dirty` adds pages of files that were written and not yet
flushed. HNSW is measured at `hnsw_rows` because its graph is slow to build on two cores. Figures at
21,015,324 vectors are a linear projection, not a measurement. The last line is one JSON object.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO), str(Path(__file__).resolve().parent)]

from process_memory import Memory, Sampler  # noqa: E402
from retriever_process import start_retriever  # noqa: E402
from synthetic import Clustered, hand_over, rows_of, write_corpus  # noqa: E402

from src_core.config import config_class, load_config  # noqa: E402
from src_core.errors import run_main  # noqa: E402
from src_retrieval.build_plan import BuildConfig  # noqa: E402
from src_retrieval.layout import IndexLayout  # noqa: E402
from src_retrieval.vector.base import map_vectors  # noqa: E402
from src_retrieval.vector.faiss_index import (  # noqa: E402
    DenseType,
    FaissIndex,
    SearchOptions,
    flat_view,
    open_dense,
)

WIKI18_ROWS = 21_015_324
BLOCK = 20_000
QUERIES = 300
SERVED_QUERIES = 200


@config_class
class BenchConfig:
    """`types` to measure; `threads` for training and searching."""

    rows: int = 1_000_000
    hnsw_rows: int = 100_000
    dim: int = 768
    types: tuple[DenseType, ...] = tuple(DenseType)
    threads: int = 2
    folder: str = "indexes/bench_index"


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """One index type."""

    rows: int
    build_seconds: float
    build: Memory
    serve: Memory
    bytes_per_vector: float
    recall: float
    queries_per_cpu_second: float


def main() -> None:
    """Measure each type, print the table, then one line of JSON."""
    config = load_config(BenchConfig, None, sys.argv[1:])
    os.chdir(REPO)
    console = Console(width=150)
    results: dict[str, Measured] = {}
    for kind in config.types:
        rows = config.hnsw_rows if kind is DenseType.HNSW else config.rows
        source = Source(Path(f"{config.folder}_{rows}_{config.dim}"), rows, config.dim)
        source.prepare(console)
        console.print(f"building and serving {kind} over {rows} x {config.dim}")
        results[kind] = measure(kind, source, config)
    report(config, results, console)


class Source:
    """A corpus and the vectors of one size, made once; each index is built from them."""

    def __init__(self, folder: Path, rows: int, dim: int) -> None:
        self.folder, self.rows, self.dim = folder, rows, dim
        self.corpus = folder / "corpus.jsonl"
        self.vectors = folder / "vectors.f32"
        self._drawn = Clustered.made_up(rows, dim)

    def prepare(self, console: Console) -> None:
        """Write what is not there yet."""
        if self.vectors.is_file() and self.vectors.stat().st_size == self.rows * self.dim * 4:
            return
        console.print(f"writing {self.rows} vectors in {self.folder}")
        self.folder.mkdir(parents=True, exist_ok=True)
        write_corpus(self.corpus, self.rows, body=lambda at: f"some words about thing{at}")
        with self.vectors.open("wb") as out:
            for number, start in enumerate(range(0, self.rows, BLOCK), start=1):
                out.write(self._drawn.block(number, min(BLOCK, self.rows - start)).tobytes())

    def queries(self, count: int = QUERIES) -> NDArray[np.float32]:
        """Vectors that are drawn as the others are, and are not among them."""
        return self._drawn.block(0, count)

    def mapped(self) -> NDArray[np.float32]:
        """All vectors."""
        return map_vectors(self.vectors, rows=self.rows, dim=self.dim)

    def exact(self, queries: NDArray[np.float32]) -> NDArray[np.int64]:
        """The ten nearest rows by exact search."""
        vectors = self.mapped()
        return FaissIndex(flat_view(vectors), SearchOptions(), keep=(vectors,)).search(queries, 10).rows


def measure(kind: DenseType, source: Source, config: BenchConfig) -> Measured:
    """Build in one process, serve in another, search in this one."""
    layout = IndexLayout(source.folder / kind)
    shutil.rmtree(layout.root, ignore_errors=True)
    encoder = f"toy:{source.dim}"
    settings = [f"corpus={source.corpus}", f"index_dir={layout.root}", f"type={kind}", f"encoder={encoder}"]
    hand_over(load_config(BuildConfig, None, settings), rows_of(source.mapped()))
    begin = time.monotonic()
    builder = subprocess.Popen(
        [sys.executable, "-m", "src_retrieval.build", *settings],
        env={**os.environ, "OMP_NUM_THREADS": str(config.threads)},
        stderr=subprocess.PIPE,
    )
    build = Sampler(builder.pid)
    error = builder.communicate()[1]
    if builder.returncode:
        raise RuntimeError(error.decode())
    seconds = time.monotonic() - begin
    serve = serve_and_sample(layout, source, encoder, config)
    queries = source.queries()
    index = open_dense(
        layout, kind, rows=source.rows, dim=source.dim, options=SearchOptions(threads=config.threads)
    )
    index.search(queries, 10)  # pages in
    cpu = time.process_time()
    found = index.search(queries, 10).rows
    cpu = time.process_time() - cpu
    hits = [len(set(a) & set(b)) for a, b in zip(source.exact(queries).tolist(), found.tolist(), strict=True)]
    size = sum(path.stat().st_size for path in layout.root.iterdir() if "corpus" not in path.name)
    return Measured(
        rows=source.rows,
        build_seconds=round(seconds, 1),
        build=build.peak(),
        serve=serve,
        bytes_per_vector=round(size / source.rows, 1),
        recall=round(sum(hits) / (10 * QUERIES), 4),
        queries_per_cpu_second=round(QUERIES / cpu, 1),
    )


def serve_and_sample(layout: IndexLayout, source: Source, encoder: str, config: BenchConfig) -> Memory:
    """Start the real server, ask it single queries and batches, stop it."""
    values = [
        *(f"retrieval_method={encoder}", f"index_path={layout.root}", f"corpus_path={source.corpus}"),
        f"searching.threads={config.threads}",
    ]
    server = start_retriever(values, log=source.folder / "server.log")
    sampler = Sampler(server.process.pid)
    try:
        server.wait_ready()
        for at in range(20):
            ask(f"{server.url}/search", {"query": f"some thing{at}", "top_n": 10})
        texts = [f"words about thing{at}" for at in range(SERVED_QUERIES)]
        ask(f"{server.url}/batch_search", {"query": texts, "top_n": 10})
    finally:
        server.stop()
    return sampler.peak()


def ask(url: str, body: dict[str, Any]) -> None:
    """One request; the answer is thrown away."""
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=600) as reply:
        reply.read()


def report(config: BenchConfig, results: dict[str, Measured], console: Console) -> None:
    """The table, and one line of JSON."""
    table = Table(title=f"clustered {config.dim}-d vectors, {config.threads} threads, memory in MB")
    for column in ("type", "rows", "build s", "build anon", "(dirty)", "serve anon", "(dirty)"):
        table.add_column(column, justify="right")
    for column in ("B/vector", "recall@10", "q/cpu-s", "21M: GB", "21M: q/cpu-s"):
        table.add_column(column, justify="right")
    figures: dict[str, Any] = {"dim": config.dim, "projection_rows": WIKI18_ROWS}
    for kind, row in results.items():
        gigabytes = row.bytes_per_vector * WIKI18_ROWS / 1e9
        # The time of a scan is proportional to the rows; that of a graph or of lists is not, so it is not
        # projected.
        scans = kind in (DenseType.FLAT, DenseType.PQ)
        rate = f"{row.queries_per_cpu_second * row.rows / WIKI18_ROWS:.2f}" if scans else "-"
        cells = (
            row.build_seconds,
            row.build.anonymous,
            row.build.dirty,
            row.serve.anonymous,
            row.serve.dirty,
        )
        table.add_row(
            *(kind, str(row.rows), *map(str, cells), str(row.bytes_per_vector), str(row.recall)),
            *(str(row.queries_per_cpu_second), f"{gigabytes:.1f}", rate),
        )
        figures[kind] = {**dataclasses.asdict(row), "projected_gb_21m": round(gigabytes, 1)}
    console.print(table)
    console.print("the columns 21M are linear projections, not measurements")
    print(json.dumps(figures))


if __name__ == "__main__":
    run_main(main)
