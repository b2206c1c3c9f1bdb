"""An encoder on real questions: int8 against fp32, and recall of gold passages by dense, BM25 and
hybrid search.

    python scripts/bench/encoders.py corpus=CORPUS.jsonl questions=QUESTIONS.jsonl index_dir=indexes/real

A question row needs `question` and `gold_ids` (ids in the corpus). The index is built by this project's
builder if it is not there yet. Overlap is measured on a pool: the gold passages and the first others,
`pool` in all. Without the files nothing is measured and the JSON line says so. The last line is one
JSON object.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

from src_core.config import config_class, load_config  # noqa: E402
from src_core.errors import run_main  # noqa: E402
from src_core.jsonl import read_jsonl  # noqa: E402
from src_core.progress import Steps  # noqa: E402
from src_retrieval.build import build_index  # noqa: E402
from src_retrieval.build_plan import BuildConfig  # noqa: E402
from src_retrieval.corpus import Corpus  # noqa: E402
from src_retrieval.encoders.base import EncoderOptions, Precision  # noqa: E402
from src_retrieval.encoders.load import load_encoder  # noqa: E402
from src_retrieval.engine import EngineConfig, SearchEngine, open_engine  # noqa: E402

DEPTHS = (2, 5, 10)
KINDS = ("flat", "bm25", "hybrid")


@config_class
class BenchConfig:
    """`count` questions are used; `pool` 0 leaves out the comparison of int8 and fp32."""

    corpus: str
    questions: str
    index_dir: str
    encoder: str = "e5-small"
    precision: Precision = Precision.INT8
    threads: int = 2
    count: int = 200
    pool: int = 4_000


def main() -> None:
    """Build, measure recall, measure overlap."""
    config = load_config(BenchConfig, None, sys.argv[1:])
    console = Console(width=110)
    missing = [path for path in (config.corpus, config.questions) if not Path(path).is_file()]
    if missing:
        print(json.dumps({"skipped": f"no file {missing[0]}"}))
        return
    rows = [row for row in read_jsonl(Path(config.questions)) if row.get("gold_ids")][: config.count]
    os.chdir(REPO)
    recall = recall_table(config, rows, console)
    overlap = overlap_table(config, rows, console) if config.pool else {}
    print(json.dumps({"encoder": config.encoder, "questions": len(rows), "recall": recall, "int8": overlap}))


def options(config: BenchConfig, precision: Precision) -> EncoderOptions:
    """How to run the encoder."""
    return EncoderOptions(precision=precision, threads=config.threads)


def engine_of(config: BenchConfig, kind: str) -> SearchEngine:
    """One half of the hybrid index, or all of it."""
    return open_engine(
        EngineConfig(
            retrieval_method=config.encoder,
            index_path=config.index_dir,
            corpus_path=config.corpus,
            type=kind,
            encoding=options(config, config.precision),
        )
    ).engine


def recall_table(config: BenchConfig, rows: list[dict[str, Any]], console: Console) -> dict[str, Any]:
    """Recall@k: the mean share of a question's gold passages in the first k; in brackets, questions
    with all.
    """
    build = BuildConfig(
        corpus=config.corpus,
        index_dir=config.index_dir,
        encoder=config.encoder,
        encoding=options(config, config.precision),
    )
    manifest = build_index(build, steps=Steps(Console(stderr=True)))
    table = Table(
        title=f"{len(rows)} questions, {manifest.rows} passages, {config.encoder} {config.precision}"
    )
    table.add_column("search")
    for depth in DEPTHS:
        table.add_column(f"recall@{depth} (all)", justify="right")
    figures: dict[str, Any] = {"passages": manifest.rows, "build_seconds": manifest.build_seconds}
    for kind in KINDS:
        engine = engine_of(config, kind)
        found = engine.search([row["question"] for row in rows], [max(DEPTHS)] * len(rows))
        cells = []
        for depth in DEPTHS:
            shares = [
                share(engine.corpus, [result.row for result in results[:depth]], row["gold_ids"])
                for row, results in zip(rows, found, strict=True)
            ]
            mean, whole = 100 * float(np.mean(shares)), 100 * float(np.mean([one == 1.0 for one in shares]))
            cells.append(f"{mean:.1f} ({whole:.1f})")
            figures[f"{kind}@{depth}"] = [round(mean, 1), round(whole, 1)]
        table.add_row(kind, *cells)
    console.print(table)
    return figures


def share(corpus: Corpus, found: Sequence[int], gold: Sequence[str]) -> float:
    """How much of `gold` is in `found`."""
    return sum(corpus.row_of(name) in found for name in gold) / len(gold)


def overlap_table(config: BenchConfig, rows: list[dict[str, Any]], console: Console) -> dict[str, float]:
    """Mean overlap of the ten best passages with those of fp32 on both sides, and the rates."""
    corpus = engine_of(config, "bm25").corpus
    gold = {corpus.row_of(name) for row in rows for name in row["gold_ids"]}
    fill = (at for at in range(len(corpus)) if at not in gold)
    chosen = [at for at in gold if at is not None]
    chosen += [next(fill) for _ in range(min(config.pool, len(corpus)) - len(chosen))]
    passages = [corpus.row(at).contents for at in chosen]
    texts = [row["question"] for row in rows]
    queries: dict[str, NDArray[np.float32]] = {}
    vectors: dict[str, NDArray[np.float32]] = {}
    rates: dict[str, float] = {}
    for precision in Precision:
        encoder = load_encoder(config.encoder, options(config, precision))
        queries[precision] = encoder.encode_queries(texts)
        begin = time.process_time()
        vectors[precision] = encoder.encode_passages(passages)
        rates[precision] = len(passages) / (time.process_time() - begin)
    place = {row: at for at, row in enumerate(chosen)}
    golds = [
        [place[number] for name in row["gold_ids"] if (number := corpus.row_of(name)) is not None]
        for row in rows
    ]
    truth = best(queries["fp32"], vectors["fp32"])
    pairs = (("int8", "int8"), ("int8", "fp32"), ("fp32", "int8"))
    figures = {f"queries {a}, passages {b}": overlap(best(queries[a], vectors[b]), truth) for a, b in pairs}
    for precision in Precision:
        found = best(queries[precision], vectors[precision])[:, :5].tolist()
        shares = [sum(at in five for at in gold) / len(gold) for five, gold in zip(found, golds, strict=True)]
        figures[f"{precision}: recall@5 of gold passages"] = round(float(np.mean(shares)), 4)
    table = Table(title=f"overlap of the ten best of {len(passages)} passages with fp32")
    table.add_column("which")
    table.add_column("overlap@10", justify="right")
    for name, value in figures.items():
        table.add_row(name, f"{value:.4f}")
    for name, rate in rates.items():
        table.add_row(f"{name}: passages per CPU-second", f"{rate:.1f}")
        figures[f"{name} passages per CPU-second"] = round(rate, 1)
    console.print(table)
    return figures


def best(queries: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """The ten nearest, by exact search."""
    order: NDArray[np.int64] = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    return order


def overlap(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Mean share of common rows."""
    return round(float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(one, other, strict=True)])), 4)


if __name__ == "__main__":
    run_main(main)
