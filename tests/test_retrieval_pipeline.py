"""Stages: batches form from what is queued, stages overlap, faults stay with their items, closing drains; and
the pipeline answers as the engine does step by step.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from src_core.config import load_config
from src_core.errors import IndexServerError, ModelError, ServerGoneError
from src_core.progress import Steps
from src_retrieval.build import build_index
from src_retrieval.build_plan import BuildConfig
from src_retrieval.engine import EngineConfig, SearchEngine, open_engine
from src_retrieval.pipeline.search import SearchPipeline
from src_retrieval.pipeline.stage import ROOM_IN_BATCHES, BatchCost, Stage
from src_retrieval.results import FloatArray, Hits
from src_retrieval.vector.base import VectorIndex

WAIT = 10.0
ROWS = 200


class Sink:
    """Keeps what leaves a stage."""

    def __init__(self) -> None:
        self.done: dict[int, Any] = {}
        self.failed: dict[int, Exception] = {}
        self._changed = threading.Condition()

    def take(self, finished: list[tuple[int, Any]]) -> None:
        with self._changed:
            self.done.update(finished)
            self._changed.notify_all()

    def fail(self, item: int, error: Exception) -> None:
        with self._changed:
            self.failed[item] = error
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.done) + len(self.failed) >= count, WAIT)


class Gate:
    """A `run` that stops in its first batch until it is opened, and keeps the batches."""

    def __init__(self, work: Callable[[int], int] = lambda item: item * 10) -> None:
        self.batches: list[list[int]] = []
        self.entered, self.open = threading.Event(), threading.Event()
        self._work = work

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(list(items))
        self.entered.set()
        assert self.open.wait(WAIT)
        return [self._work(item) for item in items]


def stage_of(run: Callable[[list[int]], Sequence[int]], sink: Sink, **changes: Any) -> Stage[int, int]:
    return Stage("test", run, **{"done": sink.take, "failed": sink.fail, "max_batch": 4, **changes})


def test_what_queues_while_a_batch_runs_becomes_the_next_batch() -> None:
    gate, sink = Gate(), Sink()
    seen: list[int] = []
    stage = stage_of(gate, sink, observe=lambda size, seconds: seen.append(size))
    stage.put([0])
    assert gate.entered.wait(WAIT)
    stage.put(range(1, 7))
    assert stage.pending() == 7
    gate.open.set()
    sink.wait_for(7)
    stage.close()
    assert gate.batches == [[0], [1, 2, 3, 4], [5, 6]]
    assert seen == [1, 4, 2]
    assert sink.done == {item: item * 10 for item in range(7)}


def one_batch_of_three(work: Callable[[int], int]) -> tuple[Gate, Sink, Stage[int, int]]:
    """A stage that has run item 0 alone, and then 1, 2 and 3 together."""
    gate, sink = Gate(work), Sink()
    stage = stage_of(gate, sink)
    stage.put([0])
    assert gate.entered.wait(WAIT)
    stage.put([1, 2, 3])
    gate.open.set()
    sink.wait_for(4)
    return gate, sink, stage


def test_a_faulty_item_gets_its_error_and_the_others_of_its_batch_their_results() -> None:
    def work(item: int) -> int:
        if item == 2:
            raise ZeroDivisionError
        return item

    _, sink, stage = one_batch_of_three(work)
    assert sorted(sink.done) == [0, 1, 3]
    assert [type(error) for error in sink.failed.values()] == [ZeroDivisionError]
    assert list(sink.failed) == [2]
    stage.put([5])
    sink.wait_for(5)
    stage.close()
    assert sink.done[5] == 5


@pytest.mark.parametrize(
    ("error", "runs"),
    [
        (IndexServerError("no answer", retryable=True), 1),
        (ServerGoneError("the server has gone"), 1),
        (ModelError("busy", retryable=True, status=503), 1),
        (IndexServerError("a query it cannot read", status=400), 4),
        (ModelError("this pair breaks it", retryable=True, status=500), 4),
    ],
)
def test_a_server_that_does_not_answer_fails_its_batch_at_once(error: Exception, runs: int) -> None:
    def work(item: int) -> int:
        if item:
            raise error
        return item

    gate, sink, stage = one_batch_of_three(work)
    stage.close()
    assert len(gate.batches) == 1 + runs
    assert sink.failed == dict.fromkeys([1, 2, 3], error)


def test_a_run_that_loses_items_is_a_fault_and_not_a_wrong_answer() -> None:
    sink = Sink()
    stage = stage_of(lambda items: [], sink)
    stage.put([1])
    sink.wait_for(1)
    stage.close()
    assert isinstance(sink.failed[1], ValueError)


def test_closing_drains_the_queue_and_refuses_more() -> None:
    gate, sink = Gate(), Sink()
    stage = stage_of(gate, sink)
    stage.put(range(10))
    closing = threading.Thread(target=stage.close)
    closing.start()
    gate.open.set()
    closing.join(WAIT)
    assert not closing.is_alive()
    assert sorted(sink.done) == list(range(10))
    with pytest.raises(RuntimeError, match="closed"):
        stage.put([11])


def test_whoever_brings_more_than_there_is_room_for_waits() -> None:
    gate, sink = Gate(), Sink()
    stage = stage_of(gate, sink, max_batch=2)
    stage.put([0])
    assert gate.entered.wait(WAIT)
    room = 2 * ROOM_IN_BATCHES
    bringing = threading.Thread(target=stage.put, args=(range(1, room + 4),))
    bringing.start()
    deadline = time.monotonic() + WAIT
    while stage.pending() < room + 1 and time.monotonic() < deadline:
        time.sleep(0.001)
    bringing.join(0.05)
    assert bringing.is_alive()
    assert stage.pending() == room + 1
    gate.open.set()
    bringing.join(WAIT)
    assert not bringing.is_alive()
    sink.wait_for(room + 4)
    stage.close()


def test_items_that_nobody_waits_for_are_not_run() -> None:
    gate, sink = Gate(), Sink()
    given_up = {2}
    stage = stage_of(gate, sink, wanted=lambda item: item not in given_up)
    stage.put([0])
    assert gate.entered.wait(WAIT)
    stage.put([1, 2, 3])
    gate.open.set()
    sink.wait_for(3)
    stage.close()
    assert gate.batches == [[0], [1, 3]]


def test_two_stages_run_at_the_same_time() -> None:
    """The first stage ends its second item only while the second stage is inside its first."""
    second_inside, first_again = threading.Event(), threading.Event()
    sink = Sink()

    def second(items: list[int]) -> list[int]:
        second_inside.set()
        assert first_again.wait(WAIT)
        return items

    def first(items: list[int]) -> list[int]:
        if items == [1]:
            assert second_inside.wait(WAIT)
            first_again.set()
        return items

    behind = stage_of(second, sink)
    ahead = stage_of(first, sink, max_batch=1, done=lambda finished: behind.put([out for _, out in finished]))
    ahead.put([0, 1])
    sink.wait_for(2)
    ahead.close()
    behind.close()
    assert sorted(sink.done) == [0, 1]


@pytest.mark.parametrize(("fixed", "first"), [(30.0, 6), (0.0, 3)])
def test_a_stage_waits_for_half_of_what_is_on_its_way_and_for_all_where_a_batch_is_costly(
    fixed: float, first: int
) -> None:
    """With half of it, both stages have work; where one more batch costs more than the wait, all is one
    batch.
    """
    sink, begun = Sink(), threading.Event()
    batches: list[list[int]] = []

    def search(items: list[int]) -> list[int]:
        batches.append(items)
        begun.set()
        return items

    def encode(items: list[int]) -> list[int]:
        if items[0] >= first:  # the stage behind has to begin without this one
            assert begun.wait(WAIT)
        elif items[0]:
            assert not begun.wait(0.02)  # a chance to begin too early
        return items

    behind = stage_of(search, sink, max_batch=8)
    ahead = stage_of(
        encode, sink, max_batch=1, done=lambda finished: behind.put([out for _, out in finished])
    )
    behind.follow(ahead)
    behind.cost.fixed = fixed
    ahead._room = 6  # all of them are there from the beginning
    ahead.put(range(6))
    sink.wait_for(6)
    ahead.close()
    behind.close()
    assert not sink.failed
    assert batches[0] == list(range(first))


@pytest.mark.parametrize(("fixed", "ahead_of_it"), [(30.0, False), (0.0, True)])
def test_a_source_does_not_run_ahead_of_a_costly_batch(fixed: float, ahead_of_it: bool) -> None:
    """Items that were ready before would not join those whose callers come back when the batch is done."""
    sink, gate, encoded = Sink(), Gate(), []

    def encode(items: list[int]) -> list[int]:
        encoded.extend(items)
        return items

    behind = stage_of(gate, sink, max_batch=8)
    ahead = stage_of(
        encode, sink, max_batch=8, done=lambda finished: behind.put([out for _, out in finished])
    )
    behind.follow(ahead)
    behind.cost.fixed = fixed
    ahead.put([0])
    assert gate.entered.wait(WAIT)
    ahead.put([1, 2])
    deadline = time.monotonic() + (WAIT if ahead_of_it else 0.05)
    while len(encoded) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert sorted(encoded) == ([0, 1, 2] if ahead_of_it else [0])
    gate.open.set()
    sink.wait_for(3)
    ahead.close()
    behind.close()
    assert gate.batches == [[0], [1, 2]]


def test_the_fixed_part_of_a_batch_is_told_from_the_part_per_item() -> None:
    cost = BatchCost()
    cost.learn(1, 0.11)
    assert cost.fixed == 0.0  # one size tells nothing
    for size in (8, 1, 32, 16):
        cost.learn(size, 0.1 + 0.01 * size)
    assert (cost.fixed, cost.per_item) == (pytest.approx(0.1), pytest.approx(0.01))
    noise = np.random.default_rng(0).normal(0.0, 0.02, 300)
    for at in range(300):  # a run of similar batches on a busy machine
        size = 14 + at % 4
        cost.learn(size, 0.1 + 0.01 * size + noise[at])
    assert cost.fixed == pytest.approx(0.1, rel=0.3)
    for size in (4, 9, 2, 16) * 30:
        cost.learn(size, 0.02 * size)
    assert cost.fixed < 0.02
    assert cost.seconds_per_item() == pytest.approx(0.02, rel=0.05)


def test_the_fit_outlives_a_size_that_no_longer_occurs() -> None:
    cost = BatchCost()
    for _ in range(5):
        cost.learn(1, 0.11)
        cost.learn(64, 0.74)
    for _ in range(80_000):  # 0.99 ** 80,000 is 0.0
        cost.learn(64, 0.74)
    assert (cost.fixed, cost.per_item) == (pytest.approx(0.1, rel=0.01), pytest.approx(0.01, rel=0.01))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pipeline")
    rows = [{"id": f"d{at}", "contents": f'"T{at}"\nabout thing{at} and kind{at % 10}'} for at in range(ROWS)]
    (made / "corpus.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    values = [f"corpus={made / 'corpus.jsonl'}", f"index_dir={made / 'index'}", "encoder=toy:4096"]
    build_index(load_config(BuildConfig, None, values), steps=Steps(Console(quiet=True)))
    return made


def engine_of(folder: Path, *changes: str) -> SearchEngine:
    values = [
        "retrieval_method=toy:4096",
        f"index_path={folder / 'index'}",
        f"corpus_path={folder / 'corpus.jsonl'}",
        *changes,
    ]
    return open_engine(load_config(EngineConfig, None, values)).engine


@pytest.fixture
def closing() -> Iterator[list[SearchPipeline]]:
    made: list[SearchPipeline] = []
    yield made
    for pipeline in made:
        pipeline.close()


RERANK = ("rerank.type=bi_encoder", "rerank.model=toy:4096", "rerank.top_n=10")
SHAPES = {
    "hybrid": ((), {"encode", "dense", "sparse", "fuse"}),
    "dense": (("type=flat",), {"encode", "dense"}),
    "sparse": (("type=bm25",), {"sparse"}),
    "reranked": (RERANK, {"encode", "dense", "sparse", "fuse", "rerank"}),
    "sparse, reranked": (("type=bm25", *RERANK), {"sparse", "rerank"}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_pipeline_answers_as_the_engine_does_step_by_step(
    folder: Path, closing: list[SearchPipeline], shape: str
) -> None:
    changes, stages = SHAPES[shape]
    engine = engine_of(folder, *changes)
    seen: set[str] = set()
    pipeline = SearchPipeline(engine, max_batch=16, observe=lambda name, *_: seen.add(name))
    closing.append(pipeline)
    queries = [f"thing{at} kind{at % 7}" for at in range(60)]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda query: pipeline.run([query], 3, timeout=WAIT)[0], queries))
    expected = engine.search(queries, [3] * len(queries))
    assert [[result.row for result in rows] for rows in found] == [
        [result.row for result in rows] for rows in expected
    ]
    assert seen == stages


class Broken(VectorIndex):
    """Fails for one vector, or takes longer than anybody waits."""

    rows, dim = ROWS, 4096

    def __init__(self, bad: FloatArray, hold: threading.Event | None = None) -> None:
        self._bad, self._hold = bad, hold
        self.asked = 0
        self.identity = {}

    def search(self, vectors: FloatArray, k: int) -> Hits:
        self.asked += len(vectors)
        if self._hold is not None:
            assert self._hold.wait(WAIT)
        if any(np.array_equal(vector, self._bad) for vector in vectors):
            raise OSError("the index is gone")
        rows = np.tile(np.arange(k), (len(vectors), 1))
        return Hits(rows, np.ones(rows.shape, dtype=np.float32))


def test_a_query_that_fails_takes_no_other_with_it(folder: Path, closing: list[SearchPipeline]) -> None:
    engine = engine_of(folder)
    bad = engine.encode(["thing5"])[0]
    pipeline = SearchPipeline(replace(engine, dense=Broken(bad)), max_batch=8)
    closing.append(pipeline)

    def ask(at: int) -> str:
        try:
            return str(len(pipeline.run([f"thing{at}"], 2, timeout=WAIT)[0]))
        except OSError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(16)))
    assert answers == ["the index is gone" if at == 5 else "2" for at in range(16)]


def test_a_caller_that_gives_up_frees_its_place(folder: Path, closing: list[SearchPipeline]) -> None:
    engine, hold = engine_of(folder, "type=flat"), threading.Event()
    index = Broken(np.zeros(0, dtype=np.float32), hold)
    pipeline = SearchPipeline(replace(engine, dense=index), max_batch=1)
    closing.append(pipeline)
    with pytest.raises(TimeoutError):
        pipeline.run(["a", "b", "c"], 1, timeout=0.5)
    hold.set()
    assert len(pipeline.run(["d"], 1, timeout=WAIT)[0]) == 1
    assert index.asked == 2  # the one that was being searched, and the new one


def test_closing_answers_what_is_on_its_way(folder: Path) -> None:
    pipeline = SearchPipeline(engine_of(folder, *RERANK), max_batch=4)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(pipeline.run, [f"thing{at}"], 1, timeout=WAIT) for at in range(12)]
        time.sleep(0.01)
        answered = [future.result(WAIT) for future in asked]
    pipeline.close()
    assert [rows[0][0].row for rows in answered] == list(range(12))
