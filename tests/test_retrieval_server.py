"""The real server process over real FAISS files: routes, errors, batching, token, start and stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rich.console import Console

from src_core.config import load_config
from src_core.errors import RetrieverError
from src_core.http_json import RetryPolicy
from src_core.http_server import bind
from src_core.progress import Steps
from src_retrieval.build import build_index
from src_retrieval.build_plan import BuildConfig
from src_retrieval.cache import ResultCache
from src_retrieval.client import RetrieverClient
from src_retrieval.results import Ranked
from src_retrieval.server import ServerConfig
from src_retrieval.toy import ToyRetriever

ROWS = 300
SEARCHED = 'retriever_batch_size{}{{stage="dense"}}'
NO_WAIT = RetryPolicy(attempts=2, first_wait=0.0, longest_wait=0.0)


class Reply(NamedTuple):
    status: int
    body: Any


class World(NamedTuple):
    folder: Path
    corpus: Path
    index: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A retriever process over the module's index."""

    def __init__(self, world: World, *changes: str, token: str = "", port: int = 0) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = token
        values = [
            "retrieval_method=toy:4096",
            f"index_path={world.index}",
            f"corpus_path={world.corpus}",
            f"port={self.port}",
            "searching.threads=1",
            *changes,
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "src_retrieval.server", *values],
            env={**os.environ, "REARAG_TOKEN": token},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> Server:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.call("/health").status == 200:
                    return self
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.02)
        raise AssertionError(self.stop()[1])

    def call(self, path: str, body: Any = None, *, raw: bytes | None = None, token: str = "") -> Reply:
        data = raw if raw is not None else (None if body is None else json.dumps(body).encode())
        request = urllib.request.Request(self.url + path, data=data)
        if token or self.token:
            request.add_header("Authorization", f"Bearer {token or self.token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                text = response.read()
                is_json = response.headers["Content-Type"] == "application/json"
                return Reply(response.status, json.loads(text) if is_json else text.decode())
        except urllib.error.HTTPError as error:
            return Reply(error.code, json.loads(error.read()))

    def stop(self) -> tuple[str, str]:
        self.process.terminate()
        return self.process.communicate(timeout=15)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    corpus = folder / "corpus.jsonl"
    rows = ({"id": f"d{at}", "contents": f'"T{at}"\nabout thing{at} and kind{at % 10}'} for at in range(ROWS))
    corpus.write_text("\n".join(json.dumps(row) for row in rows))
    values = [f"corpus={corpus}", f"index_dir={folder / 'index'}", "encoder=toy:4096"]
    build_index(load_config(BuildConfig, None, values), steps=Steps(Console(quiet=True)))
    return World(folder, corpus, folder / "index")


@pytest.fixture(scope="module")
def server(world: World) -> Iterator[Server]:
    running = Server(world).ready()
    yield running
    running.stop()


def test_health_says_what_is_served(server: Server) -> None:
    body = server.call("/health").body
    assert body["status"] == "healthy"
    assert body["retrievers"] == {"total": 1, "available": 1}
    assert (body["index"]["rows"], body["index"]["type"]) == (ROWS, "hybrid")
    assert body["index"]["encoder"]["family"] == "toy"


def test_search_answers_as_the_original_client_expects(server: Server) -> None:
    documents = server.call("/search", {"query": "thing7", "top_n": 3}).body
    assert documents[0] == {"id": "d7", "contents": '"T7"\nabout thing7 and kind7'}
    assert len(documents) == 3
    assert len(server.call("/search", {"query": "thing7"}).body) == 10
    found, scores = server.call("/search", {"query": "thing7", "top_n": 3, "return_score": True}).body
    assert [{"id": row["id"], "contents": row["contents"]} for row in found] == documents
    assert [row["scores"] for row in found] == [{"retrieval": score} for score in scores]
    assert scores == sorted(scores, reverse=True)


def test_batch_search_nests_documents_and_scores_per_query(server: Server) -> None:
    queries = [f"thing{at}" for at in range(150)]
    body = server.call("/batch_search", {"query": queries, "top_n": 2}).body
    assert [row[0]["id"] for row in body] == [f"d{at}" for at in range(150)]
    documents, scores = server.call(
        "/batch_search", {"query": queries[:2], "top_n": 2, "return_score": True}
    ).body
    assert [[row["id"] for row in rows] for rows in documents] == [
        [row["id"] for row in rows] for rows in body[:2]
    ]
    assert [len(row) for row in scores] == [2, 2]
    assert server.call("/batch_search", {"query": []}).body == []


def test_retrieve_answers_as_search_r1_clients_expect(server: Server) -> None:
    body = {"queries": ["thing3", "thing4"], "topk": 2, "return_scores": True}
    rows = server.call("/retrieve", body).body["result"]
    assert [row[0]["document"]["id"] for row in rows] == ["d3", "d4"]
    assert isinstance(rows[0][0]["score"], float)
    bare = server.call("/retrieve", {"queries": ["thing3"], "topk": None, "return_scores": False}).body[
        "result"
    ]
    assert [len(bare), len(bare[0]), bare[0][0]["id"]] == [1, 3, "d3"]
    assert server.call("/retrieve", {"query": "thing3"}).body["result"] == bare


def test_passages_come_by_id_in_their_order(server: Server) -> None:
    assert [row["id"] for row in server.call("/passages", {"ids": ["d7", "d3", "d7"]}).body] == [
        "d7",
        "d3",
        "d7",
    ]
    assert server.call("/passages", {"ids": []}).body == []

    async def ask() -> None:
        client = RetrieverClient(server.url, retry=NO_WAIT)
        (passage,) = await client.passages(["d9"])
        assert (passage.title, passage.text, passage.scores) == ("T9", "about thing9 and kind9", {})
        with pytest.raises(RetrieverError, match=r"HTTP 404.*no passage with the id 'nope'") as caught:
            await client.passages(["d9", "nope"])
        assert not caught.value.retryable
        await client.close()

    asyncio.run(ask())


BAD = [
    ("/search", {"query": " \n"}, 400, "Query content cannot be empty"),
    ("/batch_search", {"query": ["fine", ""]}, 400, "Query content cannot be empty"),
    ("/search", {"query": 3}, 422, "must be a text"),
    ("/search", {}, 422, "must be a text, not nothing"),
    ("/search", [1], 422, "must be a JSON object"),
    ("/search", {"query": "a", "topn": 3}, 422, "unknown key 'topn'"),
    ("/search", {"query": "a", "top_n": 0}, 422, "at least 1"),
    ("/search", {"query": "a", "top_n": True}, 422, "whole number"),
    ("/search", {"query": "a", "top_n": "3"}, 422, "whole number"),
    ("/search", {"query": "a", "top_n": ROWS + 1}, 422, f"the corpus has {ROWS} passages"),
    ("/search", {"query": "a", "return_score": 1}, 422, "true or false"),
    ("/search", {"query": "a" * 9000}, 422, "characters"),
    ("/batch_search", {"query": "a"}, 422, "list of texts"),
    ("/retrieve", {"queries": ["a"], "query": "a"}, 422, "not both"),
    ("/retrieve", {"queries": ["a"], "topk": -1}, 422, "at least 1"),
    ("/passages", {"ids": ["d1", "x" * 999]}, 404, "no passage with the id 'xxx"),
    ("/passages", {"ids": "d1"}, 422, "list of texts"),
    ("/passages", {"ids": [1]}, 422, "list of texts"),
    ("/passages", {}, 422, "list of texts"),
    ("/passages", {"ids": ["d1"] * 1001}, 422, "at most 1000"),
    ("/nowhere", {}, 404, ""),
    ("/health", {}, 405, ""),
]


@pytest.mark.parametrize(("path", "body", "status", "said"), BAD)
def test_a_bad_request_gets_a_clear_4xx(server: Server, path: str, body: Any, status: int, said: str) -> None:
    reply = server.call(path, body)
    assert reply.status == status
    assert set(reply.body) == {"error", "detail"}
    assert said in reply.body["detail"]


@pytest.mark.parametrize(
    ("raw", "status"), [(b"{", 400), (b'{"query": "\xff"}', 400), (b"", 400), (b" " * 5_000_000, 413)]
)
def test_a_body_that_is_not_json_or_too_big_gets_a_4xx(server: Server, raw: bytes, status: int) -> None:
    assert server.call("/search", raw=raw).status == status


def metric(text: str, name: str) -> float:
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + " "))


def test_concurrent_queries_share_batches_and_get_their_own_answers(server: Server) -> None:
    before = server.call("/metrics").body
    queries = [f"thing{at} kind{at % 10}" for at in range(ROWS)]

    async def ask() -> list[list[Any]]:
        client = RetrieverClient(server.url, connections=32)
        try:
            return await asyncio.gather(*(client.search(query, 1) for query in queries))
        finally:
            await client.close()

    found = asyncio.run(ask())
    assert [row[0].id for row in found] == [f"d{at}" for at in range(ROWS)]
    after = server.call("/metrics").body
    batches = metric(after, SEARCHED.format("_count")) - metric(before, SEARCHED.format("_count"))
    answered = metric(after, "retriever_queries_total") - metric(before, "retriever_queries_total")
    assert answered == len(queries)
    assert batches < answered
    assert metric(after, "retriever_cpu_seconds") > 0


def test_a_query_is_searched_once_and_answered_alike_ever_after(server: Server) -> None:
    body = {"query": ["kind7 again", "kind8 again"], "top_n": 3, "return_score": True}
    before = server.call("/metrics").body
    first = server.call("/batch_search", body).body
    assert server.call("/batch_search", {**body, "query": body["query"][::-1]}).body == [
        rows[::-1] for rows in first
    ]
    assert len(server.call("/search", {"query": "kind7 again", "top_n": 2}).body) == 2  # another depth
    after = server.call("/metrics").body
    names = ("retriever_queries_total", "retriever_cached_queries_total", SEARCHED.format("_sum"))
    assert [metric(after, name) - metric(before, name) for name in names] == [5, 2, 3]


def test_the_cache_forgets_the_oldest_rows_and_may_be_none() -> None:
    asked: list[str] = []

    def search(queries: Sequence[str], top_n: int) -> list[list[Ranked]]:
        asked.extend(queries)
        return [[Ranked(at, float(top_n)) for at in range(top_n)] for _ in queries]

    def through(cache: ResultCache, *queries: str, top_n: int = 2) -> int:
        rows, known = cache.through(search, queries, top_n)
        assert [len(each) for each in rows] == [top_n] * len(queries)
        return known

    small = ResultCache(6, "index")  # two answers of two rows, each with its key
    assert [through(small, "a"), through(small, "b"), through(small, "a", "c")] == [0, 0, 1]
    assert [through(small, "a"), through(small, "b")] == [1, 0]
    assert through(small, "a", top_n=9) == through(small, "a", top_n=9) == 0  # more than it can hold
    assert through(small, "twice \ud800", "twice \ud800") == 0
    none = ResultCache(0, "index")
    assert through(none, "a") == through(none, "a") == 0
    assert asked.count("a") == 5


def test_the_client_gives_passages_with_titles_and_scores(server: Server) -> None:
    async def ask() -> None:
        client = RetrieverClient(server.url, retry=NO_WAIT)
        passage = (await client.search("thing9 \ud800", 2))[0]
        assert (passage.id, passage.title, passage.text) == ("d9", "T9", "about thing9 and kind9")
        assert set(passage.scores) == {"retrieval"}
        assert [row[0].id for row in await client.batch_search(["thing1", "thing2"], 1)] == ["d1", "d2"]
        assert (await client.health())["status"] == "healthy"
        with pytest.raises(RetrieverError, match="HTTP 422") as caught:
            await client.search("a", 10**6)
        assert not caught.value.retryable
        await client.close()

    asyncio.run(ask())


def test_the_client_retries_transport_errors_and_then_gives_up() -> None:
    async def ask() -> None:
        client = RetrieverClient(f"http://127.0.0.1:{free_port()}", retry=NO_WAIT)
        with pytest.raises(RetrieverError) as caught:
            await client.search("a", 1)
        assert caught.value.retryable
        await client.close()

    asyncio.run(ask())


def test_a_token_is_asked_for_everywhere_but_at_health_and_sigterm_ends_the_server(world: World) -> None:
    guarded = Server(world, token="secret").ready()
    assert guarded.call("/health", token="wrong").status == 200
    for path in ("/search", "/metrics"):
        assert guarded.call(path, {"query": "a"} if path == "/search" else None, token="wrong").status == 401
    assert guarded.call("/search", {"query": "thing1"}).status == 200
    out, err = guarded.stop()
    assert out == ""
    assert "secret" not in err
    assert "Traceback" not in err
    assert guarded.process.returncode in (0, -signal.SIGTERM)


def test_a_port_in_use_and_a_wrong_encoder_end_in_one_sentence(server: Server, world: World) -> None:
    taken = Server(world, port=server.port)
    other = Server(world, "retrieval_method=toy:32")
    for process, said in ((taken, f"port {server.port} is in use"), (other, "was built by toy:4096")):
        _, err = process.process.communicate(timeout=20)
        assert process.process.returncode == 2
        assert err.strip().splitlines()[-1].startswith("error: ")
        assert said in err


def test_the_toy_retriever_ranks_by_rare_shared_words(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(
        '{"id": "a", "contents": "Aida\\nan opera"}\n{"contents": "Otello\\nan opera of Verdi"}\n'
    )

    async def ask() -> None:
        toy = ToyRetriever.from_file(path)
        assert [passage.id for passage in await toy.search("Verdi opera", 5)] == ["1", "a"]
        assert await toy.search("unknown", 5) == []
        assert [passage.id for passage in await toy.passages(["1", "a"])] == ["1", "a"]
        with pytest.raises(RetrieverError, match="no passage with the id 'b'"):
            await toy.passages(["a", "b"])
        await toy.close()

    asyncio.run(ask())


def test_the_listening_socket_names_tcp_so_that_replies_are_not_delayed() -> None:
    listener = bind("127.0.0.1", 0)
    assert listener.proto == socket.IPPROTO_TCP
    listener.close()


def test_the_shipped_configs_and_the_keys_of_the_original_load(tmp_path: Path) -> None:
    repo = Path(__file__).resolve().parents[1]
    for name in ("configs/retriever.yaml", "deploy/retriever_config.yaml"):
        assert load_config(ServerConfig, repo / name).port == 9892
    for name in ("configs/index.yaml", "configs/index_wiki18.yaml"):
        assert load_config(BuildConfig, repo / name).index_dir
    original = tmp_path / "retriever_config.yaml"
    lines = ("retrieval_method: intfloat/e5-base-v2", "index_path: e5_flat_inner.index", "faiss_gpu: True")
    original.write_text("\n".join((*lines, "corpus_path: wiki18_100w.jsonl")))
    assert load_config(ServerConfig, original).faiss_gpu
