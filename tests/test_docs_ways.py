"""The three ways of docs/architecture.md are what the code does: each runs once under a profiler, and the
page's order is the order in which its functions are first entered.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers_llm import ROOT, step_for, write_items
from helpers_ways import llm_in_a_thread, returns, watched, way, ways
from rich.console import Console

import src_data.run
import src_infer.run
from src_core.config import load_config
from src_core.http_server import bind, start_listening
from src_core.http_serving import serve_app
from src_core.progress import Steps
from src_retrieval.app import SearchService
from src_retrieval.build import build_index
from src_retrieval.build_plan import BuildConfig
from src_retrieval.client import RetrieverClient
from src_retrieval.engine import open_engine
from src_retrieval.server import ServerConfig, guarded_app

QUESTION, SET, REQUEST = "One question, ", "One question set, ", "One request "
ENCODER = "toy:4096"


def test_there_are_three_ways_and_each_returns_at_most_once() -> None:
    assert len(ways()) == 3
    for heading, calls in ways().items():
        assert len(set(calls)) == len(calls) > 5, heading
        assert returns(calls) <= 1, heading


def test_a_return_is_a_module_that_was_left_before() -> None:
    assert returns(["a:f", "a:g", "b:f", "c:f"]) == 0
    assert returns(["a:f", "b:f", "a:g", "a:h", "b:g"]) == 2


@pytest.fixture
def index(tmp_path: Path) -> ServerConfig:
    """A hybrid index over a few passages, with a reranker."""
    _, corpus = write_items(tmp_path, 12)
    values = [f"corpus={corpus}", f"index_dir={tmp_path / 'index'}", f"encoder={ENCODER}"]
    build_index(load_config(BuildConfig, None, values), steps=Steps(Console(quiet=True)))
    engine = [f"retrieval_method={ENCODER}", f"index_path={tmp_path / 'index'}", f"corpus_path={corpus}"]
    reranker = [f"rerank={{model: {ENCODER}, type: bi_encoder, top_n: 5}}"]
    return load_config(ServerConfig, None, [*engine, *reranker])


@contextmanager
def retriever(config: ServerConfig) -> Iterator[str]:
    """The URL of the retriever's app over `config`."""
    service = SearchService(open_engine(config).engine, config.serving, identity="test")
    app = guarded_app(service, config, index={"identity": "test"}, token=None)
    listener = bind("127.0.0.1", 0)
    port = int(listener.getsockname()[1])
    start_listening(listener, port)
    server = serve_app(app, listener, config.serving, grace_seconds=1)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
        service.close()


async def replies(body: dict[str, object]) -> str:
    return step_for(body)


def test_one_request_goes_through_the_retriever_as_the_page_says(index: ServerConfig) -> None:
    calls = way(REQUEST)

    async def ask(url: str) -> list[str]:
        client = RetrieverClient(url)
        try:
            return [passage.id for passage in await client.search("item 7", 3)]
        finally:
            await client.close()

    with watched(calls) as entered, retriever(index) as url:
        entered.forget()  # what starting the server needed
        found = asyncio.run(ask(url))
    assert "p7" in found
    assert entered.order == calls


def test_one_question_goes_from_the_command_to_its_row_as_the_page_says(
    index: ServerConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = way(QUESTION)
    with llm_in_a_thread(replies) as llm, retriever(index) as url:
        settings = {
            "agent.url": llm,
            "reader.url": llm,
            "retriever": url,
            "questions": tmp_path / "questions.jsonl",
            "n_questions": 1,
            "runs_dir": tmp_path / "runs",
            "run_name": "r",
        }
        monkeypatch.chdir(ROOT)
        arguments = [f"{key}={value}" for key, value in settings.items()]
        monkeypatch.setattr("sys.argv", ["run", "configs/infer/gpu.yaml", *arguments])
        with watched(calls) as entered:
            assert src_infer.run.main() == 0
    (row,) = (tmp_path / "runs/r/trajectories.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(row)["status"] == "finished"
    assert entered.order == calls


def test_one_set_becomes_conversations_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [call for call in way(SET) if not call.startswith("src_train.")]
    calls = calls[: calls.index("src_data.exporting.export:export_run") + 1]
    questions, corpus = write_items(tmp_path, 3)
    with llm_in_a_thread(replies) as llm:
        settings = {
            "runs_dir": tmp_path / "runs",
            "run_name": "r",
            "build_conv.input_files": f"[{questions}]",
            "build_conv.n_sample": -1,
            "build_conv.llm_api": llm,
            "build_conv.gen_api": llm,
            "build_conv.retriever_api": f"toy:{corpus}",
            "build_conv.runtime.thinks": "false",
            "build_conv.top_k": 1,
        }
        monkeypatch.chdir(ROOT)
        arguments = [f"{key}={value}" for key, value in settings.items()]
        monkeypatch.setattr("sys.argv", ["run", "src_data/data_config.yaml", *arguments])
        with watched(calls) as entered:
            assert src_data.run.main() == 0
    assert len(json.loads((tmp_path / "runs/r/conversations.json").read_text(encoding="utf-8"))) == 3
    assert entered.order == calls
