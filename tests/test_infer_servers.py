"""What the servers of a run report of themselves is part of the run: another model, adapter, corpus or index
does not continue it without a word, neither on resume nor in mid-run.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from helpers_llm import completion, settings_for, step_for, write_script
from rich.console import Console

from src_core.config import load_config
from src_core.errors import UserError
from src_core.served import INDEX_HEADER, Servers, differing, model_facts, read_servers, sampled_digest
from src_core.server_addresses import moved
from src_infer.config import InferConfig
from src_infer.run import check_servers, prepare, run

SMALL = Path("configs/infer/gpu.yaml")
QUIET = Console(quiet=True)


class Services:
    """A model server and a retriever behind one port; what they report of themselves can be changed."""

    def __init__(self) -> None:
        self.model: dict[str, Any] = {"id": "model-A"}
        self.index: dict[str, Any] = {"identity": "index-1", "corpus_sha256": "corpus-1", "rows": 9}
        self.replies_as: list[str] = []
        self.header = True
        self.searches = self.chats = self.fail_at = 0
        self.model_then: dict[str, Any] = {}
        self.change_after = 10**9

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/health", self._health)
        app.router.add_post("/search", self._search)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.base = f"http://{host}:{port}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [self.model]})

    async def _chat(self, request: web.Request) -> web.Response:
        self.chats += 1
        if self.chats == self.fail_at:  # as of a server that is restarted
            self.model = {**self.model, **self.model_then}
            return web.Response(status=503, text="loading")
        reply = completion(step_for(await request.json()))
        if self.replies_as:
            reply["model"] = self.replies_as.pop(0) if len(self.replies_as) > 1 else self.replies_as[0]
        return web.json_response(reply)

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "healthy", "index": self.index})

    async def _search(self, _: web.Request) -> web.Response:
        self.searches += 1
        if self.searches > self.change_after:
            self.index = {**self.index, "identity": "index-2"}
        headers = {INDEX_HEADER: str(self.index["identity"])} if self.header else {}
        return web.json_response([[{"id": "p", "contents": "P\ntext"}], [1.0]], headers=headers)


def go(
    folder: Path, services: Services, *more: str, check: bool = False, moves: bool = False
) -> dict[str, Any]:
    """One call of the run in this process; with `moves` the run sees that its servers have another port.
    Returns its manifest.
    """

    async def once() -> None:
        await services.start()
        try:
            given = settings_for(folder, "http://x/v1", count=4, in_flight=1)
            url = [f"{role}.url={services.base}/v1" for role in ("agent", "reader")]
            config = load_config(InferConfig, SMALL, [*given, *url, f"retriever={services.base}", *more])
            config_file = folder / "runs/r/config.yaml"
            if config_file.is_file() and not moves:
                text = config_file.read_text()
                for old in {
                    line.split("://")[1].split("/")[0] for line in text.splitlines() if "://" in line
                }:
                    text = text.replace(f"http://{old}", services.base)
                config_file.write_text(text)
            prepared = prepare(config)
            await (check_servers(prepared) if check else run(prepared, QUIET, QUIET))
        finally:
            await services.stop()

    asyncio.run(once())
    found: dict[str, Any] = json.loads((folder / "runs/r/manifest.json").read_text())
    return found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": {"id": "model-B"}}, "made with model-A; now model-B answers as the agent"),
        (
            {"model": {"id": "model-A", "root": "/adapters/two", "parent": "base"}},
            "made with model-A (root /adapters/one); now model-A (root /adapters/two)",
        ),
        (
            {"index": {"identity": "index-2", "corpus_sha256": "corpus-2"}},
            "(corpus_sha256 corpus-1, identity index-1",
        ),
        ({"index": {}, "header": False}, "identity index-1); now an index (identity not reported)"),
        ({"model": {"id": "model-A", "was": "root"}}, "(root /models/a); now model-A (root not reported)"),
        ({"model": {"id": "model-A", "digest": "2"}}, "(digest 1); now model-A (digest 2)"),
        (
            {"index": {"corpus": {"sha256": "two"}}, "header": False},
            "(corpus.sha256 one); now an index (corpus.sha256 two)",
        ),
    ],
)
def test_a_run_is_not_resumed_with_other_servers(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    services = Services()
    if "root" in change.get("model", {}):
        services.model = {"id": "model-A", "root": "/adapters/one", "parent": "base"}
    if "was" in change.get("model", {}):
        services.model = {"id": "model-A", "root": "/models/a"}
    if "digest" in change.get("model", {}):
        services.model = {"id": "model-A", "digest": "1"}
    if "corpus" in change.get("index", {}):
        services.index, services.header = {"corpus": {"sha256": "one"}}, False
    go(tmp_path, services, "n_questions=2")
    rows = (tmp_path / "runs/r/trajectories.jsonl").read_bytes()
    for name, value in change.items():
        setattr(services, name, value)
    for check in (True, False):
        with pytest.raises(UserError) as refused:
            go(tmp_path, services, check=check)
        assert said in str(refused.value)
        for way_out in ("RUN_NAME", "on_existing=clean", "on_existing=resume_anyway"):
            assert way_out in str(refused.value)
    assert (tmp_path / "runs/r/trajectories.jsonl").read_bytes() == rows
    both = go(tmp_path, services, "on_existing=resume_anyway")
    assert len(both["servers"]) == 2
    if change.get("model", {}).get("id") == "model-B":
        assert both["models"] == ["model-A", "model-B"]
    go(tmp_path, services)  # accepted once, accepted from then on
    assert len(go(tmp_path, services, "on_existing=clean")["servers"]) == 1


def test_another_port_of_the_same_servers_is_no_other_setting(tmp_path: Path) -> None:
    services = Services()
    services.model = {"id": "model-A", "digest": "1"}
    go(tmp_path, services, "n_questions=2")
    before = services.base
    assert len(go(tmp_path, services, moves=True)["servers"]) == 1
    assert services.base != before
    rows = (tmp_path / "runs/r/trajectories.jsonl").read_bytes()
    assert rows.count(b"\n") == 4
    with pytest.raises(UserError, match=r"other settings \(top_k\)"):
        go(tmp_path, services, "top_k=7", moves=True)
    services.index = {"identity": "index-2"}
    with pytest.raises(UserError, match="identity index-1"):
        go(tmp_path, services, moves=True)
    services.index, services.model = {"identity": "index-1"}, {"id": "model-A", "digest": "2"}
    with pytest.raises(UserError, match="digest 1"):
        go(tmp_path, services, moves=True)
    assert (tmp_path / "runs/r/trajectories.jsonl").read_bytes() == rows


def test_another_port_of_a_server_without_a_digest_is_refused_with_both_addresses(tmp_path: Path) -> None:
    services = Services()
    go(tmp_path, services, "n_questions=2")
    before = services.base
    with pytest.raises(UserError) as refused:
        go(tmp_path, services, moves=True)
    said = f"other settings (agent.url: {before}/v1, now {services.base}/v1); take another RUN_NAME"
    assert said in str(refused.value)  # the index is on record, the model, which is also the reader, is not


AGENT = {"url": "http://127.0.0.1:1/v1"}
RECORD = {"agent": {"digest": "1"}, "retriever": {"identity": "i"}}
PORT_1 = {"a": {"agent": AGENT, "reader": AGENT, "retriever": "http://localhost:3"}}


@pytest.mark.parametrize(
    ("now", "records", "found"),
    [
        ({"retriever": "http://127.0.0.1:4"}, [RECORD], {"a.agent.url", "a.reader.url", "a.retriever"}),
        ({"retriever": "http://127.0.0.1:4"}, [], set()),
        ({}, [RECORD, {"agent": {"model": "m"}}], {"a.reader.url", "a.retriever"}),
        ({"retriever": "http://10.0.0.1:4"}, [RECORD], {"a.agent.url", "a.reader.url"}),
        ({"retriever": "http://[::1"}, [RECORD], {"a.agent.url", "a.reader.url"}),
        ({"retriever": "toy:x"}, [RECORD], {"a.agent.url", "a.reader.url"}),
        ({"reader": {"url": "http://127.0.0.1:2/v1"}}, [RECORD], set()),  # a server that nothing is known of
        ({"reader": None}, [RECORD], set()),
    ],
)
def test_only_servers_on_record_on_this_machine_may_move(
    now: dict[str, Any], records: list[Any], found: set[str]
) -> None:
    assert moved(PORT_1, {"a": {**PORT_1["a"], **now}}, records) == found


def test_the_same_servers_and_servers_that_report_nothing_are_accepted(tmp_path: Path) -> None:
    services = Services()
    services.index, services.header = {"rows": 3}, False
    go(tmp_path, services, "n_questions=2")
    services.index = {"identity": "reported only now"}
    services.model = {"id": "model-A", "created": 1, "root": "reported only now"}
    manifest = go(tmp_path, services)
    assert manifest["models"] == ["model-A"]
    assert read_servers(tmp_path / "runs/r") == manifest["servers"]


@pytest.mark.parametrize("header", [True, False])
def test_another_index_that_answers_in_mid_run_ends_the_run(header: bool, tmp_path: Path) -> None:
    services = Services()
    services.change_after = 3
    services.header = header
    if not header:  # a server that names no index in its replies cannot be checked
        go(tmp_path, services)
        return
    with pytest.raises(UserError, match=r"the retriever was an index .identity index-1.* index-2.* answers"):
        go(tmp_path, services)
    rows = (tmp_path / "runs/r/trajectories.jsonl").read_text()
    assert '"status":"retriever_error"' not in rows
    services.index["identity"] = "index-1"
    services.change_after = 10**9
    go(tmp_path, services)
    assert len((tmp_path / "runs/r/trajectories.jsonl").read_text().splitlines()) == 4


def test_a_reply_of_another_model_ends_the_run_unless_both_are_accepted(tmp_path: Path) -> None:
    services = Services()
    services.replies_as = ["model-A-0506", "model-A-0506", "model-A-0813"]
    with pytest.raises(UserError, match=r"replies_as model-A-0506.*replies_as model-A-0813.* answers"):
        go(tmp_path, services)
    services.replies_as = ["model-A-0506", "model-A-0813"]
    both = go(tmp_path, services, "on_existing=resume_anyway")
    assert [record["agent"]["replies_as"] for record in both["servers"]] == ["model-A-0506", "model-A-0813"]


@pytest.mark.parametrize("then", [{"tags": ["weights-2"]}, {"id": "model-B"}, {"created": 7}])
def test_a_model_server_that_is_restarted_in_mid_run_is_asked_again(
    then: dict[str, Any], tmp_path: Path
) -> None:
    services = Services()
    services.model = {"id": "model-A", "tags": ["weights-1"]}
    services.fail_at, services.model_then = 5, then
    if "created" not in then:
        with pytest.raises(
            UserError, match=r"the agent was model-A.* and now model-(A .tags.*weights-2|B).* answers"
        ):
            go(tmp_path, services)
        rows = (tmp_path / "runs/r/trajectories.jsonl").read_text()
        assert rows.count('"status":"finished"') == rows.count('"status"') > 0
    else:  # what differs between two starts of one model says nothing
        go(tmp_path, services)


def test_another_reply_model_is_noticed_on_resume_too(tmp_path: Path) -> None:
    services = Services()
    services.replies_as = ["model-A-0506"]
    go(tmp_path, services, "n_questions=2")
    services.replies_as = ["model-A-0813"]
    with pytest.raises(UserError, match="replies_as model-A-0813"):
        go(tmp_path, services)


@pytest.mark.parametrize("changed", ["script.jsonl", "corpus.jsonl"])
def test_a_script_and_a_toy_corpus_are_known_by_their_content(changed: str, tmp_path: Path) -> None:
    script = write_script(tmp_path / "script.jsonl", [("item", ["an answer"])])
    given = settings_for(
        tmp_path, f"scripted:{script}", count=2, method="closed_book" if "script" in changed else "naive_rag"
    )
    asyncio.run(run(prepare(load_config(InferConfig, SMALL, [*given, "n_questions=1"])), QUIET, QUIET))
    file = tmp_path / changed
    file.write_text(file.read_text().replace("answer", "other").replace("Every fact", "No fact"))
    with pytest.raises(UserError, match=r"was made with .*sha256 .*; now .*sha256 "):
        asyncio.run(run(prepare(load_config(InferConfig, SMALL, given)), QUIET, QUIET))


@pytest.mark.parametrize(
    "listed", [None, [], {"data": None}, {"data": ["x"]}, {"data": [{"id": "n", "meta": 3}]}, "?"]
)
def test_any_list_of_models_gives_facts(listed: Any) -> None:
    assert model_facts(listed, "n") == {"model": "n"}


def test_facts_differ_only_where_both_report_them() -> None:
    assert differing({"model": "a", "root": "x"}, {"model": "a", "tags": ["y"]}) == []
    assert differing({"identity": "1", "rows": 2}, {"identity": "1", "rows": 3}) == []
    assert differing({}, {"model": "b"}) == []
    assert differing({"root": "x"}, {"root": "y"}) == ["root"]


def test_servers_without_a_run_directory_are_checked_against_their_start() -> None:
    servers = Servers()
    servers.connected("retriever", {"identity": "1"})
    servers.searched("1")
    with pytest.raises(UserError, match="not reported"):
        servers.searched(None)


def test_weights_of_another_content_have_another_digest(tmp_path: Path) -> None:
    file = tmp_path / "w"
    file.write_bytes(bytes(9_000_000))
    first = sampled_digest(file)
    assert sampled_digest(file) == first
    data = bytearray(9_000_000)
    data[8_999_999] = 1
    file.write_bytes(data)
    assert sampled_digest(file) != first
    file.write_bytes(b"")
    assert len(sampled_digest(file)) == 16
