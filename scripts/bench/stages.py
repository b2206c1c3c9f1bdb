"""The gain of overlapping the stages of a search: one thread for all stages against one thread per stage.

    python scripts/bench/stages.py rows=200000 encoder=e5-small
    python scripts/bench/stages.py rows=200000 encoder=fake:3        # no weights: 3 ms of one core per query
    python scripts/bench/stages.py rows=200000 encoder=wait:3        # 3 ms of another machine, or of a GPU

Both sides are the same engine in this process, with micro-batches across the clients, in alternating windows:

- one thread: the queued queries are encoded, then searched (and reranked), before the next batch starts;
queries that arrive while a batch is encoded join it - stages: `SearchPipeline`, a thread each for encoding,
searching, …

Encoder and index have one thread of arithmetic each (`encoding.threads`, `threads`), so the gain is at most
that of a second core. Vectors are synthetic (see `synthetic.py`). The last line is one JSON object.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO), str(Path(__file__).resolve().parent)]

from stage_sides import FAKES, FakeEncoder, OneThread, Side  # noqa: E402
from synthetic import write_corpus, write_mixtures  # noqa: E402

from src_core.config import config_class, load_config  # noqa: E402
from src_core.errors import run_main  # noqa: E402
from src_core.jsonl import read_jsonl  # noqa: E402
from src_retrieval.corpus import open_corpus  # noqa: E402
from src_retrieval.encoders.base import EncoderOptions  # noqa: E402
from src_retrieval.encoders.load import load_encoder  # noqa: E402
from src_retrieval.engine import EngineConfig, SearchEngine  # noqa: E402
from src_retrieval.layout import IndexLayout  # noqa: E402
from src_retrieval.pipeline.search import SearchPipeline  # noqa: E402
from src_retrieval.rerankers import load_reranker  # noqa: E402
from src_retrieval.rerankers.base import RerankOptions  # noqa: E402
from src_retrieval.results import Ranked  # noqa: E402
from src_retrieval.vector.base import map_vectors  # noqa: E402
from src_retrieval.vector.faiss_index import FaissIndex, SearchOptions, flat_view  # noqa: E402

SIDES = ("one thread", "stages")
PATIENCE = 4
"""Pairs of windows that are tried for each one that is kept."""
TICKS = os.sysconf("SC_CLK_TCK")


@config_class
class BenchConfig:
    """`seconds` is the length of one window; each side gets `repeats` windows per number of clients, in turn.
    A pair of windows counts only when other processes took at most `other_cores` of the machine's cores: two
    stages cannot overlap on cores that are busy. `rerank` adds a reranker to both sides.
    """

    rows: int = 200_000
    encoder: str = "e5-small"
    encoding: EncoderOptions = EncoderOptions(threads=1)
    threads: int = 1
    clients: tuple[int, ...] = (1, 8, 32)
    seconds: float = 6.0
    repeats: int = 4
    other_cores: float = 0.25
    top_n: int = 5
    max_batch: int = 64
    folder: str = "indexes/bench_stages"
    seed_index: str = "indexes/sample_world"
    questions: str = "data/sample_world/questions.jsonl"
    rerank: RerankOptions | None = None


class Window(NamedTuple):
    """One measured stretch of load."""

    queries: int
    seconds: float
    cpu_seconds: float
    other_cores: float
    batches: int
    latencies: list[float]


def main() -> None:
    """Measure both sides in turn, print the table, then one line of JSON."""
    config = load_config(BenchConfig, None, sys.argv[1:])
    os.chdir(REPO)
    console = Console(width=110)
    texts = [row["question"] for row in read_jsonl(Path(config.questions))]
    engine = make_engine(config, console)
    expected = engine.search(texts, [config.top_n] * len(texts))
    windows: dict[tuple[str, int], list[Window]] = {}
    for clients in config.clients:
        check(engine, expected, texts, config)
        pairs = measure(engine, texts, clients, config)
        windows |= {(name, clients): [pair[name] for pair in pairs] for name in SIDES}
    print(json.dumps(report(config, windows, console)))


def check(engine: SearchEngine, expected: list[list[Ranked]], texts: list[str], config: BenchConfig) -> None:
    """Both sides give the engine's answers (and are warm)."""
    for name in SIDES:
        with side(name, engine, config) as (asked, _):
            found = [asked.run([text], config.top_n, timeout=60)[0] for text in texts[:20]]
        same = [[each.row for each in rows] for rows in found]
        assert same == [[each.row for each in rows] for rows in expected[:20]], name


def measure(
    engine: SearchEngine, texts: list[str], clients: int, config: BenchConfig
) -> list[dict[str, Window]]:
    """`repeats` pairs of windows, the two sides in turn. Pairs beside too much other work are dropped, unless
    the machine is rarely idle: then the least disturbed windows are kept.
    """
    pairs: list[dict[str, Window]] = []
    for turn in range(PATIENCE * config.repeats):
        pair = {}
        for name in SIDES if turn % 2 else SIDES[::-1]:
            with side(name, engine, config) as (asked, batches):
                pair[name] = window(asked, batches, texts=texts, clients=clients, config=config)
        pairs.append(pair)
        pairs.sort(key=other_cores)
        if len(pairs) >= config.repeats and other_cores(pairs[config.repeats - 1]) <= config.other_cores:
            break
    return pairs[: config.repeats]


def other_cores(pair: dict[str, Window]) -> float:
    """The most that other processes had during one of the two windows."""
    return max(one.other_cores for one in pair.values())


def make_engine(config: BenchConfig, console: Console) -> SearchEngine:
    """A flat index over synthetic vectors, kept for the next run."""
    fake = config.encoder.startswith(FAKES)
    encoder = FakeEncoder(config.encoder) if fake else load_encoder(config.encoder, config.encoding)
    dim = encoder.identity.dim
    folder = Path(f"{config.folder}_{config.rows}_{dim}")
    vectors = folder / "vectors.f32"
    if not vectors.is_file() or vectors.stat().st_size != config.rows * dim * 4:
        console.print(f"making {config.rows} vectors of {dim} dimensions in {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        filler = "word " * 60  # as long as a real passage
        write_corpus(folder / "corpus.jsonl", config.rows, body=lambda at: f"Number {at} {filler}")
        write_mixtures(vectors, config.rows, dim=dim, seeds=IndexLayout(Path(config.seed_index)).vectors)
    mapped = map_vectors(vectors, rows=config.rows, dim=dim)
    engine_config = EngineConfig(
        retrieval_method=config.encoder,
        index_path=str(folder),
        corpus_path=str(folder / "corpus.jsonl"),
        rerank=config.rerank,
    )
    return SearchEngine(
        corpus=open_corpus(folder / "corpus.jsonl", folder),
        encoder=encoder,
        dense=FaissIndex(flat_view(mapped), SearchOptions(threads=config.threads), keep=(mapped,)),
        sparse=None,
        reranker=load_reranker(config.rerank) if config.rerank else None,
        config=engine_config,
    )


@contextmanager
def side(name: str, engine: SearchEngine, config: BenchConfig) -> Iterator[tuple[Side, Callable[[], int]]]:
    """A fresh side, and how many batches it has searched."""
    sizes: list[int] = []

    def observe(stage: str, size: int, _: float) -> None:
        if stage == "dense":
            sizes.append(size)

    if name == "stages":
        with closing(SearchPipeline(engine, max_batch=config.max_batch, observe=observe)) as pipeline:
            yield pipeline, lambda: len(sizes)
    else:
        with closing(OneThread(engine, max_batch=config.max_batch)) as single:
            yield single, lambda: single.batches


def window(
    asked: Side, batches: Callable[[], int], *, texts: list[str], clients: int, config: BenchConfig
) -> Window:
    """`clients` callers, each asking its next question as soon as the last is answered."""
    source = itertools.cycle(texts)
    latencies: list[float] = []
    begun, cpu, busy = time.perf_counter(), cpu_seconds(), machine_seconds()

    def client(_: int) -> None:
        while time.perf_counter() - begun < config.seconds:
            asked_at = time.perf_counter()
            asked.run([next(source)], config.top_n, timeout=60)
            latencies.append(time.perf_counter() - asked_at)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    elapsed, used = time.perf_counter() - begun, cpu_seconds() - cpu
    others = max(0.0, machine_seconds() - busy - used) / elapsed
    return Window(len(latencies), elapsed, used, others, batches(), latencies)


def cpu_seconds() -> float:
    """User and system time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def machine_seconds() -> float:
    """CPU time of all processes since the machine started, stolen time included."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS  # without idle and waiting for disks


def report(
    config: BenchConfig, windows: dict[tuple[str, int], list[Window]], console: Console
) -> dict[str, Any]:
    """The table, and its figures."""
    reranked = f", {config.rerank.top_n} reranked by {config.rerank.model}" if config.rerank else ""
    table = Table(title=f"flat, {config.rows} vectors, {config.encoder}{reranked}; {os.cpu_count()} cores")
    for column in (
        "clients",
        "side",
        "queries/s",
        "CPU-ms/query",
        "p50 ms",
        "p99 ms",
        "queries/search",
        "other cores",
    ):
        table.add_column(column, justify="right")
    figures: dict[str, Any] = {"rows": config.rows, "encoder": config.encoder, "cores": os.cpu_count()}
    for clients in config.clients:
        rates = {}
        for name in SIDES:
            rows = windows[(name, clients)]
            rates[name] = [one.queries / one.seconds for one in rows]
            pooled = sorted(latency for one in rows for latency in one.latencies)
            values = {
                "qps": statistics.median(rates[name]),
                "cpu_ms": statistics.median(1000 * one.cpu_seconds / one.queries for one in rows),
                "p50_ms": 1000 * pooled[len(pooled) // 2],
                "p99_ms": 1000 * pooled[int(len(pooled) * 0.99)],
                "per_search": sum(one.queries for one in rows) / max(1, sum(one.batches for one in rows)),
                "other_cores": statistics.mean(one.other_cores for one in rows),
            }
            figures[f"{name}_{clients}"] = {key: round(value, 2) for key, value in values.items()}
            table.add_row(str(clients), name, *(f"{value:.2f}" for value in values.values()))
        pairs = zip(rates["stages"], rates["one thread"], strict=True)
        ratios = sorted(fast / slow for fast, slow in pairs)
        figures[f"ratio_{clients}"] = [
            round(value, 2) for value in (statistics.median(ratios), ratios[0], ratios[-1])
        ]
        table.add_row(
            "",
            "stages : one thread",
            f"{statistics.median(ratios):.2f}x",
            f"({ratios[0]:.2f} to {ratios[-1]:.2f})",
        )
    console.print(table)
    return figures


if __name__ == "__main__":
    run_main(main)
