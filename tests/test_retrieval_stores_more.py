"""What only one store has: Qdrant's server over HTTP, PostgreSQL's fp16 column and graph, Milvus's file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_qdrant import FakeQdrant, fake_qdrant
from helpers_stores import Place, store_place
from test_retrieval_build import QUIET, config
from test_retrieval_stores import ROWS, World

from src_core.errors import IndexServerError, UserError
from src_retrieval.build import build_index
from src_retrieval.encoders.toy import ToyEncoder
from src_retrieval.vector import qdrant


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeQdrant]:
    monkeypatch.setattr(qdrant, "LOOK_SECONDS", 0.0)
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)
    with fake_qdrant() as server:
        yield server


def world_of(folder: Path, fake: FakeQdrant) -> World:
    place = Place("qdrant", folder)
    place.address = fake.url
    return World(folder, place)


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
def test_a_qdrant_server_is_filled_without_a_graph_which_is_made_at_the_end(
    tmp_path: Path, fake: FakeQdrant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", "k3y")
    world = world_of(tmp_path, fake)
    fake.states = ["green", "yellow", "yellow", "green"]  # the first is asked for by `create`
    world.build(**{"shape.hnsw_m": 24})
    (made,) = fake.sent("PUT", world.collection)
    assert made.body["vectors"] == {"size": 64, "distance": "Dot"}
    assert made.body["hnsw_config"]["m"] == 24
    assert made.body["optimizers_config"] == {"indexing_threshold": 0}
    patched = [one.body for one in fake.sent("PATCH", world.collection)]
    assert {"optimizers_config": {"indexing_threshold": 10_000}} in patched
    assert len(fake.sent("PUT", "/points")) == -(-ROWS // 7)
    assert fake.states == []
    assert {one.key for one in fake.requests} == {"k3y"}
    engine = world.serve(hnsw_ef=77)
    assert engine.search([world.texts[9], world.texts[3]], [1, 2])[0][0].row == 9
    asked = fake.sent("POST", "query/batch")[-1].body["searches"]
    assert [one["params"] for one in asked] == [{"hnsw_ef": 77, "exact": False}] * 2
    world.serve(exact=True).search([world.texts[9]], [1])
    assert fake.sent("POST", "query/batch")[-1].body["searches"][0]["params"]["exact"] is True
    world.close()


def test_a_busy_qdrant_is_asked_again_and_its_refusals_are_one_sentence(
    tmp_path: Path, fake: FakeQdrant
) -> None:
    world = world_of(tmp_path, fake)
    busy = [503, 429]
    fake.fault = lambda one: busy.pop() if busy and one.path.endswith("/points") else None
    world.build(retry=3)
    assert len(fake.sent("PUT", "/points")) == -(-ROWS // 7) + 2
    engine = world.serve(retry=1)
    for status, again in ((503, True), (400, False)):
        fake.fault = lambda one, status=status: status if one.path.endswith("batch") else None
        with pytest.raises(IndexServerError, match=rf"HTTP {status}: .*not.{{1,2}}now") as raised:
            engine.search([world.texts[1]], [1])
        assert raised.value.retryable is again
    fake.fault = lambda one: 401
    with pytest.raises(UserError, match=r"does not let us in .*; set QDRANT_API_KEY"):
        world.serve(retry=1)


@pytest.mark.parametrize("seconds", ["1", "Mon, 30 Nov 2026 17:00:00 GMT"])
def test_a_qdrant_that_says_when_to_come_back_is_asked_again(
    tmp_path: Path, fake: FakeQdrant, seconds: str
) -> None:
    world, busy = world_of(tmp_path, fake), [429]
    fake.retry_after = seconds
    fake.fault = lambda one: busy.pop() if busy and one.path.endswith("/points") else None
    world.build(retry=2)
    assert len(fake.sent("PUT", "/points")) == -(-ROWS // 7) + 1
    engine = world.serve(retry=1)
    fake.fault = lambda one: 429 if one.path.endswith("batch") else None
    with pytest.raises(IndexServerError, match=r"Qdrant at .*: HTTP 429: ") as raised:
        engine.search([world.texts[1]], [1])
    assert raised.value.retryable


def test_an_optimizer_that_failed_and_a_server_without_metadata_are_refused(
    tmp_path: Path, fake: FakeQdrant
) -> None:
    world = world_of(tmp_path, fake)
    fake.states = ["green", "red"]
    with pytest.raises(UserError, match="its optimizer failed"):
        world.build(retry=1)
    other = world_of(tmp_path, fake)
    own = fake._result

    def older(request: Any, name: str, rest: str) -> Any:
        if request.method == "PUT" and not rest:
            del request.body["metadata"]
        return own(request, name, rest)

    fake._result = older  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"Qdrant 1\.16 or newer is needed"):
        other.build(retry=1, index_dir=tmp_path / "other")
    assert not fake.client.collection_exists(other.collection)


def test_postgres_keeps_fp16_vectors_and_searches_by_its_graph(tmp_path: Path) -> None:
    with store_place("pgvector") as place:
        world = World(tmp_path, place)
        world.build(**{"shape.storage": "halfvec", "shape.hnsw_m": 8})
        rows = (
            world.store()
            ._run("SELECT indexdef FROM pg_indexes WHERE tablename = %s ORDER BY 1", world.collection)
            .fetchall()
        )
        assert any("USING hnsw (embedding halfvec_ip_ops) WITH (m='8'" in row[0] for row in rows)
        queries = ToyEncoder().encode_queries([world.texts[9], world.texts[30]])
        approximate = world.dense().search(queries, 5)
        exact = world.dense(exact=True).search(queries, 5)
        assert exact.rows[:, 0].tolist() == approximate.rows[:, 0].tolist() == [9, 30]
        half = (queries.astype(np.float16).astype(np.float32) ** 2).sum(axis=1)
        assert np.allclose(exact.scores[:, 0], half, atol=2e-3)
        assert f"{world.collection}_hnsw" in plan_of(world, queries, exact=False)
        assert f"{world.collection}_hnsw" not in plan_of(world, queries, exact=True)
        world.close()


def test_postgres_refuses_a_graph_of_too_many_dimensions_before_it_is_sent_anything(tmp_path: Path) -> None:
    with store_place("pgvector") as place:
        world = World(tmp_path, place)
        with pytest.raises(UserError, match=r"no graph of vector with 2001 dim.*index=flat.*storage=halfvec"):
            world.build(encoder="toy:2001")
        assert world.store().count() is None
        world.build(encoder="toy:2001", **{"shape.storage": "halfvec"})
        assert world.store().count() == ROWS
        world.close()


def test_a_table_of_somebody_else_is_not_deleted_by_replace(tmp_path: Path) -> None:
    with store_place("pgvector") as place:
        world = World(tmp_path, place)
        world.store()._run("CREATE TABLE {table} (name text)")
        world.store()._run("INSERT INTO {table} VALUES ('mine')")
        with pytest.raises(UserError, match=r"has no record of a build \(1 rows\).*choose another"):
            world.build(**{"shape.replace": True})
        assert world.store()._run("SELECT name FROM {table}").fetchone() == ("mine",)
        world.close()
        World(tmp_path, place).build(index_dir=tmp_path / "other")
        records = World(tmp_path, place)
        records.collection = "rearag_records"
        with pytest.raises(UserError, match=r"has no record of a build"):
            records.build(index_dir=tmp_path / "third", **{"shape.replace": True})
        assert records.store().count() == 1
        records.close()


def plan_of(world: World, queries: Any, *, exact: bool) -> str:
    """How PostgreSQL does our search."""
    dense, plans = world.dense(exact=exact), []
    store: Any = dense._call.store
    own = store._run

    def explained(statement: str, *values: Any, **parts: Any) -> Any:
        if statement.startswith("WITH asked"):
            plans.extend(row[0] for row in own(f"EXPLAIN {statement}", *values, **parts).fetchall())
        return own(statement, *values, **parts)

    store._run = explained
    dense.search(queries, 5)
    return "\n".join(plans)


def test_a_password_in_the_address_of_postgres_is_refused(tmp_path: Path) -> None:
    place = Place("pgvector", tmp_path)
    for address, said in (
        ("postgresql://me:s3cret@127.0.0.1", "remove them and set PGPASSWORD"),
        ("postgresql://127.0.0.1/wiki", "give the database as database=NAME"),
        ("mysql://me:s3cret@127.0.0.1", "write it like postgresql://127.0.0.1:5432"),
    ):
        place.address = address
        with pytest.raises(UserError, match=said) as raised:
            World(tmp_path, place).build()
        assert "s3cret" not in str(raised.value)


def test_milvus_keeps_a_collection_in_a_file(tmp_path: Path) -> None:
    place = Place("milvus", tmp_path)
    place.address = str(tmp_path / "mine")
    with pytest.raises(UserError, match=r"name a server or a file that ends in \.db"):
        World(tmp_path, place).build()
    place.address = str(tmp_path / "mine.db")
    world = World(tmp_path, place)
    world.build(**{"shape.index": "flat"})
    assert world.serve().search([world.texts[9]], [1])[0][0].row == 9
    world.close()


def test_the_vectors_of_an_index_beside_it_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, Place("qdrant", tmp_path))
    build_index(config(tmp_path, type="flat", index_dir=tmp_path / "mine-flat"), steps=QUIET)
    monkeypatch.setattr(ToyEncoder, "encode_passages", lambda *_, **__: pytest.fail("encoded again"))
    world.build(index_dir=tmp_path / "mine-qdrant")
    assert world.store().count() == ROWS
    world.close()


def test_a_folder_of_qdrant_belongs_to_one_process(tmp_path: Path) -> None:
    place = Place("qdrant", tmp_path)
    world = World(tmp_path, place)
    world.build()
    world.serve()
    other = World(tmp_path, place)
    with pytest.raises(
        UserError, match=r"is used by another process; stop that one, or start a Qdrant server"
    ):
        other.build(index_dir=tmp_path / "other")
    world.close()
