"""The retriever under load: micro-batching against one query per scan, in turn, on the same encoder and
vectors.

    python scripts/bench/retrieval.py rows=500000 encoder=e5-small
    python scripts/bench/retrieval.py rows=43000 encoder=e5-small      # a corpus where the encoder dominates

Three sides, each the real Flask server over the same vectors, in alternating windows:

- baseline: exact flat index, one query per scan, FAISS's stock BLAS threshold, as the published server
works - batched: the same index and the same answers, with micro-batching and the threshold switched by
batch size - pq: batched, over 4-bit PQ FastScan codes refined with fp16; its recall@10 against exact
search stands beside it

Passages are synthetic: mixtures of three real passage vectors (from `seed_index`, an index of the same
encoder; random centres if there is none) plus a little noise. Queries are real questions, encoded by
the server. CPU time is the server process's own (user + system), so the load generator does not count.
The last table is FAISS alone: a flat search of 64 queries, stock against ours. The last line is one
JSON object.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import numpy as np
from rich.console import Console
from rich.table import Table

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

from src_core.config import config_class, load_config  # noqa: E402
from src_core.errors import run_main  # noqa: E402
from src_core.jsonl import read_jsonl  # noqa: E402
from src_retrieval.build import BuildConfig, build_index  # noqa: E402
from src_retrieval.corpus import open_corpus  # noqa: E402
from src_retrieval.encoders import EncoderOptions, load_encoder, normalise  # noqa: E402
from src_retrieval.indexes import (  # noqa: E402
    FaissIndex,
    SearchOptions,
    flat_view,
    load_faiss,
    map_vectors,
    open_dense,
    stock_blas_threshold,
)
from src_retrieval.layout import DenseType, IndexLayout, IndexType  # noqa: E402

SIDES = {
    "baseline": (DenseType.FLAT, ("serving.batching=false", "searching.blas_switch=false")),
    "batched": (DenseType.FLAT, ()),
    "pq": (DenseType.PQ, ()),
}
BLOCK = 50_000
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


class Window(NamedTuple):
    """One measured stretch of load."""

    queries: int
    seconds: float
    cpu_seconds: float
    batches: float
    latencies: list[float]


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """A retriever process."""

    process: subprocess.Popen[bytes]
    url: str


def main() -> None:
    """Prepare, start both servers, measure in turn, print."""
    config = load_config(BenchConfig, None, sys.argv[1:])
    os.chdir(REPO)
    console = Console(width=110)
    folder = prepare(config, console)
    texts = [row["question"] for row in read_jsonl(Path(config.questions))]
    servers: dict[str, Server] = {}
    try:
        for name, (kind, settings) in SIDES.items():
            servers[name] = start(config, folder / kind, settings)
        windows = asyncio.run(measure(config, servers, texts))
    finally:
        for server in servers.values():
            server.process.terminate()
            server.process.wait()
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
        write_corpus(folder / "corpus.jsonl", config.rows)
        write_vectors(config, vectors, dim=encoder.dim)
    for kind in {kind for kind, _ in SIDES.values()}:
        layout = IndexLayout(folder / kind)
        if not layout.manifest.is_file():
            layout.root.mkdir(exist_ok=True)
            layout.vectors.unlink(missing_ok=True)
            os.link(vectors, layout.vectors)
            # A finished encoding, as the builder leaves it: the synthetic vectors stand for the encoder's.
            corpus = open_corpus(folder / "corpus.jsonl", layout.root)
            done = {"corpus": corpus.info.sha256, "encoder": dataclasses.asdict(encoder)}
            layout.progress.write_text(json.dumps({"fingerprint": done, "rows_done": config.rows}))
        build_index(build_config(config, folder, kind), console=console)
    return folder


def build_config(config: BenchConfig, folder: Path, kind: DenseType) -> BuildConfig:
    """How the builder is called for one index type."""
    return BuildConfig(
        corpus=str(folder / "corpus.jsonl"),
        index_dir=str(folder / kind),
        type=IndexType(kind.value),
        encoder=config.encoder,
        encoding=config.encoding,
    )


def write_corpus(path: Path, rows: int) -> None:
    """Passages as long as real ones; what they say does not matter."""
    filler = "word " * 60
    with path.open("w") as out:
        for at in range(rows):
            out.write(f'{{"id": "{at}", "contents": "Passage {at}\\nNumber {at} {filler}"}}\n')


def write_vectors(config: BenchConfig, path: Path, *, dim: int) -> None:
    """Unit vectors: mixtures of three seeds, one of them leading, plus a little noise."""
    rng = np.random.default_rng(0)
    stored = IndexLayout(Path(config.seed_index)).vectors
    if stored.is_file() and stored.stat().st_size % (dim * 4) == 0:
        seeds = np.fromfile(stored, dtype=np.float32).reshape(-1, dim)
    else:
        seeds = normalise(rng.normal(size=(2_000, dim)).astype(np.float32))
    with path.open("wb") as out:
        for start in range(0, config.rows, BLOCK):
            count = min(BLOCK, config.rows - start)
            weights = rng.dirichlet((4.0, 1.5, 1.0), size=count).astype(np.float32)
            parts = seeds[rng.integers(len(seeds), size=(count, 3))]
            noise = rng.normal(scale=0.2 / np.sqrt(dim), size=(count, dim)).astype(np.float32)
            out.write(normalise(np.einsum("nk,nkd->nd", weights, parts) + noise).tobytes())


def start(config: BenchConfig, folder: Path, settings: tuple[str, ...]) -> Server:
    """A server process, ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    encoding = dataclasses.asdict(config.encoding)
    values = [
        f"retrieval_method={config.encoder}",
        f"index_path={folder}",
        f"corpus_path={folder.parent / 'corpus.jsonl'}",
        f"port={port}",
        f"searching.threads={config.threads}",
        *(f"encoding.{key}={value}" for key, value in encoding.items()),
        *settings,
    ]
    with (folder / f"server{port}.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "src_retrieval.server", *values], stderr=log)
    asyncio.run(until_ready(f"http://127.0.0.1:{port}", process))
    return Server(process, f"http://127.0.0.1:{port}")


async def until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait for /health; a server that ends first ends the benchmark."""
    async with aiohttp.ClientSession() as session:
        while process.poll() is None:
            try:
                async with session.get(url + "/health") as reply:
                    if reply.status == 200:
                        return
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
    raise RuntimeError(
        f"the server at {url} ended with {process.returncode}; see its log in the index folder"
    )


async def measure(
    config: BenchConfig, servers: dict[str, Server], texts: list[str]
) -> dict[tuple[str, int], list[Window]]:
    """Windows by (side, clients); the sides alternate, so that other load on the machine falls on both."""
    windows: dict[tuple[str, int], list[Window]] = {}
    connector = aiohttp.TCPConnector(limit=max(config.clients))
    async with aiohttp.ClientSession(connector=connector) as session:
        for clients in config.clients:
            for server in servers.values():
                await window(session, server.url, texts, clients=clients, seconds=1.0, top_n=config.top_n)
            for _ in range(config.repeats):
                for name, server in servers.items():
                    measured = await window(
                        session,
                        server.url,
                        texts,
                        clients=clients,
                        seconds=config.seconds,
                        top_n=config.top_n,
                    )
                    windows.setdefault((name, clients), []).append(measured)
    return windows


async def window(
    session: aiohttp.ClientSession, url: str, texts: list[str], *, clients: int, seconds: float, top_n: int
) -> Window:
    """`clients` callers, each asking its next question as soon as the last is answered."""
    source = itertools.cycle(texts)
    latencies: list[float] = []
    before = await counters(session, url)
    begin = time.perf_counter()

    async def client() -> None:
        while time.perf_counter() - begin < seconds:
            body = {"query": next(source), "top_n": top_n, "return_score": True}
            asked = time.perf_counter()
            async with session.post(url + "/search", json=body) as reply:
                reply.raise_for_status()
                await reply.read()
            latencies.append(time.perf_counter() - asked)

    await asyncio.gather(*(client() for _ in range(clients)))
    elapsed = time.perf_counter() - begin
    after = await counters(session, url)
    cpu, batches = (after[at] - before[at] for at in (0, 1))
    return Window(len(latencies), elapsed, cpu, batches, latencies)


async def counters(session: aiohttp.ClientSession, url: str) -> tuple[float, float]:
    """CPU seconds of the server process, and batches so far."""
    async with session.get(url + "/metrics") as reply:
        rows = dict(line.rsplit(" ", 1) for line in (await reply.text()).splitlines() if line[:1] != "#")
    return float(rows["retriever_cpu_seconds"]), float(rows["retriever_batch_size_count"])


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


def summary(windows: list[Window]) -> dict[str, float]:
    """Medians over the windows; latencies pooled."""
    pooled = sorted(latency for one in windows for latency in one.latencies)
    return {
        "cpu_ms": round(statistics.median(1000 * one.cpu_seconds / one.queries for one in windows), 3),
        "qps": round(statistics.median(one.queries / one.seconds for one in windows), 2),
        "p50_ms": round(1000 * pooled[len(pooled) // 2], 2),
        "p99_ms": round(1000 * pooled[int(len(pooled) * 0.99)], 2),
        "per_batch": round(sum(one.queries for one in windows) / sum(one.batches for one in windows), 2),
    }


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
