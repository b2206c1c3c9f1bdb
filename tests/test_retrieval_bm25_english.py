"""BM25 that ranks as Elasticsearch: words and rankings of Lucene itself (`tests/data/lucene.json`, written by
`scripts/bench/lucene_index.py`), exact top k in windows, settings in the manifest.
"""

from __future__ import annotations

import json
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_retrieval_build import QUIET, config, engine_config, make_corpus

from src_core.errors import UserError
from src_core.jsonl import read_jsonl
from src_retrieval.build import build_index
from src_retrieval.engine import open_engine
from src_retrieval.identity import describe
from src_retrieval.layout import IndexLayout, read_manifest
from src_retrieval.sparse import postings
from src_retrieval.sparse.bm25 import Bm25Index
from src_retrieval.sparse.bm25_build import build_bm25
from src_retrieval.sparse.bm25_english import build_english, fields_of
from src_retrieval.sparse.english import MAX_WORD, EnglishWords
from src_retrieval.sparse.postings import Postings, best_rows

GOLDEN = json.loads((Path(__file__).parent / "data" / "lucene.json").read_bytes())
SETTINGS = {"analyzer": "english", "k1": 1.2, "b": 0.75, "tie_breaker": 0.5}


@pytest.fixture(scope="module")
def words() -> EnglishWords:
    return EnglishWords()


@pytest.mark.parametrize("text", list(GOLDEN["words"]), ids=range(len(GOLDEN["words"])))
def test_the_words_are_those_of_lucene(words: EnglishWords, text: str) -> None:
    assert words.words(text) == GOLDEN["words"][text]


@settings(deadline=None)
@given(st.text(alphabet=st.one_of(st.sampled_from("aAzZ sS.,:;'\u2019_09éİΣ東ไกひカ한"), st.characters())))
def test_any_text_is_divided_the_same_again_and_never_holds_a_space(text: str) -> None:
    found = EnglishWords().words(text)
    assert found == EnglishWords().words(text)
    assert not any(set(" \t\n") & set(word) or not word or len(word) > MAX_WORD + 1 for word in found)


def test_a_word_without_end_takes_no_time(words: EnglishWords) -> None:
    assert len(words.words("a.b" * 100_000 + "'s" * 50_000 + "_" * 100_000)) > 1_000


def test_rankings_and_scores_are_those_of_lucene(tmp_path: Path) -> None:
    passages = [str(row["contents"]) for row in read_jsonl(Path("data/sample_world/corpus.jsonl"))]
    build_english(tmp_path, lambda start, stop: passages[start:stop], len(passages), QUIET)
    index = Bm25Index(tmp_path, english=True)
    rankings = GOLDEN["rankings"]
    hits = index.search(list(rankings), 10)
    for found, scores, expected in zip(hits.rows, hits.scores, rankings.values(), strict=True):
        kept = found >= 0
        assert found[kept].tolist() == [row for row, _ in expected]
        assert scores[kept] == pytest.approx([score for _, score in expected], rel=1e-5)


def test_title_and_text_are_two_fields() -> None:
    assert fields_of('"A title"\nThe text\nof it') == ("A title", "The text\nof it")
    assert fields_of("one line") == ("", "one line")
    assert fields_of('""\ntext') == ("", '""\ntext')


def test_the_manifest_names_the_analyser_and_a_server_serves_it_as_built(tmp_path: Path) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 60)
    english = {"type": "bm25", "sparse_options.analyzer": "english"}
    plain = build_index(config(tmp_path, type="bm25"), steps=QUIET)
    assert plain.sparse_settings == {}
    assert "sparse_settings" not in plain.identity()
    with pytest.raises(UserError, match="another sparse_settings; add overwrite=true"):
        build_index(config(tmp_path, **english), steps=QUIET)
    built = build_index(config(tmp_path, **english, overwrite=True), steps=QUIET)
    assert built.sparse_settings == SETTINGS == read_manifest(IndexLayout(tmp_path / "index")).sparse_settings
    assert built.tokenizer.startswith("english 1, PyStemmer ")
    assert not (tmp_path / "index" / "bm25" / "params.index.json").exists()  # that of the replaced index
    opened = open_engine(engine_config(tmp_path))
    assert describe(opened)["search"]["sparse"] == {"kind": "bm25", **SETTINGS}
    stemmed, named, stops = opened.engine.search(["talking", "the titles of 17", "of the"], [60, 3, 3])
    assert (len(stemmed), named[0].row, stops) == (60, 17, [])
    with pytest.raises(
        UserError, match="was not built with the analyzer words; rebuild it with bash scripts"
    ):
        open_engine(engine_config(tmp_path, **{"sparse_options.analyzer": "words"}))
    with pytest.raises(UserError, match="sparse_options"):
        open_engine(engine_config(tmp_path, **{"sparse_options.analyser": "english"}))


def test_without_the_stemmer_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 5)
    monkeypatch.setitem(sys.modules, "Stemmer", None)
    with pytest.raises(UserError, match="pip install PyStemmer"):
        build_index(config(tmp_path, type="bm25", **{"sparse_options.analyzer": "english"}), steps=QUIET)
    build_index(config(tmp_path, type="bm25"), steps=QUIET)


def test_a_corpus_without_titles_or_without_words(tmp_path: Path) -> None:
    texts = ["one red apple", "two green pears", "the of"]
    build_english(tmp_path / "a", lambda start, stop: texts[start:stop], 3, QUIET)
    assert Bm25Index(tmp_path / "a", english=True).search(["apples"], 2).rows.tolist() == [[0, -1]]
    with pytest.raises(UserError, match="no passage of the corpus holds a word"):
        build_english(tmp_path / "b", lambda start, stop: ["the", "of"][start:stop], 2, QUIET)
    with pytest.raises(UserError, match="no BM25 index in"):
        Bm25Index(tmp_path / "b", english=True)


def random_postings(rng: np.random.Generator, rows: int, words: int) -> Postings:
    parts = [np.flatnonzero(rng.random(rows) < rng.random() ** 3) for _ in range(words)]
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    scores = rng.choice([0.25, 0.5, 1.0, 1.75, 3.0], size=int(starts[-1])) * rng.choice([1.0, 0.1])
    return Postings(scores.astype(np.float32), np.concatenate(parts).astype(np.int32), starts)


def all_scores(fields: list[Postings], query: list[list[int]], rows: int, tie_breaker: float) -> np.ndarray:
    sums = np.zeros((len(fields), rows))
    for at, (own, words) in enumerate(zip(fields, query, strict=True)):
        for word in words:
            span = slice(int(own.starts[word]), int(own.starts[word + 1]))
            sums[at, own.rows[span]] += own.scores[span].astype(np.float64)
    return (sums.max(axis=0) + tie_breaker * (sums.sum(axis=0) - sums.max(axis=0))).astype(np.float32)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), window=st.sampled_from([1, 7, 64, 1_000]), k=st.integers(1, 40))
def test_the_best_rows_are_those_of_all_scores_sorted(seed: int, window: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(1, 300))
    fields = [random_postings(rng, rows, 12) for _ in range(int(rng.integers(1, 3)))]
    query = [rng.integers(0, 12, size=int(rng.integers(0, 9))).tolist() for _ in fields]
    tie_breaker = float(rng.choice([0.0, 0.5, 1.0]))
    expected = all_scores(fields, query, rows, tie_breaker)
    order = np.lexsort((np.arange(rows), -expected))[:k]
    order = order[expected[order] > 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postings, "WINDOW", window)
        best = best_rows(fields, query, k, rows=rows, tie_breaker=tie_breaker)
    assert best.rows.tolist() == order.tolist()
    assert best.scores.tolist() == expected[order].tolist()


def test_a_query_takes_no_array_of_the_size_of_the_corpus() -> None:
    rng = np.random.default_rng(3)
    peaks = []
    for rows in (500_000, 4_000_000):
        held = np.unique(rng.integers(0, rows, size=(rows // 20))).astype(np.int32)
        scores = rng.random(2 * len(held), dtype=np.float32)
        own = Postings(scores, np.concatenate([held, held]), np.array([0, len(held), 2 * len(held)]))
        tracemalloc.start()
        best_rows([own], [[0, 1]], 10, rows=rows, tie_breaker=0.0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] < 4_000_000 * 4


def test_a_plain_index_gives_the_same_rows_for_fewer(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    texts = [" ".join(rng.choice([f"word{at}" for at in range(40)], size=9)) for _ in range(400)]
    build_bm25(tmp_path, lambda start, stop: texts[start:stop], len(texts), QUIET)
    index = Bm25Index(tmp_path)
    many, few = index.search(["word1 word2 word3"], 50), index.search(["word1 word2 word3"], 3)
    assert many.rows[0, :3].tolist() == few.rows[0].tolist()
    assert many.scores[0, :3].tolist() == few.scores[0].tolist()
