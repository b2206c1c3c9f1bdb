"""Serving at scale: recall against exact search, start, private memory, rate and latency, with all memory and
with a limited one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import aiohttp
import numpy as np
from memory_limit import forget, limited
from process_memory import Sampler
from retrieval_load import summary, window
from retriever_process import RetrieverProcess, start_retriever
from scale_config import ScaleConfig, Stage
from scale_text import questions_of

from src_core.progress import Steps
from src_retrieval.vector.faiss_index import DenseType, SearchOptions, open_dense

SIDES = {"pq": "type=pq", "bm25": "type=bm25", "hybrid": "type=hybrid"}
FACTORS = (20, 50)
"""Settings of `pq_refine_factor`; the first is the default."""
TOP_N = 10
WARM_UP = 0.25
"""Of the seconds that are measured, before them."""


def recall(config: ScaleConfig, stage: Stage, steps: Steps) -> None:
    """Recall@10 against exact search, and the rate of the index alone."""
    queries = np.load(config.root / "queries.npy")
    with np.load(config.root / "exact.npz", allow_pickle=False) as saved:
        exact, rows = saved["found"].tolist(), int(saved["rows"])
    for factor in FACTORS:
        options = SearchOptions(threads=config.threads, pq_refine_factor=factor)
        index = open_dense(config.layout, DenseType.PQ, rows=rows, dim=queries.shape[1], options=options)
        with steps(f"searching {len(queries)} vectors, refine factor {factor}"):
            index.search(queries, TOP_N)  # pages in
            cpu = time.process_time()
            found = index.search(queries, TOP_N).rows.tolist()
            cpu = time.process_time() - cpu
        hits = sum(len(set(ours) & set(true)) for ours, true in zip(found, exact, strict=True))
        stage.figures[f"refine_{factor}"] = {
            "recall_at_10": round(hits / (TOP_N * len(queries)), 4),
            "queries_per_cpu_second": round(len(queries) / cpu, 2),
        }


def serve(config: ScaleConfig, stage: Stage, steps: Steps) -> None:
    """Each half alone, and both, by the real server."""
    texts = questions_of(config.questions)
    for side in SIDES:
        with steps(f"serving {side}"):
            start(config, side).stop()  # pages in
            stage.figures[side] = asyncio.run(_measure(config, side, texts, []))


def serve_limited(config: ScaleConfig, stage: Stage, steps: Steps) -> None:
    """The same with a limit on all memory of the server, page cache included."""
    texts = questions_of(config.questions)
    stage.figures["limit_gb"] = config.limit_gb
    for side in ("pq", "hybrid"):
        with limited(int(config.limit_gb * 1e9)) as group, steps(f"serving {side} in {config.limit_gb} GB"):
            if group is None:
                stage.figures["not_possible"] = "no control group with a memory limit can be made here"
                return
            forget(config.root)
            figures = asyncio.run(_measure(config, side, texts, group.command()))
            figures |= {"page_cache_mb": group.cached(), "major_faults": group.major_faults()}
            stage.figures[side] = figures


def start(config: ScaleConfig, side: str, before: Sequence[str] = ()) -> RetrieverProcess:
    """A server, ready."""
    settings = [
        *(f"retrieval_method={config.encoder}", f"index_path={config.layout.root}", SIDES[side]),
        *(f"corpus_path={config.corpus}", f"searching.threads={config.threads}" if side != "bm25" else ""),
        *(f"encoding.threads={config.threads}", "serving.cached_rows=0"),
    ]
    log = config.root / "server.log"
    server = start_retriever([setting for setting in settings if setting], log=log, before=before)
    server.wait_ready()
    return server


async def _measure(config: ScaleConfig, side: str, texts: list[str], before: Sequence[str]) -> dict[str, Any]:
    begun = time.monotonic()
    server = start(config, side, before)
    figures: dict[str, Any] = {"start_seconds": round(time.monotonic() - begun, 2)}
    sampler = Sampler(server.process.pid, dirty=False)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600)) as session:
            for clients in config.clients:
                load = {"texts": texts, "clients": clients, "top_n": TOP_N}
                await window(session, server.url, seconds=WARM_UP * config.seconds, **load)
                found = summary([await window(session, server.url, seconds=config.seconds, **load)])
                figures[f"clients_{clients}"] = {
                    "queries_per_second": found["qps"],
                    "queries_per_cpu_second": round(1000 / found["cpu_ms"], 2),
                    "p50_ms": found["p50_ms"],
                    "p99_ms": found["p99_ms"],
                }
    finally:
        server.stop()
    figures["private_mb"] = sampler.peak().anonymous
    return figures
