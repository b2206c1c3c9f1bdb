"""Indexes: recall against exact search, mapped loading, BM25 against bm25s, fusion; -1 never leaves."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import bm25s
import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from src_core.errors import UserError
from src_core.progress import Steps
from src_models.families import FAMILIES
from src_retrieval.encoders.base import EncoderOptions, normalise
from src_retrieval.encoders.load import load_encoder
from src_retrieval.encoders.spec import Pooling, read_spec
from src_retrieval.encoders.toy import ToyEncoder
from src_retrieval.fusion import fuse
from src_retrieval.layout import IndexLayout
from src_retrieval.results import Hits, Ranked, ranked
from src_retrieval.sparse.bm25 import Bm25Index
from src_retrieval.sparse.bm25_build import build_bm25, tokenise
from src_retrieval.vector.base import map_vectors
from src_retrieval.vector.faiss import build_dense
from src_retrieval.vector.faiss_build import DenseOptions, pq_parts
from src_retrieval.vector.faiss_index import DenseType, FaissIndex, SearchOptions, load_faiss, open_dense

ROWS, DIM = 3_000, 32
OPTIONS = SearchOptions(threads=1)
QUIET = Steps(Console(quiet=True))


@pytest.fixture(scope="module")
def vectors() -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(60, DIM))
    points = centres[rng.integers(60, size=ROWS)] + 0.4 * rng.normal(size=(ROWS, DIM))
    return normalise(points.astype(np.float32))


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory, vectors: NDArray[np.float32]) -> IndexLayout:
    layout = IndexLayout(tmp_path_factory.mktemp("index"))
    vectors.tofile(layout.vectors)
    mapped = map_vectors(layout.vectors, rows=ROWS, dim=DIM)
    for kind in DenseType:
        build_dense(
            kind, layout, mapped, DenseOptions(hnsw_ef_construction=80, train_rows=2_000), QUIET, made_from={}
        )
    return layout


@pytest.mark.parametrize("kind", list(DenseType))
def test_recall_at_10_is_high_against_exact_search(
    layout: IndexLayout, vectors: NDArray[np.float32], kind: DenseType
) -> None:
    queries = normalise(vectors[:100] + np.float32(0.02))
    exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    index = open_dense(layout, kind, rows=ROWS, dim=DIM, options=OPTIONS)
    found = index.search(queries, 10).rows
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)])
    assert recall >= (0.999 if kind is DenseType.FLAT else 0.9)


@pytest.mark.parametrize("kind", list(DenseType))
def test_a_moved_index_folder_still_opens(
    layout: IndexLayout, vectors: NDArray[np.float32], kind: DenseType, tmp_path: Path
) -> None:
    moved = IndexLayout(tmp_path / "elsewhere")
    moved.root.mkdir()
    for path in layout.root.iterdir():
        (moved.root / path.name).write_bytes(path.read_bytes())
    assert open_dense(moved, kind, rows=ROWS, dim=DIM, options=OPTIONS).search(vectors[:1], 1).rows[0, 0] == 0


def test_an_ivf_index_of_several_parts_is_the_one_of_one_part(
    layout: IndexLayout, vectors: NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src_retrieval.vector.faiss_build.SHARD_ROWS", 700)
    parts = IndexLayout(tmp_path)
    build_dense(DenseType.IVF, parts, vectors, DenseOptions(train_rows=2_000), QUIET, made_from={})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ivf.faiss", "ivf.lists"]
    assert parts.ivf_lists.read_bytes() == layout.ivf_lists.read_bytes()
    found = open_dense(parts, DenseType.IVF, rows=ROWS, dim=DIM, options=OPTIONS).search(vectors, 1).rows
    assert (found[:, 0] == np.arange(ROWS)).mean() > 0.99


def test_batch_size_does_not_change_flat_results(layout: IndexLayout, vectors: NDArray[np.float32]) -> None:
    index = open_dense(layout, DenseType.FLAT, rows=ROWS, dim=DIM, options=OPTIONS)
    together = index.search(vectors[:40], 5)
    for at in range(40):
        alone = index.search(vectors[at : at + 1], 5)
        assert np.array_equal(alone.rows[0], together.rows[at])


def test_the_blas_threshold_follows_the_batch_size(layout: IndexLayout, vectors: NDArray[np.float32]) -> None:
    faiss = load_faiss()
    index = open_dense(layout, DenseType.FLAT, rows=ROWS, dim=DIM, options=OPTIONS)
    index.search(vectors[:4], 1)
    assert faiss.cvar.distance_compute_blas_threshold == 1
    index.search(vectors[:3], 1)
    assert faiss.cvar.distance_compute_blas_threshold > 1


def test_minus_one_never_leaves_and_k_is_cut_to_the_rows() -> None:
    hits = Hits(np.array([[4, -1, 2, -1]]), np.array([[0.9, 0.5, 0.4, 0.0]], dtype=np.float32))
    assert [result.row for result in ranked(hits, 0, 4)] == [4, 2]
    stub = SimpleNamespace(ntotal=2, d=2, search=lambda vectors, k: (np.ones((1, k)), np.arange(k)[None]))
    assert FaissIndex(stub, OPTIONS).search(np.ones((1, 2), dtype=np.float32), 9).rows.shape == (1, 2)


def test_an_index_type_that_needs_training_refuses_a_tiny_corpus(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="use flat"):
        build_dense(
            DenseType.PQ,
            IndexLayout(tmp_path),
            np.ones((5, 8), dtype=np.float32),
            DenseOptions(),
            QUIET,
            made_from={},
        )
    assert (pq_parts(768, 0), pq_parts(384, 0), pq_parts(30, 0)) == (384, 192, 15)
    with pytest.raises(UserError, match="divisor"):
        pq_parts(768, 100)


def test_a_vector_file_of_the_wrong_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vectors.f32").write_bytes(b"1234")
    with pytest.raises(UserError, match="4 bytes instead of 8"):
        map_vectors(tmp_path / "vectors.f32", rows=1, dim=2)


def random_texts(count: int) -> list[str]:
    rng = np.random.default_rng(1)
    words = [f"word{at}" for at in range(80)] + ["the", "x"]
    return [" ".join(rng.choice(words, size=rng.integers(1, 30))) for _ in range(count)]


def test_bm25_built_from_disk_scores_like_bm25s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src_retrieval.sparse.bm25_collect.DOCS_PER_CHUNK", 70)
    monkeypatch.setattr("src_retrieval.sparse.bm25_build.POSTINGS_PER_BLOCK", 500)
    texts = random_texts(300)
    build_bm25(tmp_path, lambda start, stop: texts[start:stop], len(texts), QUIET)
    reference = bm25s.BM25()
    reference.index(bm25s.tokenize(texts, show_progress=False), show_progress=False)
    ours = Bm25Index(tmp_path)
    for query in ("word1 word2 word2", "word7 unheard the", "word0 word33 word5"):
        expected = reference.get_scores(tokenise([query])[0])
        hits = ours.search([query], 10)
        top = np.sort(expected)[::-1][:10]
        assert np.allclose(hits.scores[0], top, atol=1e-5)
        assert np.allclose(expected[hits.rows[0]], hits.scores[0], atol=1e-5)


def test_bm25_leaves_out_passages_without_a_common_word(tmp_path: Path) -> None:
    texts = ["red apple", "green pear", "blue sky"]
    build_bm25(tmp_path, lambda start, stop: texts[start:stop], 3, QUIET)
    index = Bm25Index(tmp_path)
    assert [result.row for result in ranked(index.search(["green sky"], 3), 0, 3)] == [1, 2]
    assert ranked(index.search(["nothing known"], 3), 0, 3) == []


def test_reciprocal_rank_fusion_adds_reciprocal_ranks() -> None:
    dense = [Ranked(3, 0.9), Ranked(1, 0.8), Ranked(2, 0.1)]
    words = [Ranked(1, 12.0), Ranked(9, 3.0)]
    fused = fuse([dense, words], 3, constant=60)
    assert [result.row for result in fused] == [1, 3, 9]
    assert fused[0].score == pytest.approx(1 / 62 + 1 / 61)
    assert fused[1].score == pytest.approx(1 / 61)
    assert fuse([[], []], 5) == []
    assert [result.row for result in fuse([[Ranked(5, 1.0)], [Ranked(4, 1.0)]], 2)] == [5, 4]


def test_the_toy_encoder_is_deterministic_and_prefers_shared_words() -> None:
    vectors = ToyEncoder(256).encode_passages(["the red apple", "a blue sky", "the red apple", ""])
    assert np.array_equal(vectors[0], vectors[2])
    assert np.allclose(np.linalg.norm(vectors[:3], axis=1), 1.0)
    query = ToyEncoder(256).encode_queries(["red apple"])[0]
    assert query @ vectors[0] > query @ vectors[1]
    with pytest.raises(UserError, match="toy"):
        load_encoder("toy:many", EncoderOptions())


def test_prefixes_come_from_the_family_and_never_from_the_path(tmp_path: Path) -> None:
    folder = tmp_path / "bge-in-name-only"
    folder.mkdir()
    (folder / "config.json").write_text('{"hidden_size": 384, "max_position_embeddings": 512}')
    with pytest.raises(UserError, match="set the family"):
        read_spec(folder, family="")
    spec = read_spec(folder, family="e5")
    assert (spec.query_prefix, spec.pooling) == (FAMILIES["e5"].query_prefix, Pooling.MEAN)
    assert read_spec(folder, family="bge").pooling is Pooling.CLS
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    assert read_spec(folder, family="minilm").pooling is Pooling.CLS
