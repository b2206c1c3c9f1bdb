"""A flat FAISS file of others becomes an index: searched where it lies, or converted in a stream; what is not
such a file, or not of this corpus and encoder, is refused.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_builds import digests
from helpers_wait import until
from test_retrieval_build import QUIET, config, engine_config, make_corpus
from test_retrieval_build import settings as arguments

from src_core.errors import UserError
from src_core.progress import Steps
from src_retrieval import build_plan
from src_retrieval.build import build_index
from src_retrieval.encoders.toy import ToyEncoder
from src_retrieval.engine import open_engine
from src_retrieval.layout import IndexLayout, read_manifest
from src_retrieval.results import FloatArray
from src_retrieval.vector import pq_build
from src_retrieval.vector.base import FLAT_HEADER

ROWS, DIM = 1_500, 64


class World:
    """A corpus, and the FAISS file that another project made from it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "e5_Flat.index"
        self.texts = make_corpus(folder / "corpus.jsonl", ROWS)
        self.vectors = ToyEncoder(DIM).encode_passages(self.texts)
        self.write(self.vectors)

    def write(self, vectors: FloatArray, kind: str = "Flat", *, l2: bool = False) -> None:
        import faiss

        metric = faiss.METRIC_L2 if l2 else faiss.METRIC_INNER_PRODUCT
        index = faiss.index_factory(vectors.shape[1], kind, metric)
        index.train(vectors)
        if kind.startswith("IDMap"):
            index.add_with_ids(vectors, np.arange(len(vectors)))
        else:
            index.add(vectors)
        faiss.write_index(index, str(self.path))

    def build(self, name: str = "index", **changes: object) -> Any:
        changes = {"vectors": self.path, "index_dir": self.folder / name, "encoder": f"toy:{DIM}", **changes}
        return build_index(config(self.folder, **changes), steps=QUIET)

    def serve(self, name: str = "index", **changes: object) -> Any:
        own = {"index_path": self.folder / name, "retrieval_method": f"toy:{DIM}", **changes}
        return open_engine(engine_config(self.folder, **own)).engine


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_flat_index_searches_the_file_where_it_lies(world: World) -> None:
    manifest = world.build(type="flat")
    layout = IndexLayout(world.folder / "index")
    assert layout.linked_vectors.resolve() == world.path
    assert not layout.vectors.exists()
    assert (manifest.rows, manifest.encoder.name, len(manifest.vectors)) == (ROWS, f"toy:{DIM}", 64)
    world.build("encoded", type="flat", vectors="")
    assert manifest.corpus_sha256 == read_manifest(IndexLayout(world.folder / "encoded")).corpus_sha256
    queries = world.texts[::100]
    found, wanted = (world.serve(name).search(queries, [10] * len(queries)) for name in ("index", "encoded"))
    assert found == wanted
    before = layout.manifest.stat().st_mtime_ns
    world.build(type="flat")  # up to date
    assert layout.manifest.stat().st_mtime_ns == before


@pytest.mark.parametrize("kind", ["pq", "ivf", "hnsw"])
def test_a_converted_file_is_the_index_of_the_same_vectors(world: World, kind: str) -> None:
    world.build(type=kind, **{"shape.hnsw_m": 8})
    world.build("encoded", type=kind, vectors="", **{"shape.hnsw_m": 8})
    found, wanted = digests(world.folder / "index"), digests(world.folder / "encoded")
    assert set(found) == set(wanted) >= {f"{kind}.faiss"}
    if kind == "pq":
        assert found["vectors.f16"] == wanted["vectors.f16"]
    assert 33 in [hit.row for hit in world.serve().search([world.texts[33]], [5])[0]]


def test_the_file_is_half_of_a_hybrid(world: World) -> None:
    world.build(type="hybrid", dense="pq")
    engine = world.serve()
    assert engine.hybrid
    assert 33 in [hit.row for hit in engine.search([world.texts[33]], [10])[0]]


def test_a_killed_conversion_goes_on_and_ends_with_the_same_bytes(world: World) -> None:
    """Killed at each step of the rows, in a process of its own."""
    world.build("whole", type="pq")
    slow = (
        "import sys, time; from src_retrieval.vector import pq_build; pq_build.BLOCK_ROWS = 320\n"
        "own, stop = pq_build._Parts.save, int(sys.argv.pop(1))\n"
        "def save(self, rows): own(self, rows); time.sleep(3600 if rows == stop else 0)\n"
        "pq_build._Parts.save = save\n"
        "from src_retrieval.build import main; main()"
    )
    layout = IndexLayout(world.folder / "index").unfinished
    record = layout.parts / "rows.json"
    given = arguments(world.folder, type="pq", vectors=world.path, encoder=f"toy:{DIM}")
    for rows in (0, 640, 1_280):
        process = subprocess.Popen([sys.executable, "-c", slow, str(rows), *given], stderr=subprocess.DEVNULL)
        until(lambda: record.is_file() and json.loads(record.read_bytes())["rows"] == rows)  # noqa: B023
        process.send_signal(signal.SIGKILL)
        process.wait()
        with (layout.parts / "codes").open("ab") as codes:  # what was written and not recorded
            codes.write(b"torn")
        with pytest.raises(UserError, match="there is an unfinished index"):
            world.serve()
    world.build(type="pq")
    found, wanted = digests(world.folder / "index"), digests(world.folder / "whole")
    assert found == wanted


def test_parts_of_another_build_are_not_mixed_in(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pq_build, "BLOCK_ROWS", 640)
    own = pq_build._Parts.save

    def stop(self: pq_build._Parts, rows: int) -> None:
        own(self, rows)
        if rows:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pq_build._Parts, "save", stop)
        world.build(type="pq")
    kept = IndexLayout(world.folder / "index").unfinished.parts
    shutil.copytree(kept, world.folder / "kept")
    world.write(world.vectors[:, ::-1].copy())  # of no encoder here: the check of the corpus is left out
    with monkeypatch.context() as patch:
        patch.setattr("src_retrieval.build.require_of_corpus", lambda *_: None)
        world.build(type="pq")
        world.build("whole", type="pq")
    assert digests(world.folder / "index") == digests(world.folder / "whole")
    assert not kept.exists()
    shutil.copytree(world.folder / "kept", IndexLayout(world.folder / "next").unfinished.parts)
    world.build("next", type="flat", vectors="")
    names = {path.name for path in (world.folder / "next").iterdir()}
    assert names.isdisjoint({"parts", "codes", "unfinished"})


REFUSED: dict[str, tuple[Callable[[World], object], str]] = {
    "l2": (lambda w: w.write(w.vectors, l2=True), "is a flat index by L2 distance; give the setting vectors"),
    "hnsw": (lambda w: w.write(w.vectors, "HNSW8"), "is an HNSW index; give the setting vectors a flat"),
    "ivf": (lambda w: w.write(w.vectors, "IVF8,Flat"), "is an IVF index;"),
    "ivf codes": (lambda w: w.write(w.vectors, "IVF8,PQ8x4fs"), "is an IVF index;"),
    "pq": (lambda w: w.write(w.vectors, "PQ8"), "is an index of PQ codes;"),
    "fastscan": (lambda w: w.write(w.vectors, "PQ8x4fs"), "is an index of PQ codes;"),
    "sq": (lambda w: w.write(w.vectors, "SQ8"), "is an index of scalar-quantised vectors;"),
    "transform": (lambda w: w.write(w.vectors, "PCA8,Flat"), "is an index behind a transform;"),
    "ids": (lambda w: w.write(w.vectors, "IDMap,Flat"), "is an index with ids of its own;"),
    "text": (lambda w: w.path.write_text("hello " * 50), "is no FAISS file;"),
    "empty": (lambda w: w.path.write_bytes(b""), "is no FAISS file;"),
    "zip": (
        lambda w: w.path.write_bytes(b"PK\3\4" + bytes(90)),
        "is a zip archive, which has to be unpacked",
    ),
    "absent": (lambda w: w.path.unlink(), "no FAISS file at .*; correct the setting vectors"),
    "dimension": (lambda w: w.write(w.vectors[:, :32].copy()), "32 dimensions, toy:64 makes 64; set encoder"),
    "fewer": (lambda w: w.write(w.vectors[:-1]), r"holds 1,499 vectors, .* has 1,500 passages; set corpus"),
    "truncated": (lambda w: os.truncate(w.path, 100_000), r"is not whole: 100,000 bytes instead of 384,045"),
    "longer": (lambda w: w.path.open("ab").write(b"\0" * 4), "is damaged: 384,049 bytes"),
    "order": (lambda w: w.write(w.vectors[::-1].copy()), r"of 64 passages of .* only \d+ have their own vec"),
    "numbers": (lambda w: w.write(w.vectors * np.nan), "holds vectors that are no numbers; fetch it again"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_no_such_file_is_one_sentence(world: World, name: str) -> None:
    change, said = REFUSED[name]
    change(world)
    with pytest.raises(UserError, match=said) as raised:
        world.build(type="pq")
    assert "\n" not in str(raised.value)
    assert not (world.folder / "index" / "manifest.json").exists()


def test_a_header_that_lies_is_refused(world: World) -> None:
    data = bytearray(world.path.read_bytes())
    for dim, rows, floats in ((64, 2**62, 2**63), (-64, 1_500, 96_000), (64, -1, 0), (0, 0, 0)):
        data[: FLAT_HEADER.size] = FLAT_HEADER.pack(b"IxFI", dim, rows, 0, 0, True, 0, floats)
        world.path.write_bytes(data)
        with pytest.raises(UserError, match=r"damaged|not whole|vectors, .* passages"):
            world.build(type="flat")


def test_values_too_large_for_fp16_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    large = world.vectors.copy()
    large[1_499] *= 1e6
    world.write(large)
    monkeypatch.setattr("src_retrieval.build.require_of_corpus", lambda *_: None)
    with pytest.raises(UserError, match="vectors 0 to 1,500 hold values that are no numbers, or too large"):
        world.build(type="pq")


def test_settings_that_do_not_go_together_are_refused(world: World) -> None:
    with pytest.raises(UserError, match="does not go with keep_vectors=true"):
        world.build(type="pq", keep_vectors=True)
    with pytest.raises(UserError, match="does not go with type=bm25, which has no vectors"):
        world.build(type="bm25")


def test_an_encoding_build_after_it_leaves_the_file_alone(world: World) -> None:
    before = world.path.read_bytes()
    world.build(type="flat")
    with pytest.raises(UserError, match="holds a finished index with another vectors; add overwrite=true"):
        world.build(type="flat", vectors="")
    world.build(type="flat", vectors="", overwrite=True)
    layout = IndexLayout(world.folder / "index")
    assert layout.vectors.is_file()
    assert not layout.linked_vectors.is_symlink()
    world.build(type="flat", overwrite=True)
    assert not layout.vectors.exists()
    assert world.path.read_bytes() == before


def test_a_file_that_is_gone_or_another_one_is_not_served(world: World) -> None:
    world.build(type="flat")
    world.write(world.vectors[::-1].copy())
    with pytest.raises(UserError, match=r"vectors\.index is damaged: it is not the file that the build"):
        world.serve()
    world.path.unlink()
    with pytest.raises(UserError, match=r"vectors\.index cannot be read \(No such file"):
        world.serve()


def test_the_disk_is_stated_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from rich.console import Console

    said = io.StringIO()
    monkeypatch.setattr(build_plan, "GIGABYTE", 1e5)
    settings = config(world.folder, type="pq", vectors=world.path, encoder=f"toy:{DIM}")
    build_index(settings, steps=Steps(Console(file=said, width=300)))
    assert re.search(r"the index needs \d+\.\d GB on the disk of .*, [\d.]+ GB are free", said.getvalue())
    free = shutil.disk_usage(world.folder)._replace(free=1_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(
        UserError, match=r"the index needs .* more on the disk of .* are free; free some space"
    ):
        world.build("second", type="pq")
