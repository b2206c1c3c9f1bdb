"""The retriever under load: micro-batching against one query per scan, in turn, on the same encoder and
vectors.

    python scripts/bench/retrieval.py rows=500000 encoder=e5-small
    python scripts/bench/retrieval.py rows=43000 encoder=e5-small      # a corpus where the encoder dominates

Three sides, each the real Flask server over the same vectors, in alternating windows:

- baseline: exact flat index, one query per scan, FAISS's default BLAS threshold, as in the published server
- batched: the same index and the same answers, with micro-batching and the threshold switched by batch size
- pq: batched, over 4-bit PQ FastScan codes refined with fp16; its recall@10 against exact search is
reported too

Passages are synthetic: mixtures of three real passage vectors (from `seed_index`, an index of the same
encoder; random centres without it) plus a little noise. Queries are real questions, encoded by the server.
CPU time is the server process's own (user + system), so the load generator does not count. The last table is
FAISS alone: a flat search of 64 queries, FAISS's default threshold against ours. The last line is one JSON
object.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from rich.console import Console
from rich.table import Table

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO), str(Path(__file__).resolve().parent)]

from retrieval_load import Window, summary, window  # noqa: E402
from retriever_process import RetrieverProcess, start_retriever  # noqa: E402
from synthetic import hand_over, rows_of, write_corpus, write_mixtures  # noqa: E402

from src_core.config import config_class, load_config  # noqa: E402
from src_core.errors import run_main  # noqa: E402
from src_core.jsonl import read_jsonl  # noqa: E402
from src_core.progress import Steps  # noqa: E402
from src_retrieval.build import build_index  # noqa: E402
from src_retrieval.build_plan import BuildConfig  # noqa: E402
from src_retrieval.encoders.base import EncoderOptions  # noqa: E402
from src_retrieval.encoders.load import load_encoder  # noqa: E402
from src_retrieval.layout import IndexLayout  # noqa: E402
from src_retrieval.vector.base import map_vectors  # noqa: E402
from src_retrieval.vector.faiss_index import (  # noqa: E402
    DenseType,
    FaissIndex,
    SearchOptions,
    flat_view,
    load_faiss,
    open_dense,
    stock_blas_threshold,
)

SIDES = {
    "baseline": (DenseType.FLAT, ("serving.batching=false", "searching.blas_switch=false")),
    "batched": (DenseType.FLAT, ()),
    "pq": (DenseType.PQ, ()),
}
FLAT_BATCH = 64
FLAT_REPEATS = 5


@config_class
class BenchConfig:
    """`seconds` is the length of one window; each side gets `repeats` windows per number of clients, in
    turn.
    """

    rows: int = 500_000
    encoder: str = "e5-small"
    encoding: EncoderOptions = EncoderOptions(threads=1)
    threads: int = 1
    clients: tuple[int, ...] = (1, 8, 32)
    seconds: float = 8.0
    repeats: int = 3
    top_n: int = 5
    folder: str = "indexes/bench_retrieval"
    seed_index: str = "indexes/sample_world"
    questions: str = "data/sample_world/questions.jsonl"


def main() -> None:
    """Prepare, start both servers, measure in turn, print."""
    config = load_config(BenchConfig, None, sys.argv[1:])
    os.chdir(REPO)
    console = Console(width=110)
    folder = prepare(config, console)
    texts = [row["question"] for row in read_jsonl(Path(config.questions))]
    servers: dict[str, RetrieverProcess] = {}
    try:
        for name, (kind, settings) in SIDES.items():
            servers[name] = start(config, folder / kind, settings)
        windows = asyncio.run(measure(config, servers, texts))
    finally:
        for server in servers.values():
            server.stop()
    figures = report(config, windows, console)
    figures["pq_recall_at_10"] = pq_recall(config, folder, texts, console)
    figures["flat"] = flat_table(folder, config, console)
    print(json.dumps(figures))


def prepare(config: BenchConfig, console: Console) -> Path:
    """A corpus, its vectors, and a flat and a PQ index of them by the real builder; kept for the next
    run.
    """
    encoder = load_encoder(config.encoder, config.encoding).identity
    folder = Path(f"{config.folder}_{config.rows}_{encoder.dim}")
    vectors = folder / "vectors.f32"
    if not vectors.is_file() or vectors.stat().st_size != config.rows * encoder.dim * 4:
        console.print(f"making {config.rows} vectors of {encoder.dim} dimensions in {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        filler = "word " * 60  # as long as a real passage
        write_corpus(folder / "corpus.jsonl", config.rows, body=lambda at: f"Number {at} {filler}")
        seeds = IndexLayout(Path(config.seed_index)).vectors
        write_mixtures(vectors, config.rows, dim=encoder.dim, seeds=seeds)
    for kind in {kind for kind, _ in SIDES.values()}:
        built = build_config(config, folder, kind)
        if not IndexLayout(folder / kind).manifest.is_file():
            hand_over(built, rows_of(map_vectors(vectors, rows=config.rows, dim=encoder.dim)))
        build_index(built, steps=Steps(console))
    return folder


def build_config(config: BenchConfig, folder: Path, kind: DenseType) -> BuildConfig:
    """How the builder is called for one index type."""
    return BuildConfig(
        corpus=str(folder / "corpus.jsonl"),
        index_dir=str(folder / kind),
        type=kind.value,
        encoder=config.encoder,
        encoding=config.encoding,
    )


def start(config: BenchConfig, folder: Path, settings: tuple[str, ...]) -> RetrieverProcess:
    """A server process, ready."""
    encoding = dataclasses.asdict(config.encoding)
    values = [
        f"retrieval_method={config.encoder}",
        f"index_path={folder}",
        f"corpus_path={folder.parent / 'corpus.jsonl'}",
        f"searching.threads={config.threads}",
        "serving.cached_rows=0",  # the questions are asked again and again
        *(f"encoding.{key}={value}" for key, value in encoding.items()),
        *settings,
    ]
    server = start_retriever(values, log=folder / "server.log")
    server.wait_ready()
    return server


async def measure(
    config: BenchConfig, servers: dict[str, RetrieverProcess], texts: list[str]
) -> dict[tuple[str, int], list[Window]]:
    """Windows by (side, clients); the sides alternate, so that other load on the machine falls on both."""
    windows: dict[tuple[str, int], list[Window]] = {}
    connector = aiohttp.TCPConnector(limit=max(config.clients))
    async with aiohttp.ClientSession(connector=connector) as session:
        for clients in config.clients:
            load = partial(window, session, texts=texts, clients=clients, top_n=config.top_n)
            for server in servers.values():
                await load(server.url, seconds=1.0)
            for _ in range(config.repeats):
                for name, server in servers.items():
                    measured = await load(server.url, seconds=config.seconds)
                    windows.setdefault((name, clients), []).append(measured)
    return windows


def report(
    config: BenchConfig, windows: dict[tuple[str, int], list[Window]], console: Console
) -> dict[str, Any]:
    """The table of both sides, and its figures."""
    table = Table(
        title=f"{config.rows} passages, {config.encoder} {config.encoding.precision}, top {config.top_n}"
    )
    for column in ("clients", "side", "CPU-ms/query", "queries/s", "p50 ms", "p99 ms", "queries/batch"):
        table.add_column(column, justify="right")
    figures: dict[str, Any] = {"rows": config.rows, "encoder": config.encoder, "threads": config.threads}
    for clients in config.clients:
        for name in SIDES:
            row = summary(windows[(name, clients)])
            figures[f"{name}_{clients}"] = row
            table.add_row(str(clients), name, *(f"{value:.2f}" for value in row.values()))
        for name in list(SIDES)[1:]:
            ratio = figures[f"baseline_{clients}"]["cpu_ms"] / figures[f"{name}_{clients}"]["cpu_ms"]
            figures[f"{name}_ratio_{clients}"] = round(ratio, 2)
            table.add_row(str(clients), f"baseline : {name}", f"{ratio:.2f}x", "", "", "", "")
    console.print(table)
    return figures


def pq_recall(config: BenchConfig, folder: Path, texts: list[str], console: Console) -> float:
    """Recall@10 of the PQ index against the exact one, for the questions of the load."""
    encoder = load_encoder(config.encoder, config.encoding)
    queries = encoder.encode_queries(texts)
    options = SearchOptions(threads=config.threads)
    dim = encoder.identity.dim
    exact, approximate = (
        open_dense(IndexLayout(folder / kind), kind, rows=config.rows, dim=dim, options=options)
        .search(queries, 10)
        .rows.tolist()
        for kind in (DenseType.FLAT, DenseType.PQ)
    )
    common = [len(set(one) & set(other)) / 10 for one, other in zip(exact, approximate, strict=True)]
    console.print(f"pq: recall@10 {statistics.mean(common):.4f} against exact search, {len(texts)} questions")
    return round(statistics.mean(common), 4)


def flat_table(folder: Path, config: BenchConfig, console: Console) -> dict[str, float]:
    """FAISS alone, `FLAT_BATCH` queries at once on one thread: stock threshold against ours, in turn."""
    dim = load_encoder(config.encoder, config.encoding).identity.dim
    vectors = map_vectors(folder / "vectors.f32", rows=config.rows, dim=dim)
    queries = np.ascontiguousarray(vectors[: FLAT_BATCH * 7 : 7])
    faiss = load_faiss()
    spent: dict[str, list[float]] = {"ours": [], "stock": []}
    for _ in range(FLAT_REPEATS):
        for name, times in spent.items():
            faiss.cvar.distance_compute_blas_threshold = stock_blas_threshold()
            options = SearchOptions(threads=1, blas_switch=name == "ours")
            index = FaissIndex(flat_view(vectors), options, keep=(vectors,))
            begin = time.process_time()
            index.search(queries, 10)
            times.append(time.process_time() - begin)
    rates = {name: FLAT_BATCH / statistics.median(times) for name, times in spent.items()}
    table = Table(title=f"flat search, {FLAT_BATCH} queries at once, {config.rows} x {dim}, one thread")
    table.add_column("side")
    table.add_column("queries per CPU-second", justify="right")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:.1f}")
    console.print(table)
    ratio = rates["ours"] / rates["stock"]
    return {**{name: round(rate, 1) for name, rate in rates.items()}, "ratio": round(ratio, 2), "dim": dim}


if __name__ == "__main__":
    run_main(main)
