"""The real server process over real FAISS files: routes, errors, batching, token, start and stop."""

from __future__ import annotations

import asyncio
import json
import logging
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
from unittest.mock import patch

import pytest
from rich.console import Console

from src_core.config import load_config
from src_core.errors import RetrieverError, UserError
from src_core.http_json import RetryPolicy
from src_core.http_server import bind
from src_core.progress import Steps
from src_retrieval.ask import main as ask_main
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
    with urllib.request.urlopen(server.url + "/health") as reply:
        body, named = json.loads(reply.read()), reply.headers["X-Index"]
    assert named == body["index"]["identity"]
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


def test_a_search_from_the_command_line(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    def ask(*arguments: str) -> str:
        with patch.object(sys, "argv", ["ask", *arguments]):
            ask_main()
        return capsys.readouterr().out

    lines = ask(server.url, "who wrote it", "3").splitlines()
    assert "retrieval" in lines[1]
    assert sum(line.startswith("│") for line in lines) == 3
    for arguments in ((server.url,), (server.url, "x", "many")):
        with pytest.raises(UserError, match="usage:"):
            ask(*arguments)
    with pytest.raises(UserError, match="does not answer"):
        ask(f"http://127.0.0.1:{free_port()}", "x")


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
    ("/search", {"query": "a", "return_score": 1}, 422, "true or false"),
    ("/batch_search", {"query": ["a"] * 167, "top_n": 300}, 422, "167 queries with 300 passages each"),
    ("/retrieve", {"queries": ["a"] * 167, "topk": 999}, 422, "more than 50000 passages"),
    ("/batch_search", {"query": ["a"] * 5001}, 422, "send fewer queries at once"),
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


def test_a_small_corpus_has_fewer_passages_than_were_asked_for(server: Server) -> None:
    for top_n in (ROWS, ROWS + 1, 10**6, 2**62):
        assert len(server.call("/search", {"query": "thing7", "top_n": top_n}).body) == ROWS
        found = server.call("/retrieve", {"queries": ["thing7"], "topk": top_n}).body["result"]
        assert len(found[0]) == ROWS


def test_a_long_query_is_cut_with_a_note_and_the_client_counts(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    query = " \n" * 5_000 + "thing9 " * 2_000

    async def ask() -> None:
        client = RetrieverClient(server.url, retry=NO_WAIT)
        assert [passage.id for passage in await client.search(query, 1)] == ["d9"]
        assert client.cut_queries == 1
        assert [row[0].id for row in await client.batch_search([query, "thing3"], 1)] == ["d9", "d3"]
        await client.search("thing8", 1)
        assert client.cut_queries == 2
        await client.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(ask())
    assert [record.getMessage() for record in caplog.records].count(
        "note: a query is longer than the retriever reads; its end was cut off"
    ) == 1
    for path, key in (("/search", "query"), ("/retrieve", "query")):
        data = json.dumps({key: query}).encode()
        with urllib.request.urlopen(urllib.request.Request(server.url + path, data=data)) as reply:
            assert reply.headers["Retriever-Note"] == "1 of 1 queries cut to 8192 characters"


def test_a_long_question_is_answered_and_the_run_says_that_it_was_cut(server: Server, tmp_path: Path) -> None:
    question = "A mill by a lake was rebuilt. " * 300 + "What is thing7?"
    questions, script = tmp_path / "q.jsonl", tmp_path / "s.jsonl"
    questions.write_text(json.dumps({"question": question, "answers": ["seven"]}))
    rule = {"when": "thing", "replies": ["seven"], "anywhere": True, "cycle": True}
    script.write_text(json.dumps(rule))
    values = [f"retriever={server.url}", f"questions={questions}", f"runs_dir={tmp_path}", "run_name=r"]
    values += [
        f"agent.url=scripted:{script}",
        f"reader.url=scripted:{script}",
        "method=naive_rag",
        "top_k=999",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "src_infer.run", "configs/infer/small.yaml", *values],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "outcomes: 1 finished" in done.stdout
    assert done.stderr.count("note: a query is longer than the retriever reads; its end was cut off") == 1
    assert json.loads((tmp_path / "r/manifest.json").read_text())["cut_queries"] == 1


def test_the_client_sends_a_large_batch_in_pieces(server: Server) -> None:
    async def ask() -> None:
        client = RetrieverClient(server.url, retry=NO_WAIT)
        found = await client.batch_search([f"thing{at % ROWS}" for at in range(1_200)], 100)
        assert [row[0].id for row in found] == [f"d{at % ROWS}" for at in range(1_200)]
        assert {len(row) for row in found} == {100}
        assert await client.batch_search([], 100) == []
        await client.close()

    asyncio.run(ask())


def test_the_bytes_of_a_reply_are_bounded(world: World) -> None:
    bounded = Server(world, "serving.max_reply_bytes=2000", "serving.max_results=400").ready()
    try:
        assert bounded.call("/search", {"query": "thing7", "top_n": 20}).status == 200
        for path, body in (
            ("/search", {"query": "thing7", "top_n": 100}),
            ("/batch_search", {"query": ["thing7"] * 10, "top_n": 10}),
            ("/retrieve", {"queries": ["thing7"] * 10, "topk": 10, "return_scores": True}),
            ("/passages", {"ids": ["d7"] * 100}),
        ):
            reply = bounded.call(path, body)
            assert (reply.status, reply.body["error"]) == (422, "reply too large"), path
            assert "more than 2000 bytes" in reply.body["detail"]
        many = bounded.call("/batch_search", {"query": ["thing7"] * 41, "top_n": 10})
        assert many.status == 422
        assert "more than 400 passages" in many.body["detail"]
    finally:
        bounded.stop()


def test_a_foreign_name_or_page_reads_nothing(server: Server) -> None:
    for path in ("/search", "/metrics", "/health", "/passages"):
        for name in ("rebind.test", f"rebind.test:{server.port}", "127.0.0.1.rebind.test"):
            assert raw_status(server, path, Host=name) == 403
    for path in ("/search", "/metrics"):
        for headers in ({"Origin": "http://rebind.test"}, {"Sec-Fetch-Site": "cross-site"}):
            assert raw_status(server, path, **headers) == 403
    for name in ("localhost", f"127.0.0.1:{server.port}"):
        assert raw_status(server, "/metrics", Host=name) == 200


def raw_status(server: Server, path: str, **headers: str) -> int:
    data = b'{"query": "thing7"}' if path in ("/search", "/passages") else None
    try:
        with urllib.request.urlopen(
            urllib.request.Request(server.url + path, data=data, headers=headers)
        ) as got:
            return int(got.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_half_sent_bodies_take_no_worker_and_do_not_hold_the_end(world: World) -> None:
    small = Server(world, "workers=2").ready()
    held = []
    for _ in range(80):
        held.append(socket.create_connection(("127.0.0.1", small.port)))
        held[-1].sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{")
    assert small.call("/health").status == 200
    assert [row["id"] for row in small.call("/search", {"query": "thing7", "top_n": 1}).body] == ["d7"]
    begun = time.monotonic()
    _, err = small.stop()
    assert time.monotonic() - begun < 5
    assert "Traceback" not in err
    assert {one.recv(12) for one in held} == {b"HTTP/1.1 503"}
    for one in held:
        one.close()


def test_two_hundred_clients_get_their_own_answers(server: Server) -> None:
    queries = [f"thing{at} together" for at in range(200)]

    async def ask() -> list[Any]:
        clients = [RetrieverClient(server.url, connections=1, retry=NO_WAIT) for _ in queries]
        try:
            return await asyncio.gather(
                *(client.search(query, 1) for client, query in zip(clients, queries, strict=True))
            )
        finally:
            for client in clients:
                await client.close()

    assert [row[0].id for row in asyncio.run(ask())] == [f"d{at}" for at in range(200)]


@pytest.mark.parametrize(
    ("change", "token", "said"),
    [
        ("host=0.0.0.0", "", "host=0.0.0.0 opens this server to the network, and there is no token"),
        ("host=127.0.0.1", "a\nb", "REARAG_TOKEN has a space, a line end or a character beyond ASCII"),
        ("host=127.0.0.1", "schlüssel", "REARAG_TOKEN has a space, a line end or a character beyond ASCII"),
        ("host=no.such.host.invalid", "", "cannot listen on no.such.host.invalid"),
        ("port=70000", "", "setting 'port' is wrong: it must be at least 1 and at most 65,535 (got 70000)"),
    ],
)
def test_an_address_or_token_that_cannot_be_used_is_one_sentence(
    world: World, change: str, token: str, said: str
) -> None:
    refused = Server(world, change, token=token)
    _, err = refused.process.communicate(timeout=20)
    assert refused.process.returncode == 2
    assert err.startswith(f"error: {said}")
    assert err.count("\n") == 1


def test_all_addresses_are_served_with_a_token_or_where_a_setting_says_so(world: World) -> None:
    for changes, token in ((("serving.allow_without_token=true",), ""), ((), "s3cret")):
        opened = Server(world, "host=0.0.0.0", *changes, token=token).ready()
        assert opened.call("/search", {"query": "thing7"}).status == 200
        assert raw_status(opened, "/metrics", Host="0.0.0.0:1") == (401 if token else 200)
        opened.stop()


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"{", 400),
        (b'{"query": "\xff"}', 400),
        (b'{"query": "\\ud800"}', 400),
        (b"", 400),
        (b" " * 5_000_000, 413),
    ],
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

    def through(cache: ResultCache, *queries: str, top_n: int = 2, rerank_top_n: int | None = None) -> int:
        def search(missing: Sequence[str]) -> list[list[Ranked]]:
            asked.extend(missing)
            return [[Ranked(at, float(top_n)) for at in range(top_n)] for _ in missing]

        rows, known = cache.through(search, queries, top_n, rerank_top_n)
        assert [len(each) for each in rows] == [top_n] * len(queries)
        return known

    small = ResultCache(6, "index")  # two answers of two rows, each with its key
    assert [through(small, "a"), through(small, "b"), through(small, "a", "c")] == [0, 0, 1]
    assert [through(small, "a"), through(small, "b")] == [1, 0]
    assert through(small, "a", top_n=9) == through(small, "a", top_n=9) == 0  # more than it can hold
    assert through(small, "twice \ud800", "twice \ud800") == 0
    assert through(small, "b") == through(small, "b", rerank_top_n=0) + 1 == 1  # another number of candidates
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
            await client.search("a", -1)
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
    assert guarded.process.returncode in (0, -signal.SIGTERM, 128 + signal.SIGTERM)


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
        '{"id": "a", "contents": "Aida\\nan opera"}\n{"id": "1", "contents": "Otello\\nan opera of Verdi"}\n'
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
