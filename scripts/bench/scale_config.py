"""What the stages of the benchmark of scale share: its settings, its folder, the record of a stage."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import orjson

from src_core.config import Positive, config_class
from src_core.jsonl import write_atomic
from src_retrieval.layout import IndexLayout

WIKI18_ROWS = 21_015_324


@config_class
class ScaleConfig:
    """`rows` passages of two sentences of at most `sentence_bytes` bytes each are made from the passages of
    `source`. Vectors are drawn around those of `centres` of these passages, with `noise`
    (`Clustered.around`). `queries` vectors are compared with exact search; questions of `questions` are asked
    over HTTP by `clients` at once, for `seconds` each. `limit_gb` is all the memory that a server may use in
    the stage `limited`, page cache included. `compared_rows` passages are indexed by each library of the
    stage `words`. Everything is in `folder`.
    """

    rows: Positive = WIKI18_ROWS
    folder: str = "indexes/scale"
    source: str = "../shared/data/corpus.jsonl"
    questions: tuple[str, ...] = ("../shared/data/hotpotqa.dev.jsonl", "../shared/data/nq.dev.jsonl")
    encoder: str = "e5-small"
    centres: Positive = 10_000
    noise: float = 0.7
    sentence_bytes: Positive = 160
    queries: Positive = 200
    clients: tuple[int, ...] = (1, 8, 32)
    seconds: float = 60.0
    limit_gb: float = 8.0
    threads: Positive = 2
    compared_rows: Positive = 500_000
    index: str = "configs/index_wiki18.yaml"

    @property
    def root(self) -> Path:
        """The folder of all files."""
        return Path(self.folder)

    @property
    def corpus(self) -> Path:
        """The passages."""
        return self.root / "corpus.jsonl"

    @property
    def layout(self) -> IndexLayout:
        """The index."""
        return IndexLayout(self.root / "index")

    def build_settings(self) -> list[str]:
        """The settings of the builder beside `index`: its file says what is usual for wiki18 on a GPU."""
        return [
            *(f"corpus={self.corpus}", f"index_dir={self.layout.root}", f"encoder={self.encoder}"),
            *("type=hybrid", "dense=pq", "encoding.device=cpu", "encoding.family="),
        ]

    def record(self, stage: str) -> Path:
        """The figures of a finished stage."""
        return self.root / "figures" / f"{stage}.json"


@dataclasses.dataclass(slots=True)
class Stage:
    """A stage that is being measured: `figures` are written when it ends."""

    figures: dict[str, Any] = dataclasses.field(default_factory=dict)


@contextmanager
def measured(config: ScaleConfig, name: str) -> Iterator[Stage]:
    """Writes the figures of a stage with its seconds and CPU-seconds, of this process and those that it
    started. Time of an interrupted run is added.
    """
    stage, path = Stage(), config.record(name)
    spent, begun, cpu = path.with_suffix(".spent"), time.monotonic(), _cpu()
    earlier = json.loads(spent.read_text()) if spent.is_file() else {"seconds": 0.0, "cpu_seconds": 0.0}
    path.parent.mkdir(parents=True, exist_ok=True)
    ended = False
    try:
        yield stage
        ended = True
    finally:
        total = {
            "seconds": round(earlier["seconds"] + time.monotonic() - begun, 1),
            "cpu_seconds": round(earlier["cpu_seconds"] + _cpu() - cpu, 1),
        }
        write_atomic(
            path if ended else spent, orjson.dumps({**stage.figures, **total}, option=orjson.OPT_INDENT_2)
        )
        if ended:
            spent.unlink(missing_ok=True)


def key(config: ScaleConfig) -> str:
    """What a folder was made with: another one is not mixed in."""
    facts = (config.rows, config.centres, config.noise, config.sentence_bytes, config.encoder)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _cpu() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
