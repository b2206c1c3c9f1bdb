"""Our BM25 beside tantivy and bm25s on the same passages: CPU-seconds and memory of a build, bytes, rate and
memory of searches, overlap of the ten best.

    python scripts/bench/scale_words.py ours build CORPUS.jsonl FOLDER QUESTIONS.json

One side in this process (`ours`, `tantivy`, `bm25s`; `build`, `search`); prints one line of JSON. The stage
`words` of `scale.py` runs them all. A library that is missing is left out: pip install tantivy bm25s numba.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import orjson
from process_memory import Sampler
from rich.console import Console
from scale_config import ScaleConfig

from src_core.progress import Steps
from src_retrieval.build import build_index
from src_retrieval.build_plan import BuildConfig
from src_retrieval.sparse.bm25 import Bm25Index
from src_retrieval.sparse.bm25_build import tokenise

TOP_N = 10
MOST_QUESTIONS = 500
HEAP = 512 << 20
BATCH = 20_000


class Library(ABC):
    """Builds an index of a corpus in a folder, or opens one and searches it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def build(self, corpus: Path) -> None:
        """Write the index."""

    @abstractmethod
    def open(self) -> None:
        """Open it."""

    @abstractmethod
    def search(self, words: Sequence[str]) -> list[int]:
        """The numbers of the ten best passages, best first; `words` are those of bm25s, at least one."""


class Ours(Library):
    """The builder and the index of this project."""

    def build(self, corpus: Path) -> None:
        """See `Library.build`."""
        config = BuildConfig(corpus=str(corpus), index_dir=str(self.folder), type="bm25")
        build_index(config, steps=Steps(Console(quiet=True)))

    def open(self) -> None:
        """See `Library.open`."""
        self._index = Bm25Index(self.folder / "bm25")

    def search(self, words: Sequence[str]) -> list[int]:
        """See `Library.search`."""
        rows: list[int] = self._index.search([" ".join(words)], TOP_N).rows[0].tolist()
        return [row for row in rows if row >= 0]


class Tantivy(Library):
    """Tantivy: block-max WAND in Rust, by one thread."""

    def build(self, corpus: Path) -> None:
        """See `Library.build`."""
        import tantivy

        schema = tantivy.SchemaBuilder()
        schema.add_unsigned_field("row", stored=True)
        schema.add_text_field("text")
        self.folder.mkdir(parents=True)
        index = tantivy.Index(schema.build(), path=str(self.folder))
        writer = index.writer(HEAP, 1)
        for row, text in enumerate(itertools.chain.from_iterable(_texts(corpus))):
            writer.add_document(tantivy.Document(row=row, text=text))
        writer.commit()
        writer.wait_merging_threads()

    def open(self) -> None:
        """See `Library.open`."""
        import tantivy

        self._index = tantivy.Index.open(str(self.folder))
        self._searcher = self._index.searcher()

    def search(self, words: Sequence[str]) -> list[int]:
        """See `Library.search`."""
        query = self._index.parse_query(" ".join(words), ["text"])
        hits = self._searcher.search(query, TOP_N).hits
        return [int(self._searcher.doc(place)["row"][0]) for _, place in hits]


class Bm25s(Library):
    """bm25s: the scores of all passages for each query, from maps; by numba where that is installed."""

    def build(self, corpus: Path) -> None:
        """See `Library.build`."""
        import bm25s

        index = bm25s.BM25()
        passages = list(itertools.chain.from_iterable(_texts(corpus)))
        index.index(bm25s.tokenize(passages, show_progress=False), show_progress=False)
        index.save(str(self.folder))

    def open(self) -> None:
        """See `Library.open`."""
        import bm25s

        self._index = bm25s.BM25.load(str(self.folder), mmap=True)
        if find_spec("numba"):
            self._index.backend = "numba"
            self._index.activate_numba_scorer()

    def search(self, words: Sequence[str]) -> list[int]:
        """See `Library.search`."""
        known = [word for word in words if word in self._index.vocab_dict]
        if not known:
            return []
        found, _ = self._index.retrieve([known], k=TOP_N, show_progress=False, n_threads=1)
        return [int(row) for row in found[0]]


LIBRARIES: dict[str, type[Library]] = {"ours": Ours, "tantivy": Tantivy, "bm25s": Bm25s}


def compare(config: ScaleConfig, questions: Sequence[str], steps: Steps) -> dict[str, Any]:
    """The figures of each library over the first `compared_rows` passages."""
    root = config.root / "words"
    root.mkdir(exist_ok=True)
    part, asked = root / "corpus.jsonl", root / "questions.json"
    with config.corpus.open("rb") as lines, part.open("wb") as out:
        out.writelines(itertools.islice(lines, config.compared_rows))
    asked.write_bytes(orjson.dumps(list(questions)[:MOST_QUESTIONS]))
    figures: dict[str, Any] = {"rows": min(config.rows, config.compared_rows)}
    known: list[list[int]] = []
    for name in LIBRARIES:
        if name != "ours" and not find_spec(name):
            figures[name] = {"installed": False}
            continue
        shutil.rmtree(root / name, ignore_errors=True)
        with steps(f"building with {name}"):
            figures[name] = _run(name, "build", part, root / name, asked)
        with steps(f"searching with {name}"):
            figures[name] |= _run(name, "search", part, root / name, asked)
        found = figures[name].pop("found")
        known = known or found
        same = [len(set(a) & set(b)) / len(a) for a, b in zip(known, found, strict=True) if a]
        figures[name]["overlap_at_10_with_ours"] = round(sum(same) / len(same), 4)
    shutil.rmtree(root)
    return figures


def _run(name: str, what: str, corpus: Path, folder: Path, asked: Path) -> dict[str, Any]:
    """A build or the searches, in a process of its own, on one core."""
    command = [sys.executable, str(Path(__file__).resolve()), name, what, *map(str, (corpus, folder, asked))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    sampler = Sampler(process.pid, dirty=False)
    said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{name} ended with {process.returncode}")
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return {**found, f"{what}_private_mb": sampler.peak().anonymous}


def main() -> None:
    """One side in this process."""
    name, what, corpus, folder, asked = sys.argv[1:]
    library = LIBRARIES[name](Path(folder))
    if what == "build":
        figures = _built(library, Path(corpus))
    else:
        figures = _searched(library, json.loads(Path(asked).read_text()))
    print(json.dumps(figures))


def _texts(corpus: Path) -> Iterator[list[str]]:
    with corpus.open("rb") as lines:
        while part := list(itertools.islice(lines, BATCH)):
            yield [orjson.loads(line)["contents"] for line in part]


def _built(library: Library, corpus: Path) -> dict[str, Any]:
    begun, cpu = time.monotonic(), time.process_time()
    library.build(corpus)
    spent = {"build_seconds": time.monotonic() - begun, "build_cpu_seconds": time.process_time() - cpu}
    files = [path for path in library.folder.rglob("*") if path.is_file() and "corpus" not in path.name]
    figures = {name: round(value, 1) for name, value in spent.items()}
    return {**figures, "bytes": sum(path.stat().st_size for path in files)}


def _searched(library: Library, questions: Sequence[str]) -> dict[str, Any]:
    begun = time.monotonic()
    library.open()
    opened = time.monotonic() - begun
    asked = [words for words in tokenise(questions) if words]
    for words in asked:  # pages in, and whatever is compiled on first use
        library.search(words)
    times, found, cpu = [], [], time.process_time()
    for words in asked:
        begun = time.perf_counter()
        found.append(library.search(words))
        times.append(time.perf_counter() - begun)
    cpu = time.process_time() - cpu
    return {
        "open_seconds": round(opened, 2),
        "queries_per_cpu_second": round(len(asked) / cpu, 1),
        "p99_ms": round(1000 * sorted(times)[int(0.99 * len(times))], 2),
        "found": found,
    }


if __name__ == "__main__":
    main()
