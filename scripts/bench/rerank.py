"""The rerank stage: pairs per CPU-second against a plain torch loop, and the milliseconds it adds to a query.

    .venv-train/bin/python scripts/bench/rerank.py corpus=CORPUS.jsonl questions=QUESTIONS.jsonl

The pairs are questions with the best `top_n` passages of a BM25 index, which is built if it does not exist.

- Speed: the lines alternate, a chunk of questions each, on the same `threads` cores. `torch loop` is the
  published evaluation: batches of 128 pairs in the order of arrival, padded to the longest of the batch, at
  most 512 tokens, fp32 (reference/radio_flashrag.md, section 1.6). The others are the stage's backends.
- Latency: `clients` threads ask one server's pipeline, in alternating windows with and without the stage.

`model` is a reranker's folder with weights and ONNX files; without one MiniLM gets a head of random weights,
which changes no speed. The last line is one JSON object.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from transformers.utils.logging import disable_progress_bar

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

from src_core.config import config_class, load_config  # noqa: E402
from src_core.errors import run_main  # noqa: E402
from src_core.jsonl import read_jsonl  # noqa: E402
from src_core.progress import Steps  # noqa: E402
from src_models.cross_encoders import write_files  # noqa: E402
from src_retrieval.build import build_index  # noqa: E402
from src_retrieval.build_plan import BuildConfig  # noqa: E402
from src_retrieval.encoders.base import Device  # noqa: E402
from src_retrieval.engine import EngineConfig, SearchEngine, open_engine  # noqa: E402
from src_retrieval.pipeline.search import SearchPipeline  # noqa: E402
from src_retrieval.rerankers import load_reranker  # noqa: E402
from src_retrieval.rerankers.base import Candidates, Pair, Reranker, RerankOptions, RerankPrecision  # noqa: E402
from src_train.rerank_model import base_folder, load_cross_encoder  # noqa: E402

LOOP = "torch loop, padded to the longest"
STAGE = "stage, ONNX int8"


@config_class
class BenchConfig:
    """`queries` questions give the pairs of the speed; each line gets `rounds` chunks of `chunk` questions.
    A window of the latency lasts `seconds`, `repeats` times.
    """

    corpus: str = "data/sample_world/corpus.jsonl"
    questions: str = "data/sample_world/questions.jsonl"
    index_dir: str = "indexes/bench_rerank"
    model: str = ""
    folder: str = "indexes/bench_reranker"
    top_n: int = 20
    max_length: int = 512
    threads: int = 2
    loop_batch: int = 128
    chunk: int = 8
    rounds: int = 4
    clients: tuple[int, ...] = (1, 8, 32)
    seconds: float = 6.0
    repeats: int = 2


class Speed(NamedTuple):
    """Pairs per second of CPU time and of wall-clock time."""

    per_cpu_second: float
    per_second: float


def main() -> None:
    """Prepare, measure speed, measure latency, print."""
    config = load_config(BenchConfig, None, sys.argv[1:])
    torch.set_num_threads(config.threads)
    disable_progress_bar()
    folder = Path(config.model) if config.model else made_reranker(Path(config.folder))
    options = RerankOptions(
        model=str(folder),
        top_n=config.top_n,
        max_length=config.max_length,
        threads=config.threads,
        device=Device.CPU,
    )
    engine = opened(config, options)
    queries = [str(row["question"]) for row in read_jsonl(Path(config.questions))]
    console = Console(width=110)
    speeds = measure_speed(config, options, engine, queries)
    show_speed(console, config, speeds)
    latencies = measure_latency(config, engine, queries)
    show_latency(console, config, latencies)
    print(json.dumps(record_of(speeds, latencies)))


def made_reranker(folder: Path) -> Path:
    """MiniLM with a head of random weights, as torch and as ONNX."""
    if not (folder / "model.int8.onnx").is_file():
        base = base_folder("minilm")
        torch.manual_seed(1)
        load_cross_encoder(base, frozen_layers=0).save_pretrained(folder)
        (folder / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
        write_files(folder, folder)
    return folder


def opened(config: BenchConfig, options: RerankOptions) -> SearchEngine:
    """The engine of a server of BM25 with the rerank stage."""
    values = [f"corpus={config.corpus}", f"index_dir={config.index_dir}", "type=bm25"]
    build_index(load_config(BuildConfig, None, values), steps=Steps(Console(stderr=True)))
    served = EngineConfig(
        retrieval_method="", index_path=config.index_dir, corpus_path=config.corpus, rerank=options
    )
    return open_engine(served).engine


def measure_speed(
    config: BenchConfig, options: RerankOptions, engine: SearchEngine, queries: Sequence[str]
) -> dict[str, Speed]:
    """The speed of each line on the same chunks of questions, in turn."""
    wanted = list(itertools.islice(itertools.cycle(queries), config.chunk * config.rounds))
    plain = replace(engine, reranker=None)
    rows = plain.search(wanted, [config.top_n] * len(wanted))
    lists = [
        Candidates(query, [engine.contents(row) for row in found])
        for query, found in zip(wanted, rows, strict=True)
    ]
    lines: dict[str, Callable[[Sequence[Candidates]], object]] = {LOOP: torch_loop(config, options)}
    for label, precision in (
        ("stage, torch fp32", RerankPrecision.TORCH),
        ("stage, ONNX fp32", RerankPrecision.FP32),
        (STAGE, RerankPrecision.INT8),
    ):
        reranker: Reranker = load_reranker(replace(options, precision=precision))
        lines[label] = reranker.score_lists
    spent = {label: [0.0, 0.0] for label in lines}
    for run in lines.values():
        run(lists[:1])  # warm up
    for start in range(0, len(lists), config.chunk):
        for label, run in lines.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run(lists[start : start + config.chunk])
            spent[label][0] += time.process_time() - cpu
            spent[label][1] += time.perf_counter() - wall
    pairs = sum(len(each.passages) for each in lists)
    return {label: Speed(pairs / cpu, pairs / wall) for label, (cpu, wall) in spent.items()}


def torch_loop(config: BenchConfig, options: RerankOptions) -> Callable[[Sequence[Candidates]], object]:
    """The plain way: transformers' tokenizer and model, batches in the order of arrival."""
    from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

    model = AutoModelForSequenceClassification.from_pretrained(options.model).eval()
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(Path(options.model) / "tokenizer.json"))
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(model.config.pad_token_id or 0)

    def run(lists: Sequence[Candidates]) -> object:
        pairs = [Pair(each.query, text) for each in lists for text in each.passages]
        scores: list[Any] = []
        for start in range(0, len(pairs), config.loop_batch):
            batch = pairs[start : start + config.loop_batch]
            inputs = tokenizer(
                [pair.query for pair in batch],
                [pair.passage for pair in batch],
                padding=True,
                truncation=True,
                max_length=config.max_length,
                return_tensors="pt",
                return_token_type_ids=model.config.type_vocab_size > 1,
            )
            with torch.inference_mode():
                scores += model(**inputs).logits.reshape(-1).tolist()
        return scores

    return run


def measure_latency(
    config: BenchConfig, engine: SearchEngine, queries: Sequence[str]
) -> dict[int, dict[str, float]]:
    """Milliseconds per query with and without the rerank stage, and what it adds, by number of clients."""
    found = {}
    with closing(SearchPipeline(engine, max_batch=64)) as pipeline:
        for clients in config.clients:
            taken: dict[int | None, list[float]] = {None: [], 0: []}
            for _ in range(config.repeats):
                for rerank_top_n, times in taken.items():
                    times += window(config, pipeline, queries, clients, rerank_top_n)
            reranked, plain = (statistics.mean(times) * 1000 for times in taken.values())
            found[clients] = {
                "reranked_ms": reranked,
                "plain_ms": plain,
                "added_ms": reranked - plain,
                "queries": len(taken[None]),
            }
    return found


def window(
    config: BenchConfig,
    pipeline: SearchPipeline,
    queries: Sequence[str],
    clients: int,
    rerank_top_n: int | None,
) -> list[float]:
    """The seconds of each query that was asked in one window."""
    end = time.perf_counter() + config.seconds
    taken: list[float] = []

    def ask(first: int) -> None:
        for query in itertools.cycle([*queries[first:], *queries[:first]]):
            begun = time.perf_counter()
            if begun > end:
                return
            pipeline.run([query], 5, timeout=600, rerank_top_n=rerank_top_n)
            taken.append(time.perf_counter() - begun)

    threads = [threading.Thread(target=ask, args=(at * len(queries) // clients,)) for at in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken


def show_speed(console: Console, config: BenchConfig, speeds: dict[str, Speed]) -> None:
    """The table of pairs."""
    title = f"{config.threads} of {os.cpu_count()} cores"
    table = Table("line", "pairs per CPU-s", "pairs per s", "against the loop", title=title)
    for label, speed in speeds.items():
        ratio = speed.per_cpu_second / speeds[LOOP].per_cpu_second
        table.add_row(label, f"{speed.per_cpu_second:.1f}", f"{speed.per_second:.1f}", f"{ratio:.2f}")
    console.print(table)


def show_latency(console: Console, config: BenchConfig, latencies: dict[int, dict[str, float]]) -> None:
    """The table of milliseconds."""
    table = Table("clients", "without (ms)", "reranked (ms)", "added (ms)", title=f"top {config.top_n}, int8")
    for clients, row in latencies.items():
        table.add_row(str(clients), *(f"{row[key]:.1f}" for key in ("plain_ms", "reranked_ms", "added_ms")))
    console.print(table)


def record_of(speeds: dict[str, Speed], latencies: dict[int, dict[str, float]]) -> dict[str, Any]:
    """What was measured as plain data."""
    return {
        "pairs_per_cpu_second": {label: round(speed.per_cpu_second, 1) for label, speed in speeds.items()},
        "ratio": round(speeds[STAGE].per_cpu_second / speeds[LOOP].per_cpu_second, 2),
        "latency": {
            str(clients): {key: round(value, 1) for key, value in row.items()}
            for clients, row in latencies.items()
        },
    }


if __name__ == "__main__":
    run_main(main)
