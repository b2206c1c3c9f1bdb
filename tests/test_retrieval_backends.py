"""A search backend is one module: found by its kind, built, opened, searched; nothing else knows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_retrieval_build import QUIET, config, engine_config, make_corpus

import src_retrieval.sparse
import src_retrieval.vector
from src_core.errors import UserError
from src_retrieval.build import build_index
from src_retrieval.engine import open_engine
from src_retrieval.identity import describe
from src_retrieval.layout import IndexLayout, read_manifest
from src_retrieval.sparse import sparse_kinds
from src_retrieval.vector import vector_kinds

STORES = ["lancedb", "milvus", "pgvector", "qdrant"]
MATRIX = """
import numpy as np
from src_core.config import config_class
from src_retrieval.results import Hits
from src_retrieval.vector.base import Need, VectorBackend, VectorIndex

@config_class
class Build:
    scale: float = 1.0

@config_class
class Search:
    most: int = 100

class Matrix(VectorIndex):
    def __init__(self, vectors, most):
        self._vectors, self._most = vectors, most
        self.rows, self.dim = vectors.shape
        self.identity = {"kind": "matrix", "most": most}

    def search(self, vectors, k):
        scores = vectors @ self._vectors.T
        rows = np.argsort(-scores, axis=1)[:, : min(k, self._most)]
        return Hits(rows, np.take_along_axis(scores, rows, axis=1))

class MatrixBackend(VectorBackend):
    kinds = ("matrix",)
    build_options, search_options = Build, Search

    def need(self, kind, *, rows, dim, options):
        return Need(rows * dim * 4, 1 << 20)

    def build(self, kind, built, vectors, options, steps):
        with steps("copying"):
            np.save(built.layout.root / "matrix.npy", vectors * options.scale)

    def open(self, kind, built, options):
        return Matrix(np.load(built.layout.root / "matrix.npy"), options.most)

    def keeps_vectors(self, kind):
        return False

    def remove(self, layout):
        (layout.root / "matrix.npy").unlink(missing_ok=True)

    def version(self):
        return np.__version__

BACKEND = MatrixBackend()
"""
WORDS = """
import numpy as np
from src_core.config import config_class
from src_retrieval.results import NOTHING, Hits
from src_retrieval.sparse.base import SparseBackend, SparseIndex

@config_class
class Options:
    weight: float = 1.0

class Words(SparseIndex):
    identity = {"kind": "words"}

    def __init__(self, texts, weight):
        self._texts, self._weight = texts, weight

    def search(self, queries, k):
        rows = np.full((len(queries), k), NOTHING)
        scores = np.zeros((len(queries), k), dtype=np.float32)
        for at, query in enumerate(queries):
            found = [row for row, text in enumerate(self._texts) if query in text][:k]
            rows[at, : len(found)], scores[at, : len(found)] = found, self._weight
        return Hits(rows, scores)

class WordsBackend(SparseBackend):
    kinds = ("words",)
    options = Options

    def disk_need(self, corpus, options):
        return 100 * len(corpus)

    def build(self, kind, layout, corpus, options, steps):
        lines = [text.replace("\\n", " ") for text in corpus.contents(0, len(corpus))]
        (layout.root / "words.txt").write_text("\\n".join(lines))

    def open(self, kind, built, options):
        texts = (built.layout.root / "words.txt").read_text().splitlines()
        return Words(texts, options.weight)

    def remove(self, layout):
        (layout.root / "words.txt").unlink(missing_ok=True)

BACKEND = WordsBackend()
"""


@pytest.fixture
def _two_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module more in each package, as a user would put it beside `faiss.py` and `bm25.py`."""
    for package, name, text in (
        (src_retrieval.vector, "matrix", MATRIX),
        (src_retrieval.sparse, "words", WORDS),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"{name}.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])


@pytest.mark.usefixtures("_two_more")
def test_a_backend_of_ones_own_is_built_and_searched_by_its_kind(tmp_path: Path) -> None:
    assert vector_kinds() == ["flat", "hnsw", "ivf", "pq", *sorted([*STORES, "matrix"])]
    assert sparse_kinds() == ["bm25", "elasticsearch", "opensearch", "words"]
    texts = make_corpus(tmp_path / "corpus.jsonl", 60)
    settings = {"dense": "matrix", "sparse": "words", "shape.scale": 2.0}
    manifest = build_index(config(tmp_path, **settings), steps=QUIET)
    assert (manifest.dense, manifest.sparse, manifest.settings) == ("matrix", "words", {"scale": 2.0})
    options = {"searching.most": 7, "sparse_options.weight": 0.5}
    opened = open_engine(engine_config(tmp_path, **options))
    assert opened.engine.search([texts[17]], [3])[0][0].row == 17
    assert describe(opened)["search"]["dense"] == {"kind": "matrix", "most": 7}
    assert open_engine(engine_config(tmp_path, type="words")).engine.search(["row 5 "], [1])[0][0].row == 5
    with pytest.raises(
        UserError, match=r"unknown setting mots in the section 'searching'; did you mean most"
    ):
        open_engine(engine_config(tmp_path, **{"searching.mots": 7}))
    build_index(config(tmp_path, overwrite=True, type="bm25"), steps=QUIET)
    assert not list((tmp_path / "index").glob("matrix.npy"))
    assert not list((tmp_path / "index").glob("words.txt"))


def test_an_unknown_kind_or_setting_is_named_before_anything_is_made(tmp_path: Path) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 5)
    for settings, said in (
        ({"type": "matrix"}, r"no index type is called 'matrix'; there are: hybrid, flat, .*bm25"),
        ({"dense": "bm25"}, "no vector index is called 'bm25'; there are: flat, hnsw, ivf, pq, lancedb"),
        ({"sparse": "flat"}, "no word index is called 'flat'; there are: bm25, elasticsearch, opensearch"),
        ({"shape.hnsw": 3}, "unknown setting hnsw in the section 'shape'; did you mean hnsw_m"),
    ):
        with pytest.raises(UserError, match=said):
            build_index(config(tmp_path, **settings), steps=QUIET)
    assert not (tmp_path / "index").exists()


NOT_IN_VERSION_1 = ("library_version", "sparse", "tokenizer", "files")


def test_an_index_of_the_first_version_is_still_served(tmp_path: Path) -> None:
    """Its manifest named no word index and called the library FAISS: building wiki18 again takes a day."""
    make_corpus(tmp_path / "corpus.jsonl", 40)
    now = build_index(config(tmp_path), steps=QUIET)
    path = IndexLayout(tmp_path / "index").manifest
    values = json.loads(path.read_text())
    values |= {"version": 1, "faiss_version": values["library_version"]}
    path.write_text(json.dumps({key: values[key] for key in values if key not in NOT_IN_VERSION_1}))
    assert '"sparse"' not in path.read_text()
    then = read_manifest(IndexLayout(tmp_path / "index"))
    assert then is not None
    assert {**then.identity(), "tokenizer": now.tokenizer} == now.identity()
    assert open_engine(engine_config(tmp_path)).engine.hybrid
