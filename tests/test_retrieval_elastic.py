"""Elasticsearch is searched through its own client: by a stand-in that speaks HTTP, and by a real server
where there is one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_elastic import FakeElastic, Reply, built, fake_elastic, options, served
from helpers_elastic_server import real_elastic
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from test_retrieval_build import QUIET, config, engine_config, make_corpus

from src_core.errors import IndexServerError, UserError
from src_core.jsonl import read_jsonl
from src_retrieval.app import AppOptions, SearchService, make_app
from src_retrieval.build import build_index
from src_retrieval.engine import SearchEngine, open_engine
from src_retrieval.identity import describe
from src_retrieval.sparse import elastic_options, elastic_server
from src_retrieval.sparse.elastic_product import ELASTICSEARCH

ROWS = 40
GOLDEN = json.loads((Path(__file__).parent / "data" / "lucene.json").read_bytes())["rankings"]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeElastic]:
    for name in (ELASTICSEARCH.key, ELASTICSEARCH.password):
        monkeypatch.delenv(name, raising=False)
    with fake_elastic() as server:
        yield server


def test_equal_scores_are_in_row_order(tmp_path: Path, fake: FakeElastic) -> None:
    make_corpus(tmp_path / "corpus.jsonl", ROWS)
    built(tmp_path, fake)
    shuffled = dict(sorted(fake.documents().items(), key=lambda item: hash(item[0])))
    fake.indices["wiki"]["documents"] = shuffled
    found = served(tmp_path, fake).search(["talks"], [ROWS])
    assert [row.row for row in found[0]] == list(range(ROWS))


def test_a_server_config_of_another_index_is_refused(tmp_path: Path, fake: FakeElastic) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 5)
    built(tmp_path, fake)
    with pytest.raises(UserError, match=r"correct sparse_options\.index"):
        served(tmp_path, fake, index="other")
    del fake.indices["wiki"]
    with pytest.raises(UserError, match=r"there is no index wiki on .*; build it with bash"):
        served(tmp_path, fake)


def test_an_index_that_is_made_anew_while_it_is_served_gives_no_answer(
    tmp_path: Path, fake: FakeElastic
) -> None:
    """Ids of another corpus may be the same ids: the answers would be wrong without a word."""
    make_corpus(tmp_path / "corpus.jsonl", 5)
    built(tmp_path, fake)
    engine = served(tmp_path, fake)
    documents = fake.documents()
    fake._delete("wiki", fake.requests[-1])
    with pytest.raises(IndexServerError, match="no such index"):
        engine.search(["row"], [1])
    make_corpus(tmp_path / "corpus.jsonl", 6)
    build_index(config(tmp_path, overwrite=True, **options(fake)), steps=QUIET)
    fake.indices["wiki"]["documents"] = documents
    with pytest.raises(IndexServerError, match="was made anew while it was served; restart"):
        engine.search(["row"], [1])


PARTS: dict[str, tuple[dict[str, Any], str, int]] = {
    "a shard failed": ({"timed_out": False, "_shards": {"failed": 1}}, "only a part of the index", 503),
    "timed out": ({"timed_out": True, "_shards": {"failed": 0}}, "only a part of the index", 503),
    "overloaded": (
        {"error": {"type": "es_rejected_execution_exception", "reason": "queue"}, "status": 429},
        "a query: queue",
        503,
    ),
    "too long": (
        {
            "error": {"reason": "all shards failed", "root_cause": [{"reason": "maxClauseCount is 1024"}]},
            "status": 400,
        },
        "a query: maxClauseCount is 1024",
        422,
    ),
    "no score": (
        {"timed_out": False, "_shards": {"failed": 0}, "hits": {"hits": [{"_id": "d1", "_score": None}]}},
        "another form",
        422,
    ),
}


@pytest.mark.parametrize("name", list(PARTS))
def test_a_search_that_fails_is_an_error_of_the_request(tmp_path: Path, fake: FakeElastic, name: str) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 5)
    built(tmp_path, fake)
    opened = open_engine(engine_config(tmp_path, **options(fake, **{"retry.attempts": 2})))
    service = SearchService(opened.engine, AppOptions(), identity=str(describe(opened)["identity"]))
    client = make_app(service, options=AppOptions()).test_client()
    assert client.post("/search", data=json.dumps({"query": "row 2", "top_n": 1})).status_code == 200
    response, said, status = PARTS[name]
    fake.fault = lambda request: Reply(200, {"responses": [response]}) if "_msearch" in request.path else None
    before = len(fake.sent("_msearch"))
    reply = client.post("/search", data=json.dumps({"query": "row 3", "top_n": 1}))
    assert reply.status_code == status
    assert said in reply.get_json()["detail"]
    assert len(fake.sent("_msearch")) - before == (2 if status == 503 else 1)
    service.close()


def test_half_of_a_hybrid_is_on_the_server(tmp_path: Path, fake: FakeElastic) -> None:
    texts = make_corpus(tmp_path / "corpus.jsonl", ROWS)
    hybrid = {**options(fake), "type": "hybrid", "sparse": "elasticsearch"}
    build_index(config(tmp_path, **hybrid), steps=QUIET)
    engine = open_engine(engine_config(tmp_path, **{**options(fake), "type": "hybrid"})).engine
    assert engine.search([texts[9]], [3])[0][0].row == 9


def test_both_halves_of_a_hybrid_are_in_stores_of_their_own(tmp_path: Path, fake: FakeElastic) -> None:
    texts = make_corpus(tmp_path / "corpus.jsonl", ROWS)
    own = {**options(fake), "type": "hybrid"}
    place = {"shape.address": tmp_path / "lance", "dense": "lancedb", "sparse": "elasticsearch"}
    manifest = build_index(config(tmp_path, **own, **place), steps=QUIET)
    assert (manifest.dense, manifest.sparse) == ("lancedb", "elasticsearch")
    engine = open_engine(engine_config(tmp_path, **own, **{"searching.address": tmp_path / "lance"})).engine
    assert engine.hybrid
    assert engine.search([texts[9]], [3])[0][0].row == 9
    assert len(fake.documents()) == ROWS


@limits(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(query=st.text(max_size=60))
def test_a_query_is_text_and_never_a_command(hostile: tuple[FakeElastic, SearchEngine], query: str) -> None:
    fake, engine = hostile
    engine.search([query], [2])
    lines = fake.sent("_msearch")[-1].body.split("\n")
    assert json.loads(lines[1])["query"]["multi_match"]["query"] == query
    assert len(lines) == 3


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeElastic, SearchEngine]]:
    folder = tmp_path_factory.mktemp("hostile")
    make_corpus(folder / "corpus.jsonl", 5)
    with fake_elastic() as fake:
        built(folder, fake)
        yield fake, served(folder, fake)


@pytest.mark.slow
@pytest.mark.elasticsearch
def test_a_real_server_ranks_as_lucene_and_as_our_own_index(tmp_path: Path) -> None:
    """The sample world by the real client on a real server, which this test starts and ends."""
    corpus = Path("data/sample_world/corpus.jsonl")
    rows = len(list(read_jsonl(corpus)))
    with real_elastic() as url:
        server = {"corpus": corpus, "type": "elasticsearch", "sparse_options.host": url}
        server |= {"sparse_options.index": f"test-{os.getpid()}", "sparse_options.replace": True}
        build_index(config(tmp_path, **server), steps=QUIET)
        build_index(config(tmp_path, **server), steps=QUIET)  # up to date
        del server["corpus"]
        engine = open_engine(engine_config(tmp_path, corpus_path=corpus, **server)).engine
        found = engine.search(list(GOLDEN), [10] * len(GOLDEN))
        elastic_server.ElasticServer(
            elastic_options.ElasticOptions(host=url, index=f"test-{os.getpid()}")
        ).delete()
    assert rows == len(engine.corpus)
    for results, expected in zip(found, GOLDEN.values(), strict=True):
        assert [result.row for result in results] == [row for row, _ in expected]
        scores = np.array([result.retrieval for result in results])
        assert scores == pytest.approx([score for _, score in expected], rel=1e-4)
