"""The index builder: resumes after kill -9, refuses what cannot work, writes the manifest last."""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers_wait import PATIENCE, until
from rich.console import Console

from src_core.config import load_config
from src_core.errors import UserError
from src_core.progress import Steps
from src_retrieval import build_plan
from src_retrieval.build import build_index
from src_retrieval.build_plan import BuildConfig
from src_retrieval.encoders.toy import ToyEncoder
from src_retrieval.engine import EngineConfig, open_engine
from src_retrieval.identity import describe
from src_retrieval.layout import HYBRID, IndexLayout, read_manifest
from src_retrieval.sparse import sparse_kinds
from src_retrieval.vector import vector_kinds

QUIET = Steps(Console(quiet=True))
ROWS = 1_500


def make_corpus(path: Path, rows: int) -> list[str]:
    texts = [f"Title {at}\nrow {at} talks of word{at % 50} and word{at % 7}" for at in range(rows)]
    lines = (json.dumps({"id": f"d{at}", "contents": text}) for at, text in enumerate(texts))
    path.write_text("\n".join(lines))
    return texts


def settings(folder: Path, **changes: object) -> list[str]:
    values: dict[str, object] = {
        "corpus": folder / "corpus.jsonl",
        "index_dir": folder / "index",
        "encoder": "toy",
        **changes,
    }
    return [f"{key}={value}" for key, value in values.items()]


def config(folder: Path, **changes: object) -> BuildConfig:
    return load_config(BuildConfig, None, settings(folder, **changes))


def engine_config(folder: Path, **changes: object) -> EngineConfig:
    values = {
        "retrieval_method": "toy",
        "index_path": folder / "index",
        "corpus_path": folder / "corpus.jsonl",
        **changes,
    }
    return load_config(EngineConfig, None, [f"{key}={value}" for key, value in values.items()])


def rows_done(layout: IndexLayout) -> int:
    return int(json.loads(layout.progress.read_bytes())["rows_done"]) if layout.progress.is_file() else 0


def test_a_killed_build_goes_on_where_it_stopped(tmp_path: Path) -> None:
    texts = make_corpus(tmp_path / "corpus.jsonl", ROWS)
    finished = IndexLayout(tmp_path / "index")
    layout = finished.unfinished
    command = [sys.executable, "-m", "src_retrieval.build", *settings(tmp_path, chunk_rows=10)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE
    while rows_done(layout) < 50 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = rows_done(layout)
    assert 50 <= done < ROWS
    assert not layout.manifest.is_file()
    # A torn chunk behind the saved rows, and a mark in a saved row that only encoding it again would remove.
    with layout.vectors.open("r+b") as handle:
        handle.write(np.full(64, 9.0, dtype=np.float32).tobytes())
        handle.seek(0, os.SEEK_END)
        handle.write(b"torn")
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, timeout=PATIENCE)
    vectors = np.fromfile(finished.vectors, dtype=np.float32).reshape(ROWS, 64)
    assert (vectors[0] == 9.0).all()
    assert np.array_equal(vectors[1:], ToyEncoder().encode_passages(texts)[1:])
    manifest = read_manifest(finished)
    assert manifest is not None
    assert manifest.rows == ROWS
    assert not layout.root.exists()


def test_a_finished_index_is_left_alone_and_replaced_only_on_demand(tmp_path: Path) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 40)
    first = build_index(config(tmp_path), steps=QUIET)
    stamp = (tmp_path / "index" / "manifest.json").stat().st_mtime_ns
    assert build_index(config(tmp_path), steps=QUIET) == first
    assert (tmp_path / "index" / "manifest.json").stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match=r"another encoder.*overwrite=true"):
        build_index(config(tmp_path, encoder="toy:32"), steps=QUIET)
    make_corpus(tmp_path / "corpus.jsonl", 41)
    with pytest.raises(UserError, match="another corpus"):
        build_index(config(tmp_path), steps=QUIET)
    (tmp_path / "index" / "ivf.shard3").write_bytes(b"left by a killed build")
    assert build_index(config(tmp_path, overwrite=True, type="flat"), steps=QUIET).rows == 41
    assert not (tmp_path / "index" / "ivf.shard3").exists()
    assert not (tmp_path / "index" / "bm25").exists()


OUTSIDE = {"elasticsearch", "opensearch", "pgvector", "qdrant", "milvus", "lancedb"}
"""Kinds that have a place of their own, with tests of their own."""
HERE = [kind for kind in [*vector_kinds(), *sparse_kinds()] if kind not in OUTSIDE]


@pytest.mark.parametrize("kind", [HYBRID, *HERE])
def test_each_type_is_built_served_and_finds_the_right_passage(tmp_path: Path, kind: str) -> None:
    texts = make_corpus(tmp_path / "corpus.jsonl", 1_200)
    build_index(config(tmp_path, type=kind), steps=QUIET)
    keeps_vectors = kind in ("flat", HYBRID)
    assert (tmp_path / "index" / "vectors.f32").is_file() == keeps_vectors
    engine = open_engine(engine_config(tmp_path)).engine
    found = engine.search([texts[77], texts[8]], [5, 2])
    assert [len(found[0]), len(found[1])] == [5, 2]
    assert 77 in [result.row for result in found[0]]


def test_one_half_of_a_hybrid_can_be_served_but_nothing_that_was_not_built(tmp_path: Path) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 60)
    build_index(config(tmp_path), steps=QUIET)
    for kind in ("flat", "bm25"):
        assert open_engine(engine_config(tmp_path, type=kind)).engine.search(["row 5"], [1])[0]
    with pytest.raises(UserError, match="was built as hybrid, the config says pq"):
        open_engine(engine_config(tmp_path, type="pq"))


def test_a_server_refuses_an_index_of_another_encoder_or_corpus(tmp_path: Path) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 40)
    with pytest.raises(UserError, match=r"no index in .*build_index.sh"):
        open_engine(engine_config(tmp_path))
    build_index(config(tmp_path), steps=QUIET)
    with pytest.raises(UserError, match=r"built by toy:64 .* config says toy:32 .*rebuild it with bash"):
        open_engine(engine_config(tmp_path, retrieval_method="toy:32"))
    make_corpus(tmp_path / "corpus.jsonl", 41)
    with pytest.raises(UserError, match="another version of"):
        open_engine(engine_config(tmp_path))


def test_a_bare_faiss_file_is_checked_by_its_sizes(tmp_path: Path) -> None:
    import faiss

    texts = make_corpus(tmp_path / "corpus.jsonl", 40)
    index = faiss.IndexFlatIP(64)
    index.add(ToyEncoder().encode_passages(texts))
    faiss.write_index(index, str(tmp_path / "published.index"))
    path = tmp_path / "published.index"
    engine = open_engine(engine_config(tmp_path, index_path=path)).engine
    assert engine.search([texts[3]], [1])[0][0].row == 3
    here = describe(open_engine(engine_config(tmp_path, index_path=path)))
    assert here["corpus_sha256"] == engine.corpus.info.sha256
    assert here["corpus"] == "corpus.jsonl"  # the name alone, and no path
    (tmp_path / "corpus.jsonl").rename(tmp_path / "renamed.jsonl")
    renamed = describe(
        open_engine(engine_config(tmp_path, index_path=path, corpus_path=tmp_path / "renamed.jsonl"))
    )
    assert renamed == here | {"corpus": "renamed.jsonl"}  # for people: another name is no other index
    (tmp_path / "renamed.jsonl").rename(tmp_path / "corpus.jsonl")
    with pytest.raises(UserError, match="64 dimensions, toy:32 makes 32"):
        open_engine(engine_config(tmp_path, index_path=path, retrieval_method="toy:32"))
    make_corpus(tmp_path / "corpus.jsonl", 39)
    with pytest.raises(UserError, match=r"40 vectors.*39 passages"):
        open_engine(engine_config(tmp_path, index_path=path))


def test_gpu_search_without_a_gpu_is_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faiss.get_num_gpus", lambda: 0, raising=False)
    make_corpus(tmp_path / "corpus.jsonl", 40)
    build_index(config(tmp_path), steps=QUIET)
    with pytest.raises(UserError, match="faiss_gpu is true but FAISS sees no GPU"):
        open_engine(engine_config(tmp_path, faiss_gpu=True))


def test_too_little_disk_or_memory_is_told_with_need_and_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 40)
    with monkeypatch.context() as patch:
        patch.setattr(build_plan, "memory_available", lambda: 10**8)
        with pytest.raises(UserError, match=r"about 1\.1 GB of memory, 0\.1 GB are available"):
            build_index(config(tmp_path), steps=QUIET)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UserError, match=r"0\.3 MB more on the disk of .*0\.0 MB are free"):
        build_index(config(tmp_path, type="flat"), steps=QUIET)


def test_an_unfinished_build_of_something_else_is_not_mixed_in(tmp_path: Path) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 40)
    layout = IndexLayout(tmp_path / "index").unfinished
    layout.root.mkdir(parents=True)
    layout.vectors.write_bytes(b"\0" * 64 * 4 * 10)
    layout.progress.write_text('{"fingerprint": {"corpus": "other"}, "rows_done": 10}')
    with pytest.raises(UserError, match="unfinished build of another corpus or encoder"):
        build_index(config(tmp_path), steps=QUIET)
    assert build_index(config(tmp_path, overwrite=True), steps=QUIET).rows == 40


def test_two_builders_do_not_share_a_folder(tmp_path: Path) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 40)
    layout = IndexLayout(tmp_path / "index")
    layout.root.mkdir()
    with layout.lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is still building"):
            build_index(config(tmp_path, wait_seconds=0.3), steps=QUIET)
    assert not layout.manifest.is_file()


def test_the_second_builder_waits_for_the_first_and_finds_its_index(tmp_path: Path) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 40)
    layout, log = IndexLayout(tmp_path / "index"), io.StringIO()
    layout.root.mkdir()
    with layout.lock.open("w") as other, ThreadPoolExecutor() as second:
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting = second.submit(
            build_index, config(tmp_path), steps=Steps(Console(file=log, width=200), every=0.1)
        )
        until(lambda: "waiting for the other build, " in log.getvalue())
        fcntl.flock(other, fcntl.LOCK_UN)
        assert waiting.result(PATIENCE).rows == 40
    lines = log.getvalue().splitlines()
    assert lines[0] == f"another process is building in {layout.root}: waiting for it, at most 60 minutes"
    assert lines[-1].startswith("index ready in ")


def test_two_builds_at_once_encode_once(tmp_path: Path) -> None:
    make_corpus(tmp_path / "corpus.jsonl", ROWS)
    command = [sys.executable, "-m", "src_retrieval.build", *settings(tmp_path, type="flat")]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [" ".join(process.communicate(timeout=PATIENCE)[1].split()) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert "".join(said).count("index ready in ") == 1
    assert "".join(said).count("is up to date") == 1
