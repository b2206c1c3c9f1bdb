"""Word indexes compared on questions with gold passages: recall, milliseconds per query, and how far their
rankings agree with the analyser `english`.

    python scripts/bench/words.py data=../shared/data
    python scripts/bench/words.py jars=lucene host=http://127.0.0.1:9200       Lucene, Elasticsearch as well

`data` is a folder with `corpus.jsonl` and question files `NAME.SPLIT.jsonl` with `gold_ids`. `jars` holds
Lucene 8.7 (`lucene_index.py`). `host` is an Elasticsearch; its index `INDEX` is made from the corpus, or
completed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lucene_index import Lucene
from rich.console import Console
from rich.table import Table

from src_core.config import config_class, load_config
from src_core.errors import run_main
from src_core.jsonl import read_jsonl
from src_core.progress import Steps
from src_retrieval.build import build_index
from src_retrieval.build_plan import BuildConfig
from src_retrieval.engine import EngineConfig, open_engine

SETS = ("hotpotqa", "2wikimultihopqa", "musique", "nq")
DEPTHS = (2, 5, 10)
OVERLAP = (3, 10)
INDEX = "words_bench"
Search = Callable[[Sequence[str]], list[list[str]]]


@config_class
class WordsConfig:
    """See the text of the module. `most` questions of each set are asked; 0: all."""

    data: str = "../shared/data"
    split: str = "dev"
    jars: str = ""
    host: str = ""
    most: int = 0


class Asked(NamedTuple):
    """The questions of a set, and the gold ids of each."""

    queries: list[str]
    golds: list[set[str]]


def main() -> None:
    """Print the tables."""
    config = load_config(WordsConfig, None, sys.argv[1:])
    console = Console()
    sets = {name: _asked(config, name) for name in SETS}
    queries = [query for asked in sets.values() for query in asked.queries]
    rankings: dict[str, list[list[str]]] = {}
    recall = Table("index", *(f"{name} @{'/'.join(map(str, DEPTHS))}" for name in SETS), "ms per query")
    with tempfile.TemporaryDirectory() as folder:
        for name, search in _searches(config, Path(folder), console).items():
            search(queries[:20])
            begun = time.perf_counter()
            rankings[name] = search(queries)
            spent = 1000 * (time.perf_counter() - begun) / len(queries)
            recall.add_row(name, *_recalls(sets, rankings[name]), f"{spent:.2f}")
    console.print(recall)
    agreement = Table("ranking", *(f"overlap@{depth} with english" for depth in OVERLAP), "same first")
    for name, found in rankings.items():
        agreement.add_row(name, *_agreement(rankings["english"], found))
    console.print(agreement)


def _asked(config: WordsConfig, name: str) -> Asked:
    rows = [
        row for row in read_jsonl(Path(config.data) / f"{name}.{config.split}.jsonl") if row.get("gold_ids")
    ]
    rows = rows[: config.most or None]
    return Asked([row["question"] for row in rows], [set(row["gold_ids"]) for row in rows])


def _searches(config: WordsConfig, folder: Path, console: Console) -> dict[str, Search]:
    corpus = Path(config.data) / "corpus.jsonl"
    searches = {
        name: _engine(corpus, folder / name, console, type="bm25", **{"sparse_options.analyzer": name})
        for name in ("words", "english")
    }
    if config.jars:
        searches["Lucene 8.7"] = _lucene(Path(config.jars), corpus, console)
    if config.host:
        options = {"sparse_options.host": config.host, "sparse_options.index": INDEX}
        searches["Elasticsearch"] = _engine(
            corpus, folder / "server", console, type="elasticsearch", **options
        )
    return searches


def _engine(corpus: Path, folder: Path, console: Console, **settings: str) -> Search:
    steps = Steps(console)
    given = [f"{key}={value}" for key, value in settings.items()]
    begun = time.perf_counter()
    built = build_index(
        load_config(BuildConfig, None, [f"corpus={corpus}", f"index_dir={folder}", *given]), steps=steps
    )
    console.print(f"{settings}: {built.rows / (time.perf_counter() - begun):.0f} passages per second")
    paths = [f"corpus_path={corpus}", f"index_path={folder}", "retrieval_method=none"]
    engine = open_engine(load_config(EngineConfig, None, [*paths, *given])).engine

    def search(queries: Sequence[str]) -> list[list[str]]:
        found = []
        for at in range(0, len(queries), 64):
            part = queries[at : at + 64]
            found += engine.search(part, [max(DEPTHS)] * len(part))
        return [[engine.corpus.row(result.row).id for result in rows] for rows in found]

    return search


def _lucene(jars: Path, corpus: Path, console: Console) -> Search:
    rows = list(read_jsonl(corpus))
    begun = time.perf_counter()
    lucene = Lucene(jars, [f"{row['title']}\n{row['text']}" for row in rows])
    console.print(f"Lucene: {len(rows) / (time.perf_counter() - begun):.0f} passages per second")
    ids = [str(row["id"]) for row in rows]
    return lambda queries: [[ids[row] for row, _ in lucene.search(query, max(DEPTHS))] for query in queries]


def _recalls(sets: dict[str, Asked], found: list[list[str]]) -> list[str]:
    cells, at = [], 0
    for asked in sets.values():
        mine = found[at : at + len(asked.queries)]
        at += len(mine)
        means = [
            sum(len(gold & set(ids[:depth])) / len(gold) for gold, ids in zip(asked.golds, mine, strict=True))
            / max(len(mine), 1)
            for depth in DEPTHS
        ]
        cells.append(" / ".join(f"{100 * mean:.1f}" for mean in means))
    return cells


def _agreement(ours: list[list[str]], theirs: list[list[str]]) -> list[str]:
    pairs = list(zip(ours, theirs, strict=True))
    shares = [
        sum(len(set(a[:depth]) & set(b[:depth])) / max(len(a[:depth]), len(b[:depth]), 1) for a, b in pairs)
        for depth in OVERLAP
    ]
    same = sum(a[:1] == b[:1] for a, b in pairs)
    return [f"{share / len(pairs):.4f}" for share in shares] + [f"{same} of {len(pairs)}"]


if __name__ == "__main__":
    run_main(main)
