"""The same questions, by the same vectors, in every index and store: exact searches find the same passages,
and of the others it is said how many they find (`scripts/bench/backends.py`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_stores import CLIENTS
from rich.console import Console

from src_core.errors import UserError
from src_retrieval.results import Hits

BENCH = Path(__file__).resolve().parent.parent / "scripts" / "bench"
ROWS, QUERIES = 300, 20
TABLE = {
    "flat": ["flat", "hnsw"],
    "pgvector": ["pgvector exact", "pgvector hnsw"],
    "qdrant": ["qdrant exact"],
    "milvus": ["milvus exact"],
    "lancedb": ["lancedb exact"],
}


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    sys.path.insert(0, str(BENCH))
    try:
        import backends

        yield backends
    finally:
        sys.path.remove(str(BENCH))


@pytest.fixture(scope="module")
def work(bench: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("same")
    config = bench.BenchConfig(rows=ROWS, dim=32, queries=QUERIES)
    assert bench.prepare(config, folder, Console(quiet=True)) == ROWS
    return folder


def test_the_table_has_every_store(bench: Any) -> None:
    exact = {variant.kind for variant in bench.VARIANTS.values() if variant.exact}
    assert exact == {"flat", *CLIENTS} == set(TABLE)


@pytest.mark.parametrize("kind", list(TABLE))
def test_the_same_questions_get_the_same_passages(
    bench: Any, work: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QDRANT_URL", raising=False)
    for name in TABLE[kind]:
        measured = bench.measure(name, work, batch=8, seconds=0.02)
        assert measured.queries == QUERIES
        if bench.VARIANTS[name].exact:
            assert (name, measured.same) == (name, QUERIES)
        assert 0.8 <= measured.recall <= 1.0
        assert measured.queries_per_second > 0


def test_a_missing_or_another_passage_is_not_the_same(bench: Any) -> None:
    from store_variants import is_same

    def hits(rows: list[int], scores: list[float]) -> Hits:
        return Hits(np.array([rows]), np.array([scores], dtype=np.float32))

    exact = hits([4, 9, 2], [0.9, 0.5, 0.4])
    assert is_same(exact, exact, 0)
    assert is_same(exact, hits([4, 9, 7], [0.9, 0.5, 0.4]), 0)  # as near as the last one
    assert not is_same(exact, hits([4, 7, 2], [0.9, 0.5, 0.4]), 0)
    assert not is_same(exact, hits([4, 9, 7], [0.9, 0.5, 0.3]), 0)
    assert not is_same(exact, hits([4, 9, -1], [0.9, 0.5, 0.0]), 0)


@pytest.mark.parametrize(
    ("same", "status", "said"), [(20, 0, ""), (19, 1, "lancedb exact has other passages than exact search")]
)
def test_an_exact_search_with_other_passages_fails_the_command(
    bench: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    same: int,
    status: int,
    said: str,
) -> None:
    row = dict.fromkeys(("load_seconds", "rows_per_second", "queries_per_second"), 1.0)
    row |= {"queries_per_cpu_second": 1.0, "recall": 1.0, "megabytes": 1.0, "queries": 20}
    monkeypatch.setattr(bench, "prepare", lambda *_: ROWS)
    monkeypatch.setattr(
        bench, "run_variant", lambda name, _: {**row, "same": same if "lance" in name else 20}
    )
    monkeypatch.setattr(sys, "argv", ["backends.py", "variants=[flat,hnsw,lancedb exact]"])
    assert bench.main() == status
    lines = capsys.readouterr().out.splitlines()
    assert set(json.loads(lines[-1])["variants"]) == {"flat", "hnsw", "lancedb exact"}
    assert said in lines[-2]
    monkeypatch.setattr(bench, "run_variant", lambda *_: None)
    assert bench.main() == 1
    assert "flat could not be measured" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["backends.py", "variants=[solr]"])
    with pytest.raises(UserError, match=r"no variant is called 'solr'; there are: flat, "):
        bench.main()
