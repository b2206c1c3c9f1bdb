"""What an index of 21 million passages needs of the builder, and of the benchmark that makes it: stages go
on after a kill, no float32 vectors where fp16 are enough, the same index whichever way it was made.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from test_retrieval_build import QUIET, config, make_corpus
from test_retrieval_indexes import random_texts

from src_core.errors import UserError
from src_retrieval.build import build_index
from src_retrieval.encoders.toy import ToyEncoder
from src_retrieval.layout import IndexLayout
from src_retrieval.sparse import bm25_build, bm25_collect
from src_retrieval.sparse.bm25_build import build_bm25
from src_retrieval.vector import faiss

BENCH = Path(__file__).resolve().parents[1] / "scripts/bench"
sys.path.append(str(BENCH))

import scale_table  # noqa: E402
import scale_text  # noqa: E402
import scale_vectors  # noqa: E402
from memory_limit import limited  # noqa: E402
from scale_config import ScaleConfig, measured  # noqa: E402
from synthetic import Clustered, hand_over  # noqa: E402

ROWS = 1_200


class StoppedError(Exception):
    """Stands for a kill."""


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("part", [0, 90, 140, 270])
def test_words_that_a_killed_build_left_are_not_split_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr(bm25_collect, "DOCS_PER_CHUNK", 20)
    monkeypatch.setattr(bm25_collect, "PASSAGES_PER_SAVE", 60)
    texts = random_texts(300)
    asked: list[int] = []

    def some(start: int, stop: int) -> list[str]:
        asked.append(start)
        return texts[start:stop]

    def breaks(start: int, stop: int) -> list[str]:
        if start >= part:
            raise StoppedError
        return texts[start:stop]

    build_bm25(tmp_path / "whole", some, 300, QUIET)
    with pytest.raises(StoppedError):
        build_bm25(tmp_path / "killed", breaks, 300, QUIET)
    with (tmp_path / "killed" / "postings.tokens").open("ab") as torn:
        torn.write(b"torn")
    asked.clear()
    build_bm25(tmp_path / "killed", some, 300, QUIET)
    assert asked[0] == part // 60 * 60
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def test_a_record_without_its_files_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bm25_build.Finisher, "finish", lambda *_: (_ for _ in ()).throw(StoppedError))
    texts = random_texts(50)
    with pytest.raises(StoppedError):
        build_bm25(tmp_path, lambda start, stop: texts[start:stop], 50, QUIET)
    monkeypatch.undo()
    (tmp_path / "postings.sizes").unlink()
    build_bm25(tmp_path, lambda start, stop: texts[start:stop], 50, QUIET)
    assert not list(tmp_path.glob("postings*"))


def test_passages_of_pairs_are_found_across_blocks_and_empty_passages() -> None:
    ends = np.cumsum([2, 0, 3, 0, 0, 1])
    whole = [0, 0, 2, 2, 2, 5]
    for start in range(6):
        for stop in range(start + 1, 7):
            found = bm25_build._passages(ends, slice(start, stop)).tolist()
            assert found == whole[start:stop]


def test_a_pq_build_writes_no_float32_and_refines_with_the_vectors_of_the_encoder(tmp_path: Path) -> None:
    texts = make_corpus(tmp_path / "corpus.jsonl", ROWS)
    seen: set[str] = set()
    watching = [True]

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "open":
            seen.add(Path(str(arguments[0])).name)

    sys.addaudithook(watch)
    build_index(config(tmp_path, type="pq"), steps=QUIET)
    watching.clear()
    assert "vectors.f16" in seen
    assert not seen & {"vectors.f32", "contents.u64"}
    vectors = np.fromfile(tmp_path / "index" / "vectors.f16", dtype=np.float16).reshape(ROWS, -1)
    assert np.array_equal(vectors, ToyEncoder().encode_passages(texts).astype(np.float16))
    build_index(config(tmp_path, index_dir=tmp_path / "kept", type="pq", keep_vectors=True), steps=QUIET)
    assert (tmp_path / "kept" / "vectors.f16").read_bytes() == vectors.tobytes()
    assert {"vectors.f32", "contents.u64"} < set(files_of_index(tmp_path / "kept"))


def files_of_index(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def stop_in_words(monkeypatch: pytest.MonkeyPatch, folder: Path, **changes: object) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(bm25_build.Finisher, "finish", lambda *_: (_ for _ in ()).throw(StoppedError))
        with pytest.raises(StoppedError):
            build_index(config(folder, **changes), steps=QUIET)


def test_a_finished_half_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_corpus(tmp_path / "corpus.jsonl", ROWS)
    built: list[int] = []
    build_pq = faiss.build_pq
    monkeypatch.setattr(faiss, "build_pq", lambda *given: (built.append(1), build_pq(*given))[1])
    stop_in_words(monkeypatch, tmp_path, dense="pq")
    stop_in_words(monkeypatch, tmp_path, dense="pq")
    divided: list[int] = []
    monkeypatch.setattr(bm25_collect.Field, "add", lambda *_: divided.append(1))
    build_index(config(tmp_path, dense="pq"), steps=QUIET)
    assert (len(built), divided) == (1, [])
    names = set(files_of_index(tmp_path / "index"))
    assert {"pq.faiss", "vectors.f16", "bm25", "manifest.json"} < names
    assert not names & {"halves.json", "progress.json", "unfinished"}


def test_what_an_interrupted_build_holds_is_not_needed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_corpus(tmp_path / "corpus.jsonl", ROWS)

    def need() -> float:
        usage = shutil.disk_usage(tmp_path)
        with monkeypatch.context() as patch, pytest.raises(UserError) as told:
            patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=-(10**7)))
            build_index(config(tmp_path, dense="pq"), steps=QUIET)
        return float(str(told.value).split("needs ")[1].split(" MB")[0])

    before = need()
    stop_in_words(monkeypatch, tmp_path, dense="pq")
    unfinished = IndexLayout(tmp_path / "index").unfinished.root
    parts = ("vectors.f16", "pq.faiss", "bm25/postings.tokens", "bm25/postings.tf")
    held = sum((unfinished / name).stat().st_size for name in parts)
    assert before - need() >= held / 1e6 - 0.1 > 0.1


def test_what_another_plan_left_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_corpus(tmp_path / "corpus.jsonl", ROWS)
    stop_in_words(monkeypatch, tmp_path, dense="pq")
    left = set(files_of_index(tmp_path / "index" / "unfinished"))
    assert {"pq.faiss", "vectors.f16", "halves.json"} < left
    build_index(config(tmp_path, type="flat"), steps=QUIET)
    assert not set(files_of_index(tmp_path / "index")) & {"pq.faiss", "vectors.f16", "bm25", "halves.json"}
    make_corpus(tmp_path / "corpus.jsonl", ROWS)
    shutil.rmtree(tmp_path / "index")
    stop_in_words(monkeypatch, tmp_path, dense="pq")
    damaged = IndexLayout(tmp_path / "index").unfinished.halves
    for text in ("[1]", '{"vectors": 3}', "{", '{"vectors": {"kind": "../x", "finished": true}}'):
        damaged.write_text(text)
        stop_in_words(monkeypatch, tmp_path, dense="pq")
    assert build_index(config(tmp_path, dense="pq"), steps=QUIET).dense == "pq"


def drawn(dim: int = 64) -> Clustered:
    real = np.random.default_rng(3).normal(size=(40, dim)).astype(np.float32)
    return Clustered.around(real / np.linalg.norm(real, axis=1, keepdims=True), noise=0.7)


def test_blocks_are_drawn_again_alone_and_queries_are_none_of_them() -> None:
    first = drawn().block(7, 50)
    assert np.array_equal(first, drawn().block(7, 50))
    assert not np.array_equal(first, drawn().block(8, 50))
    assert np.allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)
    made_up = Clustered.made_up(1_000, 32).block(1, 10)
    assert made_up.shape == (10, 32)


def test_vectors_and_exact_neighbours_go_on_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale_vectors, "BLOCK", 100)
    monkeypatch.setattr(scale_vectors, "BLOCKS_PER_SAVE", 2)
    make_corpus(tmp_path / "corpus.jsonl", ROWS)
    built, source = config(tmp_path, type="pq"), drawn()
    queries = scale_vectors.queries_of(source, 9)

    def exact() -> scale_vectors.Exact:
        return scale_vectors.Exact(tmp_path / "exact.npz", queries, key="k")

    block, left = Clustered.block, [5]

    def breaks(self: Clustered, number: int, count: int) -> np.ndarray:
        left[0] -= 1
        if left[0] < 0:
            raise StoppedError
        return block(self, number, count)

    monkeypatch.setattr(Clustered, "block", breaks)
    with pytest.raises(StoppedError):
        scale_vectors.make_vectors(built, source, exact(), ROWS, QUIET)
    assert exact().rows == 400
    left[0] = 1_000
    scale_vectors.make_vectors(built, source, exact(), ROWS, QUIET)
    vectors = np.concatenate([source.block(number, 100) for number in range(1, 13)])
    path = IndexLayout(tmp_path / "index").unfinished.half_vectors
    assert np.array_equal(np.fromfile(path, dtype=np.float16).reshape(ROWS, 64), vectors.astype(np.float16))
    true = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    assert [set(row) for row in exact().found.tolist()] == [set(row) for row in true.tolist()]
    assert scale_vectors.Exact(tmp_path / "exact.npz", queries, key="other").rows == 0
    monkeypatch.setattr(ToyEncoder, "encode_passages", lambda *_, **__: pytest.fail("encoded again"))
    assert build_index(built, steps=QUIET).rows == ROWS


def test_vectors_that_are_handed_over_are_those_of_the_index(tmp_path: Path) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 60)
    given = drawn().block(1, 60)
    built = config(tmp_path, type="flat")
    hand_over(built, lambda first: iter([given[first:]]))
    build_index(built, steps=QUIET)
    assert np.array_equal(np.fromfile(tmp_path / "index" / "vectors.f32", dtype=np.float32), given.ravel())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows: Sequence[dict[str, str]] = [
        {"id": "a", "title": 'A "quoted" title', "text": "One sentence is here. Another one\\ follows it."},
        {"id": "b", "title": "Ünïcode", "text": "A third sentence is short. " + "x" * 500 + "."},
        {"id": "c", "title": "t" * 200, "text": "The fourth sentence ends."},
    ]
    path = tmp_path / "source.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_a_corpus_of_any_size_goes_on_after_a_kill_and_can_be_indexed(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale_text, "BLOCK", 10)
    pieces = scale_text.pieces_of(source, sentence_bytes=60)
    assert (len(pieces.titles), len(pieces.sentences)) == (2, 3)
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    scale_text.write_corpus(whole, pieces, 605, key="k", steps=QUIET)
    block, left = scale_text.block, [40]

    def breaks(*given: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise StoppedError
        return block(*given)

    with monkeypatch.context() as patch:
        patch.setattr(scale_text, "block", breaks)
        with pytest.raises(StoppedError):
            scale_text.write_corpus(killed, pieces, 605, key="k", steps=QUIET)
        left[0] = 40
        scale_text.write_corpus(killed, pieces, 605, key="k", steps=QUIET)
    assert killed.read_bytes() == whole.read_bytes()
    lines = [json.loads(line) for line in whole.read_text().splitlines()]
    assert [line["id"] for line in lines] == [str(at) for at in range(605)]
    assert len({line["contents"] for line in lines}) > 15
    assert build_index(config(tmp_path, corpus=whole, type="bm25"), steps=QUIET).rows == 605
    with pytest.raises(UserError, match="holds no titled passages"):
        scale_text.pieces_of(source, sentence_bytes=3)


def test_a_stage_adds_the_time_of_its_interrupted_runs(tmp_path: Path) -> None:
    settings = ScaleConfig(folder=str(tmp_path))
    with pytest.raises(StoppedError), measured(settings, "corpus"):
        raise StoppedError
    spent = settings.record("corpus").with_suffix(".spent")
    spent.write_text('{"seconds": 100.0, "cpu_seconds": 50.0}')
    with measured(settings, "corpus") as stage:
        stage.figures["rows"] = 3
    found = json.loads(settings.record("corpus").read_text())
    assert found["rows"] == 3
    assert found["seconds"] >= 100 and found["cpu_seconds"] >= 50
    assert not spent.is_file()


def test_the_table_shows_what_was_measured_and_leaves_out_what_was_not() -> None:
    load = {"queries_per_second": 9.0, "queries_per_cpu_second": 4.5, "p50_ms": 1.0, "p99_ms": 77.0}
    spent = {"seconds": 2.0, "cpu_seconds": 1.0}
    figures = {
        "build": {**spent, "private_mb": 1234.5, "bytes": {"pq.faiss": 2_000_000_000, "manifest.json": 900}},
        "limited": {**spent, "limit_gb": 8.0, "pq": {"start_seconds": 3, "private_mb": 5, "clients_8": load}},
        "words": {
            **spent,
            "rows": 500,
            "tantivy": {"queries_per_cpu_second": 8},
            "bm25s": {"installed": False},
        },
    }
    text = "\n".join(scale_table.markdown(figures))
    assert "| pq.faiss | 2.000 |" in text and "manifest" not in text
    assert "1,234 MB" in text
    assert "| pq | 8.0 GB | 3 | 5 | 8 | 9.0 | 4.5 | 77.0 | - |" in text
    assert "recall@10" not in text
    assert list(scale_table.markdown({})) == ["| stage | seconds | CPU-seconds |", "|---|---|---|", ""]


def test_a_limit_on_memory_is_one_or_none() -> None:
    with limited(1 << 30) as group:
        assert group is None or (group.cached() >= 0 and group.major_faults() >= 0)
