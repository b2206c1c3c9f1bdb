"""`/rerank` as clients of Jina, Cohere and text-embeddings-inference speak it; `rerank_top_n` of a search."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers_rerank import cross_encoder_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from src_core.config import load_config
from src_core.errors import ModelError
from src_core.http_server import RequestError
from src_core.progress import Steps
from src_models.cross_encoders import build_cross_encoder
from src_retrieval.app import AppOptions, SearchService, make_app
from src_retrieval.build import build_index
from src_retrieval.build_plan import BuildConfig
from src_retrieval.engine import EngineConfig, open_engine
from src_retrieval.rerank_wire import rerank_request
from src_retrieval.rerankers.base import Pair
from src_retrieval.wire import Bounds

TEXTS = [f"word{at} kind{at % 7} " * (1 + at % 4) for at in range(12)]
QUERY = "about thing7"


class Served(NamedTuple):
    service: SearchService
    client: Any

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        reply = self.client.post(path, data=body if isinstance(body, bytes) else json.dumps(body))
        return reply.status_code, json.loads(reply.data)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("world")
    rows = [
        {"id": f"d{at}", "contents": f'"T{at}"\nabout thing{at % 60} and kind{at % 10} word{at * 7 % 60}'}
        for at in range(150)
    ]
    (made / "corpus.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    values = [f"corpus={made / 'corpus.jsonl'}", f"index_dir={made / 'index'}", "encoder=toy:1024"]
    build_index(load_config(BuildConfig, None, values), steps=Steps(Console(quiet=True)))
    build_cross_encoder(cross_encoder_folder(made / "hub"), made / "onnx")
    return made


def serving(world: Path, *changes: str) -> Served:
    values = [
        "retrieval_method=toy:1024",
        f"index_path={world / 'index'}",
        f"corpus_path={world / 'corpus.jsonl'}",
        *changes,
    ]
    engine = open_engine(load_config(EngineConfig, None, values)).engine
    options = AppOptions(max_top_n=40, max_query_chars=200)
    service = SearchService(engine, options, identity="test")
    return Served(service, make_app(service, options=options).test_client())


@pytest.fixture(scope="module")
def served(world: Path) -> Iterator[Served]:
    rerank = (
        f"rerank.model={world / 'onnx'}",
        "rerank.threads=1",
        "rerank.precision=fp32",
        "rerank.top_n=12",
    )
    running = serving(world, *rerank)
    yield running
    running.service.close()


def scores_of(served: Served, texts: list[str] = TEXTS) -> list[float]:
    reranker = served.service.reranker
    assert reranker is not None
    return [float(reranker.score([Pair(QUERY, text)])[0]) for text in texts]


def test_jina_and_cohere_get_what_their_clients_read(served: Served) -> None:
    scores = scores_of(served)
    best = sorted(range(len(TEXTS)), key=lambda at: -scores[at])
    for route in ("/v1/rerank", "/v2/rerank", "/rerank"):
        status, reply = served.post(
            route, {"model": "rerank-v3.5", "query": QUERY, "documents": TEXTS, "top_n": 3}
        )
        assert status == 200
        assert [row["index"] for row in reply["results"]] == best[:3]
        for row in reply["results"]:
            expected = 1 / (1 + math.exp(-scores[row["index"]]))
            assert row["relevance_score"] == pytest.approx(expected, abs=1e-4)
            assert row["document"] == {"text": TEXTS[row["index"]]}
        assert reply["model"].endswith("onnx")
        assert reply["usage"]["total_tokens"] > 12 * 5
        assert reply["id"]
    objects = [{"text": text} for text in TEXTS]
    _, reply = served.post("/v1/rerank", {"query": QUERY, "documents": objects, "return_documents": False})
    assert [row["index"] for row in reply["results"]] == best
    assert "document" not in reply["results"][0]
    nulls = {
        "query": QUERY,
        "documents": TEXTS,
        "rank_fields": None,
        "max_chunks_per_doc": None,
        "top_n": None,
    }
    assert served.post("/v2/rerank", nulls)[0] == 200


def test_tei_gets_a_bare_list(served: Served) -> None:
    scores = scores_of(served)
    best = sorted(range(len(TEXTS)), key=lambda at: -scores[at])
    status, rows = served.post(
        "/rerank", {"query": QUERY, "texts": TEXTS, "raw_scores": True, "truncate": True}
    )
    assert status == 200
    assert [row["index"] for row in rows] == best
    assert [row["score"] for row in rows] == pytest.approx([scores[at] for at in best], abs=1e-4)
    assert set(rows[0]) == {"index", "score"}
    _, rows = served.post("/rerank", {"query": QUERY, "texts": TEXTS, "return_text": True})
    assert rows[0]["text"] == TEXTS[best[0]]
    assert all(0 < row["score"] < 1 for row in rows)


def test_callers_share_the_batches_and_get_the_scores_of_single_pairs(served: Served) -> None:
    stage = 'retriever_batch_size_count{stage="rerank"}'
    expected = scores_of(served)

    def batches() -> float:
        lines = served.service.metrics.text().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(stage))

    def ask(at: int) -> list[float]:
        if at % 3 == 0:  # searches go through the same stage
            served.service.run(search_of(f"thing{at}"))
        rows = served.service.rerank(QUERY, TEXTS[at % 4 :]).rows
        return [result.score for result in sorted(rows)]

    before = batches()
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(ask, range(48)))
    assert batches() - before < 48  # 64 jobs
    for at, scores in enumerate(found):
        assert np.allclose(scores, expected[at % 4 :], atol=1e-4)


def search_of(query: str, **more: Any) -> Any:
    from src_retrieval.wire import search_request

    body = json.dumps({"query": query, "top_n": 4, "return_score": True, **more}).encode()
    return search_request(body, Bounds(150, 40, 200, 1000, reranks=True))


def test_a_request_chooses_how_many_candidates_are_reranked(served: Served, world: Path) -> None:
    plain = serving(world)
    body = {"query": "thing7 kind3", "top_n": 4, "return_score": True}
    _, (unranked, _) = plain.post("/search", body)
    _, (none, scores) = served.post("/search", {**body, "rerank_top_n": 0})
    ids = [row["id"] for row in none]
    assert ids == [row["id"] for row in unranked]
    assert [row["scores"] for row in none] == [{"retrieval": score} for score in scores]
    _, (few, _) = served.post("/search", {**body, "rerank_top_n": 4})
    assert sorted(row["id"] for row in few) == sorted(ids)
    assert all("rerank" in row["scores"] for row in few)
    _, (usual, _) = served.post("/search", body)
    _, (twelve, _) = served.post("/search", {**body, "rerank_top_n": 12})
    assert usual == twelve
    _, (many, _) = served.post("/search", {**body, "rerank_top_n": 40})
    assert many[0]["scores"]["rerank"] >= twelve[0]["scores"]["rerank"]
    assert [row["id"] for row in many] != [row["id"] for row in twelve]
    batch = {"query": ["thing7 kind3"], "top_n": 4, "rerank_top_n": 0}
    assert [row["id"] for row in served.post("/batch_search", batch)[1][0]] == ids
    theirs = {"queries": ["thing7 kind3"], "topk": 4, "rerank_top_n": 0}
    assert [row["id"] for row in served.post("/retrieve", theirs)[1]["result"][0]] == ids
    status, reply = plain.post("/search", {**body, "rerank_top_n": 5})
    assert status == 422
    assert "no reranker" in reply["detail"]
    assert plain.post("/search", {**body, "rerank_top_n": 0})[0] == 200
    status, reply = plain.post("/rerank", {"query": "a", "texts": ["b"]})
    assert status == 404
    assert "set rerank.model" in reply["detail"]
    plain.service.close()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "not valid JSON"),
        ({"query": "a"}, 422, "send 'documents'"),
        ({"query": "a", "texts": ["b"], "documents": ["b"]}, 422, "send 'documents'"),
        ({"query": "a", "texts": ["b"], "top_n": 1}, 422, "'top_n' does not go with 'texts'"),
        ({"query": "a", "documents": ["b"], "raw_scores": True}, 422, "'raw_scores' does not go with"),
        ({"query": "a", "documents": ["b"], "rank_fields": ["x"]}, 422, "'rank_fields' does not go"),
        ({"query": "a", "documents": ["b"], "wild": 1}, 422, "unknown key 'wild'"),
        ({"query": " ", "documents": ["b"]}, 400, "cannot be empty"),
        ({"query": 3, "documents": ["b"]}, 422, "'query' must be a text"),
        ({"query": "a", "documents": []}, 422, "at least one text"),
        ({"query": "a", "documents": ["b", 3]}, 422, r"documents[1] must be a text"),
        ({"query": "a", "documents": [{"title": "b"}]}, 422, r"documents[0] must be a text"),
        ({"query": "a", "documents": ["b"] * 41}, 422, "at most 40"),
        ({"query": "a", "documents": ["b"], "top_n": 0}, 422, "'top_n' must be a whole number"),
        ({"query": "a", "documents": ["b"], "return_documents": 1}, 422, "must be true or false"),
        ({"query": "a", "texts": ["b"], "truncation_direction": "Left"}, 422, "must be Right"),
    ],
)
def test_a_request_that_cannot_be_answered_says_why(
    served: Served, body: Any, status: int, words: str
) -> None:
    found, reply = served.post("/rerank", body)
    assert (found, words in reply["detail"]) == (status, True), reply
    for value in (-1, True, "3", 41):
        assert served.post("/search", {"query": "a", "rerank_top_n": value})[0] == 422


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda of: st.lists(of, max_size=3))
)
@settings(deadline=None, max_examples=80)
def test_no_value_of_a_field_breaks_the_parser(value: Any) -> None:
    bounds = Bounds(10, 5, 20, 100, reranks=True)
    fine = {"query": "a", "documents": ["b"]}
    for name in ("query", "documents", "top_n", "return_documents", "texts", "model"):
        try:
            wanted = rerank_request(json.dumps({**fine, name: value}).encode(), bounds)
        except RequestError as error:
            assert error.status in (400, 422)
        else:
            assert 1 <= wanted.top_n <= len(wanted.texts) <= 5


def test_hostile_texts_are_scored_or_cut(served: Served) -> None:
    texts = ["", "[SEP] [CLS] kind1", "word1 " * 5000, "\x00\ufffd\u202e"]
    status, rows = served.post("/rerank", {"query": "thing1 " * 500, "texts": texts})
    assert status == 200
    assert sorted(row["index"] for row in rows) == [0, 1, 2, 3]


def test_a_reranker_that_cannot_answer_is_a_bad_gateway(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> Any:
        raise ModelError("http://x: HTTP 500: out of memory")

    monkeypatch.setattr(served.service.reranker, "score_lists", fail)
    status, reply = served.post("/rerank", {"query": "a", "texts": ["b"]})
    assert (status, reply["error"]) == (502, "no answer")
    assert "out of memory" in reply["detail"]
    assert served.post("/search", {"query": "never seen before"})[0] == 502
