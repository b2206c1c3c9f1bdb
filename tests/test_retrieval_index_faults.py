"""Index builds that are killed or run out of disk, index files that are damaged, FAISS files of others: the
right index, or one sentence.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from test_retrieval_build import QUIET, config, engine_config, make_corpus

from src_core.errors import UserError
from src_retrieval import build_plan
from src_retrieval.build import build_index
from src_retrieval.encoders.toy import ToyEncoder
from src_retrieval.engine import open_engine
from src_retrieval.layout import IndexLayout
from src_retrieval.vector.faiss_file import open_faiss_file
from src_retrieval.vector.faiss_index import SearchOptions

TESTS = Path(__file__).resolve().parent
ROWS, DIM = 60, 64
DAMAGES = {
    "half": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "one byte": lambda data: (
        data[: len(data) // 3] + bytes([data[len(data) // 3] ^ 1]) + data[len(data) // 3 + 1 :]
    ),
    "noise": lambda data: np.random.default_rng(0).bytes(len(data)),
}


def child(*arguments: str | Path, disk: str = "") -> dict[str, Any]:
    """What `helpers_builds.py` prints; on a disk of that size where `disk` is one."""
    command = [sys.executable, str(TESTS / "helpers_builds.py"), *map(str, arguments)]
    if disk:
        mount = f'mkdir -p "$1" && mount -t tmpfs -o size={disk} tmpfs "$1" && shift && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", mount, "sh", str(Path(arguments[1]) / "disk"), *command]
    environment = {**os.environ, "PYTHONPATH": f"{TESTS.parent}:{TESTS}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def may_mount() -> bool:
    trial = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    return (
        shutil.which("unshare") is not None
        and subprocess.run(trial, capture_output=True, check=False).returncode == 0
    )


def test_26_kills_of_a_build_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    found = child("kills", tmp_path)
    assert found == {"killed": 26, "bad": []}


def test_half_a_manifest_of_a_killed_build_is_no_file_of_the_index(tmp_path: Path) -> None:
    """The next manifest is written to that name and renamed: an index that names the file is not opened."""
    make_corpus(tmp_path / "corpus.jsonl", 20)
    unfinished = IndexLayout(tmp_path / "index").unfinished.root
    unfinished.mkdir(parents=True)
    (unfinished / "manifest.json.tmp").write_bytes(b'{"version"')
    assert "manifest.json.tmp" not in build_index(config(tmp_path), steps=QUIET).files
    assert open_engine(engine_config(tmp_path)).engine.search(["row 5"], [1])[0]


@pytest.mark.parametrize(
    ("kind", "limit"),
    [("bm25", 3_000), ("bm25", 25_000), ("hybrid", 60_000), ("hybrid", 250_000), ("hnsw", 100_000),
     ("ivf", 150_000), ("pq", 100_000)],
)  # fmt: skip
def test_a_disk_that_fills_at_seven_sizes_is_one_sentence_and_the_next_build_finishes(
    tmp_path: Path, kind: str, limit: int
) -> None:
    """By a bound on each file, and where this user may mount one, by a disk of that size."""
    (tmp_path / "limit").mkdir()
    results = [child("full", tmp_path / "limit", "limit", kind, str(limit))]
    if may_mount():
        (tmp_path / "small").mkdir()
        results.append(child("full", tmp_path / "small", "disk", kind, "0", disk=f"{2 * limit}"))
    for found in results:
        assert found["status"] in (0, 2), found
        assert (found["again"], found["served"]) == (0, 0), found
        if found["status"]:
            assert found["said"].startswith("could not write ")
            assert "free some space or choose another folder" in found["said"]
            assert "\n" not in found["said"]
    assert results[0]["status"] == 2


@pytest.mark.parametrize("kind", ["bm25", "flat", "hybrid", "hnsw", "ivf", "pq"])
def test_the_check_before_a_build_counts_all_that_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 3_000)
    peak, folder = 0, tmp_path / "index" / "unfinished"
    corpus_files = 0

    def watch(event: str, _: object) -> None:
        nonlocal peak
        if watching and event in ("open", "os.rename", "os.remove") and folder.is_dir():
            watching.clear()
            sizes = [path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()]
            peak = max(peak, sum(sizes))
            watching.append(True)

    watching = [True]
    usage = shutil.disk_usage(tmp_path)
    needs: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
        with pytest.raises(UserError) as caught:
            build_index(config(tmp_path, type=kind), steps=QUIET)
        needs.append(str(caught.value))
    corpus_files = sum(path.stat().st_blocks * 512 for path in folder.rglob("*"))
    need = float(needs[0].split("needs ")[1].split(" MB")[0]) * 1e6
    sys.addaudithook(watch)
    build_index(config(tmp_path, type=kind), steps=QUIET)
    watching.clear()
    assert peak - corpus_files <= need <= 2.5 * (peak - corpus_files) + build_plan.MARGIN_BYTES


@pytest.mark.parametrize("blocked", ["a file", "below a file", "read-only"])
def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, blocked: str) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 5)
    place = tmp_path / "place"
    if blocked == "read-only":
        place = Path("/proc/no_such_folder")
    else:
        place.write_text("a file")
    target = place / "index" if blocked == "below a file" else place
    with pytest.raises(UserError, match=r"could not write .*; choose another folder \(index_dir\)"):
        build_index(config(tmp_path, index_dir=target), steps=QUIET)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    make_corpus(folder / "corpus.jsonl", ROWS)
    build_index(config(folder), steps=QUIET)
    return folder


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_with_the_command_that_rebuilds(
    built: Path, tmp_path: Path, damage: str
) -> None:
    names = [
        str(path.relative_to(built / "index")) for path in (built / "index").rglob("*") if path.is_file()
    ]
    assert {"manifest.json", "vectors.f32", "corpus.offsets.npy", "bm25/vocab.index.json"} < set(names)
    for name in sorted(set(names) - {"build.lock"}):
        target = tmp_path / "index"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(built / "index", target)
        if name == "manifest.json" and damage == "one byte":
            continue  # one of its facts is another then, which is compared with the encoder and the corpus
        (target / name).write_bytes(DAMAGES[damage]((target / name).read_bytes()))
        with pytest.raises(
            UserError, match=rf"{name}.*(damaged|cannot be read).*build_index\.sh index_dir=.* overwrite"
        ):
            open_engine(engine_config(built, index_path=target))
        (target / name).unlink()
        with pytest.raises(UserError, match="build"):
            open_engine(engine_config(built, index_path=target))


def test_damaged_files_without_marks_are_refused_by_what_they_hold(built: Path, tmp_path: Path) -> None:
    """An index of an earlier version has no marks."""
    for name in ("vectors.f32", *(f"bm25/{path.name}" for path in (built / "index" / "bm25").iterdir())):
        target = tmp_path / "index"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(built / "index", target)
        values = json.loads((target / "manifest.json").read_text())
        (target / "manifest.json").write_text(json.dumps({**values, "version": 2, "files": {}}))
        open_engine(engine_config(built, index_path=target))
        data = (target / name).read_bytes()
        (target / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(UserError, match=r"build .*again with overwrite=true"):
            open_engine(engine_config(built, index_path=target))


def test_an_index_of_another_tokenizer_is_refused(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built / "index", tmp_path / "index")
    path = tmp_path / "index" / "manifest.json"
    values = json.loads(path.read_text())
    assert values["tokenizer"].startswith("bm25s words, segments 1, rjieba ")
    path.write_text(json.dumps({**values, "tokenizer": "bm25s words, segments 0"}))
    with pytest.raises(
        UserError, match=r"another tokenizer \(bm25s words, segments 0; here: .*overwrite=true"
    ):
        open_engine(engine_config(built, index_path=tmp_path / "index"))
    assert open_engine(engine_config(built, index_path=tmp_path / "index", type="flat"))
    with pytest.raises(UserError, match="another tokenizer; add overwrite=true"):
        build_index(config(built, index_dir=tmp_path / "index"), steps=QUIET)


def test_180_mutated_faiss_files_are_opened_with_the_right_size_or_refused(tmp_path: Path) -> None:
    found = child("mutated", tmp_path)
    assert found["files"] == 8
    assert set(found["outcomes"]) == {"opened", "refused"}, found
    assert sum(found["outcomes"].values()) == 180


class Published:
    """A corpus whose rows have the ids of the caller, and FAISS files over it."""

    def __init__(self, folder: Path, ids: list[str]) -> None:
        self.folder = folder
        self.texts = [f"Title {at}\nrow {at} talks of word{at}" for at in range(len(ids))]
        rows = [json.dumps({"id": key, "contents": text}) for key, text in zip(ids, self.texts, strict=True)]
        (folder / "corpus.jsonl").write_text("\n".join(rows))
        self.vectors = ToyEncoder(DIM).encode_passages(self.texts)
        self.path = folder / "published.index"

    def write(self, factory: str, ids: list[int] | None, metric: int = faiss.METRIC_INNER_PRODUCT) -> None:
        index = faiss.index_factory(DIM, factory, metric)
        index.train(self.vectors)
        if ids is None:
            index.add(self.vectors)
        else:
            index.add_with_ids(self.vectors, np.array(ids, dtype=np.int64))
        faiss.write_index(index, str(self.path))

    def right(self) -> bool:
        """Whether each passage is found by its own text."""
        engine = open_engine(engine_config(self.folder, index_path=self.path)).engine
        found = [rows[0].row for rows in engine.search(self.texts, [2] * len(self.texts))]
        return found == list(range(len(self.texts)))


COUNTED = [str(at) for at in range(1, ROWS + 1)]
NUMBERS = [str(at) for at in range(ROWS)]
BACKWARDS = NUMBERS[::-1]
NAMED = [f"p{at}" for at in range(ROWS)]


@pytest.mark.parametrize(
    "factory", ["IDMap,Flat", "IDMap2,Flat", "IDMap,HNSW32", "IVF2,Flat", "RR64,IVF2,Flat"]
)
@pytest.mark.parametrize(
    ("names", "ids", "right"),
    [
        (COUNTED, list(range(1, ROWS + 1)), True),  # DPR
        (COUNTED, list(range(ROWS)), True),  # row numbers
        (NUMBERS, list(range(ROWS)), True),
        (NAMED, list(range(ROWS)), True),
        ([str(7 * at + 3) for at in range(ROWS)], [7 * at + 3 for at in range(ROWS)], True),
        (BACKWARDS, list(range(ROWS)), "not certain which"),
        (NAMED, list(range(1, ROWS + 1)), "neither the ids nor the row numbers"),
        (NAMED, [0] * ROWS, "several vectors with one id"),
        (COUNTED, list(range(2, ROWS + 2)), "neither the ids nor the row numbers"),
        (COUNTED, [-1, *range(2, ROWS + 1)], "neither the ids nor the row numbers"),
    ],
)
def test_ids_of_a_faiss_file_are_mapped_through_the_corpus_or_refused(
    tmp_path: Path, factory: str, names: list[str], ids: list[int], right: bool | str
) -> None:
    published = Published(tmp_path, names)
    published.write(factory, ids)
    if right is True:
        assert published.right()
        return
    with pytest.raises(UserError, match=str(right)):
        published.right()


def test_ids_without_a_corpus_can_only_be_row_numbers(tmp_path: Path) -> None:
    published = Published(tmp_path, COUNTED)
    published.write("IDMap,Flat", list(range(1, ROWS + 1)))
    with pytest.raises(UserError, match="neither the ids nor the row numbers"):
        open_faiss_file(published.path, SearchOptions())
    published.write("IDMap,Flat", list(range(ROWS)))
    assert open_faiss_file(published.path, SearchOptions()).search(published.vectors[3:4], 1).rows[0, 0] == 3


def test_rows_in_another_order_are_found_by_their_numbers(tmp_path: Path) -> None:
    published = Published(tmp_path, NAMED)
    published.vectors = published.vectors[::-1].copy()
    published.write("IDMap,Flat", list(range(ROWS))[::-1])
    assert published.right()


def test_l2_distances_become_scores_that_fall(tmp_path: Path) -> None:
    published = Published(tmp_path, NAMED)
    published.write("Flat", None, metric=faiss.METRIC_L2)
    assert published.right()
    scores = open_faiss_file(published.path, SearchOptions()).search(published.vectors[:1], 5).scores[0]
    assert scores.tolist() == sorted(scores.tolist(), reverse=True)
    published.write("Flat", None, metric=faiss.METRIC_L1)
    with pytest.raises(UserError, match="does not search by inner product or L2"):
        published.right()


def test_what_is_no_index_of_this_corpus_is_refused(tmp_path: Path) -> None:
    published = Published(tmp_path, NAMED)
    published.write("Flat", None)
    data = published.path.read_bytes()
    binary = faiss.IndexBinaryFlat(DIM)
    binary.add(np.zeros((ROWS, DIM // 8), dtype=np.uint8))
    faiss.write_index_binary(binary, str(tmp_path / "binary"))
    contents = {"cut": data[:-9], "empty": b"", "text": b"not an index at all" * 40, "long": b"\xff" * 4096}
    for name, content in {**contents, "binary": (tmp_path / "binary").read_bytes()}.items():
        published.path.write_bytes(content)
        with pytest.raises(UserError, match="is not a FAISS index that this version reads"):
            published.right()
        assert name
    published.vectors = published.vectors[:-1]
    published.write("Flat", None)
    with pytest.raises(UserError, match=r"59 vectors.*60 passages"):
        published.right()
