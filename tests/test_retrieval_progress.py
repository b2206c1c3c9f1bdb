"""The log of an index build is never silent for long, whatever it does: also inside one long call
of FAISS.
"""

from __future__ import annotations

import io
import itertools
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers_wait import until
from rich.console import Console
from test_retrieval_build import config, make_corpus

from src_core.progress import Steps
from src_retrieval import corpus_scan
from src_retrieval.build import build_index
from src_retrieval.encoders.toy import ToyEncoder
from src_retrieval.sparse import bm25_build
from src_retrieval.vector.faiss_index import load_faiss

EVERY = 0.1
LONGEST_GAP = 20.0
"""Seconds: what a person who reads the log is promised."""


class Log(io.StringIO):
    """A log file that remembers when each line came."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[float, str]] = [(time.monotonic(), "begin")]

    def write(self, text: str) -> int:
        self.lines += [(time.monotonic(), line) for line in text.splitlines() if line.strip()]
        return len(text)


def slow(function: Callable[..., Any], log: Log) -> Callable[..., Any]:
    """The same function, when two more lines have come."""

    def run(*arguments: Any, **named: Any) -> Any:
        wanted = len(log.lines) + 2
        until(lambda: len(log.lines) >= wanted)
        return function(*arguments, **named)

    return run


STEPS = [
    r"[0-9]+ KiB/[0-9]+ KiB of corpus\.jsonl read, .* s left",
    r"0/1,200 passages encoded, .* s so far",
    r"training on 1,200 vectors, \d+ s so far",
    r"0/1,200 vectors added to the pq index, .* s so far",
    r"writing pq\.faiss, \d+ s so far",
    r"0/1,200 passages split into words, .* s so far",
    r"0/\d+,\d+ word occurrences scored, .* s so far",
]


def test_every_step_of_an_index_build_writes_lines_into_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faiss, log = load_faiss(), Log()
    make_corpus(tmp_path / "corpus.jsonl", 1_200)
    for owner, name in (
        (corpus_scan, "_sort_ids"),
        (ToyEncoder, "encode_passages"),
        (faiss.IndexPQFastScan, "train"),
        (faiss.IndexPQFastScan, "add"),
        (faiss, "write_index"),
        (bm25_build, "divided"),
        (bm25_build.Finisher, "_place"),
    ):
        monkeypatch.setattr(owner, name, slow(getattr(owner, name), log))
    build_index(config(tmp_path, dense="pq"), steps=Steps(Console(file=log, width=200), every=EVERY))
    text = "\n".join(line for _, line in log.lines)
    for step in STEPS:
        assert re.search(f"^{step}$", text, re.MULTILINE), f"{step} is not in:\n{text}"
    times = [moment for moment, _ in log.lines]
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) < LONGEST_GAP
    assert log.lines[-1][1].startswith("index ready in ")
