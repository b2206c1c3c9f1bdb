"""The contract of a backend, of Elasticsearch's API, by the clients of Elasticsearch and of OpenSearch on a
server in a process of its own (noida-db, at most 1,000 passages): filled, counted, searched, filtered by id,
kept over a restart, refused where it is not whole or of something else, asked again where it does not answer.
"""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_elastic_server import SmallElastic, small_elastic
from helpers_wait import until
from test_retrieval_build import QUIET, config, engine_config, make_corpus
from test_retrieval_build import settings as arguments

from src_core.errors import IndexServerError, UserError
from src_core.jsonl import read_jsonl
from src_retrieval.build import build_index
from src_retrieval.engine import SearchEngine, open_engine
from src_retrieval.layout import Manifest
from src_retrieval.sparse import sparse_backend
from src_retrieval.sparse.elastic import ElasticIndex
from src_retrieval.sparse.elastic_options import ElasticOptions
from src_retrieval.sparse.elastic_server import ElasticServer

ROWS = 40
NUMBERS = itertools.count()
SAMPLE = Path("data/sample_world/corpus.jsonl")
GOLDEN = json.loads((Path(__file__).parent / "data" / "lucene.json").read_bytes())["rankings"]


@pytest.fixture(scope="module")
def somewhere() -> Iterator[SmallElastic]:
    with small_elastic() as server:
        yield server


class World:
    """A corpus, and an index of its own on the server, which the client of `kind` asks."""

    def __init__(self, folder: Path, place: SmallElastic, kind: str) -> None:
        self.folder, self.place, self.kind, self.index = folder, place, kind, f"c{next(NUMBERS)}"
        self.texts = make_corpus(folder / "corpus.jsonl", ROWS)

    def options(self, **changes: object) -> dict[str, object]:
        values = {
            "host": self.place.url,
            "index": self.index,
            "bulk_passages": 7,
            "retry.attempts": 2,
            "retry.first_wait": 0,
            "retry.longest_wait": 0,
            **changes,
        }
        return {f"sparse_options.{key}": value for key, value in values.items()}

    def build(self, **changes: object) -> Manifest:
        options = {"type": self.kind, **self.options(), **changes}
        return build_index(config(self.folder, **options), steps=QUIET)

    def serve(self, **changes: object) -> SearchEngine:
        return open_engine(engine_config(self.folder, **{**self.options(), **changes})).engine

    def server(self) -> ElasticServer:
        return ElasticServer(sparse_backend(self.kind).options(host=self.place.url, index=self.index))

    def client(self) -> Any:
        """Elastic's own client, whatever is tested."""
        return ElasticOptions(host=self.place.url).client()

    def count(self) -> int:
        state = self.server().state()
        return 0 if state is None else state.documents


@pytest.fixture(params=["elasticsearch", "opensearch"])
def world(request: pytest.FixtureRequest, tmp_path: Path, somewhere: SmallElastic) -> World:
    return World(tmp_path, somewhere, request.param)


def test_a_corpus_is_indexed_counted_and_searched(world: World) -> None:
    manifest = world.build()
    assert (manifest.sparse, manifest.rows, world.count()) == (world.kind, ROWS, ROWS)
    engine = world.serve()
    assert engine.sparse is not None
    assert engine.sparse.identity["kind"] == world.kind
    found = engine.search(["row 17 talks of word3", "no such thing", "word5"], [3, 2, ROWS])
    assert found[0][0].row == 17
    assert found[1] == []
    assert found[2][0].row == 5


def test_rankings_are_those_of_lucene(world: World) -> None:
    """Questions on the sample world; the scores have the factor k1 + 1, which Lucene left out in 8.0."""
    some = dict(list(GOLDEN.items())[::5])
    rows = len(list(read_jsonl(SAMPLE)))
    assert rows <= 1_000
    world.build(corpus=SAMPLE, **world.options(bulk_passages=500))
    found = world.serve(corpus_path=SAMPLE).search(list(some), [10] * len(some))
    for results, expected in zip(found, some.values(), strict=True):
        assert [result.row for result in results] == [row for row, _ in expected]
        ratios = [result.retrieval / score for result, (_, score) in zip(results, expected, strict=True)]
        assert ratios == pytest.approx([ratios[0]] * len(ratios), rel=1e-3)


def test_a_search_is_filtered_by_id(world: World) -> None:
    world.build()
    index = world.serve().sparse
    assert isinstance(index, ElasticIndex)
    among = ["d21", "d3", "d30", "unknown'; DROP TABLE x; --"]
    hits = index.search(["row 21 talks", "talks"], 5, among=among)
    assert [sorted(row) for row in hits.rows.tolist()] == [[-1, -1, 3, 21, 30]] * 2
    assert hits.rows[0, 0] == 21
    assert (index.search(["talks"], 3, among=["unknown"]).rows == -1).all()
    assert (index.search(["talks"], 3, among=[]).rows == -1).all()


def test_half_of_a_hybrid_is_on_the_server_and_another_encoder_is_refused(world: World) -> None:
    world.build(type="hybrid", sparse=world.kind)
    engine = world.serve()
    assert engine.hybrid
    assert engine.search([world.texts[33]], [3])[0][0].row == 33
    with pytest.raises(UserError, match=r"was built by toy:64 .* the config says toy:32"):
        world.serve(retrieval_method="toy:32")


def test_data_stay_over_a_restart_and_a_second_build_sends_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.build()
    world.place.stop()
    world.place.start()
    assert world.serve().search([world.texts[11]], [1])[0][0].row == 11
    monkeypatch.setattr(ElasticServer, "add", lambda *_: pytest.fail("a passage was sent"))
    world.build()
    assert world.count() == ROWS


def test_another_corpus_or_analyser_is_refused_until_it_is_to_be_replaced(world: World) -> None:
    world.build()
    make_corpus(world.folder / "corpus.jsonl", ROWS + 1)
    with pytest.raises(UserError, match=r"was not made from .*corpus\.jsonl \(40 documents\)"):
        world.build(overwrite=True)
    with pytest.raises(UserError, match="was built from another version of"):
        world.serve()
    world.build(overwrite=True, **world.options(replace=True))
    assert world.count() == ROWS + 1
    world.index = f"{world.index}-plain"
    texts = {name: {"type": "text"} for name in ("title", "txt")}
    meta = {"corpus_sha256": world.serve(**{"sparse_options.index": world.index[:-6]}).corpus.info.sha256}
    world.client().indices.create(index=world.index, mappings={"_meta": meta, "properties": texts})
    with pytest.raises(UserError, match="is not one of the fields title and txt with the analyzer english"):
        world.build(overwrite=True)


def test_a_partial_load_is_refused_and_resumed(world: World) -> None:
    make_corpus(world.folder / "corpus.jsonl", 900)
    slow = world.options(bulk_passages=3, bulk_requests=1)
    command = [sys.executable, "-m", "src_retrieval.build"]
    command += arguments(world.folder, type=world.kind, **slow)
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    until(lambda: world.count() >= 30 or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 30 <= world.count() < 900
    with pytest.raises(UserError, match="there is an unfinished index"):
        world.serve()
    world.build(**world.options(bulk_passages=200))
    assert world.count() == 900
    assert len(world.serve().search(["talks"], [900])[0]) == 900


def test_an_index_that_lost_documents_is_refused_and_completed(world: World) -> None:
    world.build()
    world.client().delete(index=world.index, id="d3")
    with pytest.raises(UserError, match=r"holds 39 documents, .* has 40 passages; complete it with bash"):
        world.serve()
    world.build()
    assert world.count() == ROWS


def test_a_server_that_is_away_is_asked_again_and_then_one_sentence(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.build()
    engine = world.serve(**{"sparse_options.retry.attempts": 3})
    world.place.stop()
    try:
        asked: list[int] = []
        once = ElasticServer._once
        monkeypatch.setattr(ElasticServer, "_once", lambda self, call: asked.append(1) or once(self, call))
        with pytest.raises(
            IndexServerError, match=r"^no answer from (Elastic|Open)[sS]earch at \S+ \(.*\); start it"
        ):
            engine.search(["talks"], [1])
        assert len(asked) == 3
        with pytest.raises(
            UserError, match=r"^no answer from (Elastic|Open)[sS]earch at \S+ \(.*\); start it, or corr"
        ):
            world.build()
    finally:
        world.place.start()
    assert engine.search([world.texts[7]], [1])[0][0].row == 7


def test_a_server_that_dies_while_it_is_filled_is_one_sentence_and_the_build_resumes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, sent = ElasticServer.add, []

    def add(self: ElasticServer, documents: Any) -> None:
        sent.append(len(documents))
        if len(sent) == 4:
            world.place.stop()
        own(self, documents)

    monkeypatch.setattr(ElasticServer, "add", add)
    try:
        with pytest.raises(UserError, match=r"^no answer from (Elastic|Open)[sS]earch at \S+ \(.*\); start"):
            world.build(**world.options(bulk_requests=1))
    finally:
        world.place.start()
    assert world.count() == 21
    world.build()
    assert world.count() == ROWS
    assert len(world.serve().search(["talks"], [ROWS])[0]) == ROWS


def test_scores_are_numbers_in_falling_order(world: World) -> None:
    world.build()
    index = world.serve().sparse
    assert index is not None
    scores = index.search(["row 5 talks of word5"], ROWS).scores[0]
    assert np.isfinite(scores).all()
    assert (np.diff(scores) <= 0).all()
