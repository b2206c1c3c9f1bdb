"""Every store of vectors does the same: filled, counted, searched, filtered by passage, kept over a restart,
refused where it is not whole or of something else, asked again where it does not answer.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_stores import CLIENTS, NOBODY, SERVERS, Place, store_place
from helpers_wait import until
from test_retrieval_build import QUIET, config, engine_config, make_corpus

from src_core.errors import IndexServerError, UserError
from src_retrieval.build import build_index
from src_retrieval.encoders.toy import ToyEncoder
from src_retrieval.engine import SearchEngine, open_engine
from src_retrieval.identity import describe
from src_retrieval.layout import Manifest
from src_retrieval.vector import store_load, vector_backend
from src_retrieval.vector.store import StoreOptions
from src_retrieval.vector.store_index import StoreIndex

ROWS = 40
NUMBERS = itertools.count()


@pytest.fixture(scope="module", params=list(CLIENTS))
def somewhere(request: pytest.FixtureRequest) -> Iterator[Place]:
    with store_place(request.param) as place:
        yield place


class World:
    """A corpus, and a collection of its own in the store."""

    def __init__(self, folder: Path, place: Place) -> None:
        self.folder, self.place, self.collection = folder, place, f"c{next(NUMBERS)}"
        self.texts = make_corpus(folder / "corpus.jsonl", ROWS)
        self._served: list[StoreIndex] = []

    def build(self, *, retry: int = 2, **changes: object) -> Manifest:
        self.close()
        plain = {key: changes.pop(key) for key in list(changes) if not key.startswith("shape.")}
        own = {key.removeprefix("shape."): value for key, value in changes.items()}
        shape = {"collection": self.collection, "bulk_rows": 7, "retry.attempts": retry, **own}
        options = {"type": self.place.kind, **self.place.options("shape", **shape), **plain}
        return build_index(config(self.folder, **options), steps=QUIET)

    def serve(self, *, retry: int = 2, **changes: object) -> SearchEngine:
        self.close()
        plain = {key: changes.pop(key) for key in list(changes) if key in ("type", "retrieval_method")}
        options = {**self.place.options("searching", **{"retry.attempts": retry, **changes}), **plain}
        engine = open_engine(engine_config(self.folder, **options)).engine
        assert isinstance(engine.dense, StoreIndex)
        self._served.append(engine.dense)
        return engine

    def dense(self, **changes: object) -> StoreIndex:
        found = self.serve(**changes).dense
        assert isinstance(found, StoreIndex)
        return found

    def store(self) -> Any:
        """The collection itself, beside what is served."""
        self.close()
        backend = vector_backend(self.place.kind)
        values = {"address": self.place.address, **self.place.more}
        store = backend.connect(backend.search_options(**values), self.collection)  # type: ignore[attr-defined]
        self._served.append(store)
        return store

    def close(self) -> None:
        while self._served:
            self._served.pop().close()


@pytest.fixture
def world(tmp_path: Path, somewhere: Place) -> Iterator[World]:
    made = World(tmp_path, somewhere)
    yield made
    made.close()


def test_a_corpus_is_indexed_counted_and_searched_as_an_exact_index_does(world: World) -> None:
    manifest = world.build()
    assert (manifest.dense, manifest.rows) == (world.place.kind, ROWS)
    assert manifest.settings["collection"] == world.collection
    assert not list((world.folder / "index").glob("vectors*"))
    dense = world.dense()
    vectors = ToyEncoder().encode_passages(world.texts)
    queries = ToyEncoder().encode_queries(["row 17 talks", "word3 and word4", "no such thing"])
    exact = queries @ vectors.T
    hits = dense.search(queries, 10)
    wanted = -np.sort(-exact, axis=1)[:, :10]
    assert np.allclose(hits.scores, wanted, atol=2e-6)
    assert np.allclose(np.take_along_axis(exact, hits.rows, axis=1), wanted, atol=2e-6)
    assert [len(set(row)) for row in hits.rows.tolist()] == [10] * 3
    assert dense.search(queries, 1_000).rows.shape == (3, ROWS)
    assert world.store().count() == ROWS


def test_a_search_is_filtered_by_passage(world: World) -> None:
    world.build()
    dense = world.dense()
    queries = ToyEncoder().encode_queries([world.texts[5], world.texts[21]])
    hits = dense.search(queries, 5, among=["d21", "d3", "d30", "unknown'; DROP TABLE x; --"])
    assert [sorted(row) for row in hits.rows.tolist()] == [[-1, -1, 3, 21, 30]] * 2
    assert hits.rows[1, 0] == 21
    assert (dense.search(queries, 3, among=["unknown"]).rows == -1).all()
    assert (dense.search(queries, 3, among=[]).rows == -1).all()


def test_a_store_is_half_of_a_hybrid(world: World) -> None:
    world.build(type="hybrid", dense=world.place.kind)
    engine = world.serve()
    assert engine.hybrid
    assert engine.search([world.texts[33]], [3])[0][0].row == 33


def test_data_stay_over_a_restart_and_a_second_build_sends_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.build()
    world.place.stop()
    world.place.start()
    assert world.serve(retry=5).search([world.texts[11]], [1])[0][0].row == 11
    sent = added(world, monkeypatch)
    world.build(retry=5)
    assert sent == []


def test_another_encoder_or_corpus_is_refused_until_it_is_to_be_replaced(world: World) -> None:
    world.build()
    with pytest.raises(UserError, match=r"was built by toy:64 .*64d.*the config says"):
        world.serve(retrieval_method="toy:32")
    with pytest.raises(
        UserError, match=r"holds vectors of other weights \(toy:64 .*64d.*here: .*32d.*shape.replace"
    ):
        world.build(encoder="toy:32", overwrite=True)
    make_corpus(world.folder / "corpus.jsonl", ROWS + 3)
    with pytest.raises(UserError, match=r"holds vectors of other passages \(40 passages.*here: 43 passages"):
        world.build(overwrite=True)
    assert world.store().count() == ROWS
    world.build(overwrite=True, **{"shape.replace": True})
    assert world.store().count() == ROWS + 3
    assert world.serve().search(["row 42 talks of word42 and word0"], [1])[0][0].row == 42


def added(world: World, monkeypatch: pytest.MonkeyPatch, *, stop_at: int | None = None) -> list[int]:
    """The first rows of the requests that are sent from now on; the one at `stop_at` does not arrive."""
    own, starts = world.place.store_class.add, []

    def add(self: Any, start: int, ids: list[str], vectors: Any) -> None:
        if start == stop_at:
            raise KeyboardInterrupt
        starts.append(start)
        own(self, start, ids, vectors)

    monkeypatch.setattr(world.place.store_class, "add", add)
    return starts


def test_a_partial_load_is_refused_and_resumed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_load, "SAVE_SECONDS", 0.0)
    build_index(config(world.folder, type="flat"), steps=QUIET)  # stays until the new one is complete
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        added(world, patch, stop_at=21)
        world.build(overwrite=True)
    assert world.store().count() == 21
    record = json.loads(world.store().manifest())
    assert (record["rows_done"], record["rows"], record["ended"]) == (21, ROWS, False)
    assert record["encoder"]["dim"] == 64
    world.close()
    assert open_engine(engine_config(world.folder)).engine.search([world.texts[3]], [1])[0][0].row == 3
    with pytest.raises(UserError, match=r"holds 21 vectors, the corpus has 40 passages; complete it with"):
        open_unfinished(world)
    sent = added(world, monkeypatch)
    world.build(overwrite=True)
    assert sent == [21, 28, 35]
    assert world.store().count() == ROWS
    assert world.serve().search([world.texts[3]], [1])[0][0].row == 3


def open_unfinished(world: World) -> None:
    """What a server would do with the folder of a finished build whose collection is half filled."""
    kind, built = world.place.kind, World(world.folder, world.place)
    built.collection = f"{world.collection}_other"
    built.build(index_dir=world.folder / "second")
    path = world.folder / "second" / "manifest.json"
    path.write_text(path.read_text().replace(built.collection, world.collection))
    options = {"type": kind, "index_path": world.folder / "second", **world.place.options("searching")}
    open_engine(engine_config(world.folder, **options))


def test_a_collection_that_lost_vectors_is_refused_and_completed(world: World) -> None:
    world.build(keep_vectors=True)
    store = world.store()
    store.drop()
    with pytest.raises(UserError, match=rf"there is no collection {world.collection} of"):
        world.serve()
    world.build()
    assert world.serve().search([world.texts[3]], [1])[0][0].row == 3


def test_a_collection_that_another_build_replaced_is_not_served_by_the_old_folder(world: World) -> None:
    world.build()
    other = World(world.folder, world.place)
    other.collection = world.collection
    other.build(encoder="toy:32", index_dir=world.folder / "second", **{"shape.replace": True})
    with pytest.raises(UserError, match=r"holds vectors of other weights \(toy:32 .*32d.*here: .*64d"):
        world.serve()


def test_a_collection_made_anew_while_it_is_served_gives_no_answer(world: World) -> None:
    world.build()
    record = json.loads(world.store().manifest())
    engine = world.serve()
    assert engine.search([world.texts[3]], [1])[0][0].row == 3
    store = engine.dense._call.store  # type: ignore[union-attr]
    store.write_manifest(json.dumps({**record, "made": "0" * 32}))
    with pytest.raises(IndexServerError, match="was made anew while it was served; restart"):
        engine.search([world.texts[3]], [1])


def test_a_collection_of_somebody_else_is_left_alone(world: World) -> None:
    world.build()
    store = world.store()
    store.write_manifest("{}")
    with pytest.raises(UserError, match=r"the record of collection .* cannot be read"):
        world.build(overwrite=True)
    assert world.store().count() == ROWS


def test_what_a_store_answers_with_is_checked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.build()
    engine = world.serve()
    answers: list[Any] = [[[(ROWS, 1.0)]], [[(-1, 1.0)]], [[(0, float("nan"))]], [], [[(0, 1.0)]] * 2]
    for answer in answers:
        monkeypatch.setattr(world.place.store_class, "search", lambda *_, answer=answer: answer)
        with pytest.raises(IndexServerError, match=r"rows that are not of the corpus|answers to 1 queries"):
            engine.search([world.texts[3]], [1])


def test_a_store_that_changes_vectors_is_found_at_the_end_of_a_build(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = world.place.store_class.add
    halved = lambda self, start, ids, vectors: own(self, start, ids, vectors / 2)  # noqa: E731
    monkeypatch.setattr(world.place.store_class, "add", halved)
    with pytest.raises(
        UserError, match=r"does not give back what was sent: row 0 has the inner product 1\.0000"
    ):
        world.build()
    assert not (world.folder / "index" / "manifest.json").exists()


def test_the_record_says_what_is_served(world: World) -> None:
    world.build()
    described = describe(open_and_keep(world))
    dense = described["search"]["dense"]
    assert dense["kind"] == world.place.kind
    assert len(dense["made"]) == 32
    assert any(char.isdigit() for char in dense["store"])
    assert described["encoder"]["dim"] == 64


def open_and_keep(world: World) -> Any:
    world.close()
    opened = open_engine(engine_config(world.folder, **world.place.options("searching")))
    world._served.append(opened.engine.dense)  # type: ignore[arg-type]
    return opened


@pytest.mark.parametrize("kind", list(NOBODY))
def test_a_store_that_is_away_is_asked_again_and_then_one_sentence(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(kind, tmp_path)
    place.address = NOBODY[kind]
    world = World(tmp_path, place)
    asked: list[int] = []
    own = place.store_class.count
    monkeypatch.setattr(place.store_class, "count", lambda self: asked.append(1) or own(self))
    monkeypatch.setenv("PGPASSWORD", "s3cret")
    monkeypatch.setenv("QDRANT_API_KEY", "s3cret")
    monkeypatch.setenv("MILVUS_TOKEN", "root:s3cret")
    with pytest.raises(
        UserError, match=r"^no answer from \w+ at \S+127.0.0.1:1 \(.*\); start it, or correct"
    ) as raised:
        world.build(retry=3, **{"shape.request_timeout": 1})
    assert len(asked) == 3
    assert "\n" not in str(raised.value)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_that_comes_back_is_asked_again(kind: str, tmp_path: Path) -> None:
    with store_place(kind) as place:
        world = World(tmp_path, place)
        world.build()
        engine = world.serve(retry=1, request_timeout=2)
        assert engine.search([world.texts[7]], [1])[0][0].row == 7
        place.stop()
        with pytest.raises(IndexServerError) as raised:
            engine.search([world.texts[7]], [1])
        assert raised.value.retryable
        place.start()
        until(lambda: first_again(engine, world.texts[7]) == 7)
        world.close()


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_that_dies_while_it_is_filled_is_one_sentence_and_the_build_resumes(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_load, "SAVE_SECONDS", 0.0)
    with store_place(kind) as place:
        world = World(tmp_path, place)
        own = place.store_class.add

        def add(self: Any, start: int, ids: list[str], vectors: Any) -> None:
            if start == 21:
                place.stop()
            own(self, start, ids, vectors)

        with monkeypatch.context() as patch:
            patch.setattr(place.store_class, "add", add)
            with pytest.raises(UserError, match=r"^no answer from \w+ at .*; start it, or correct"):
                world.build(retry=1, **{"shape.request_timeout": 2})
        place.start()
        sent = added(world, monkeypatch)
        until(lambda: built_again(world))
        assert sent == [21, 28, 35]
        assert world.store().count() == ROWS
        world.close()


def built_again(world: World) -> bool:
    """False while the client of the store still waits before it connects again."""
    try:
        world.build()
    except UserError as error:
        assert "no answer from" in str(error), error
        return False
    return True


def first_again(engine: SearchEngine, text: str) -> int | None:
    """The first row; None while the client of the store still waits before it connects again."""
    try:
        return engine.search([text], [1])[0][0].row
    except IndexServerError as error:
        assert error.retryable, error
    return None


@pytest.mark.parametrize("kind", list(CLIENTS))
def test_without_its_client_one_sentence_says_what_to_install(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CLIENTS[kind]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        UserError, match=r"not installed; install it: bash scripts/setup.sh requirements-backends"
    ):
        World(tmp_path, Place(kind, tmp_path)).build()


@pytest.mark.parametrize("kind", ["qdrant", "milvus"])
def test_an_address_with_a_password_is_refused(tmp_path: Path, kind: str) -> None:
    for address in ("http://me:s3cret@127.0.0.1:1", "ftp://me:s3cret@127.0.0.1"):
        with pytest.raises(UserError, match=r"remove them and set|no address of a server") as raised:
            World(tmp_path, Place(kind, tmp_path)).build(**{"shape.address": address})
        assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("name", ["Wiki", "a-b", "a;b", "a" * 49, "''", "1a", "ä"])
def test_a_name_that_no_store_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="is no name of a collection"):
        World(tmp_path, Place("qdrant", tmp_path)).build(**{"shape.collection": name})


def test_the_address_is_that_of_the_settings_or_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from src_retrieval.vector.store import address_of

    monkeypatch.setenv("QDRANT_URL", " http://127.0.0.1:7000 ")
    assert address_of(StoreOptions(), "QDRANT_URL", "x") == "http://127.0.0.1:7000"
    assert address_of(StoreOptions(address="folder"), "QDRANT_URL", "x") == "folder"
    monkeypatch.delenv("QDRANT_URL")
    assert address_of(StoreOptions(), "QDRANT_URL", "x") == "x"
