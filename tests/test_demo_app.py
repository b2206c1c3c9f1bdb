"""The page's server under a real uvicorn: what streams, what ends a run, who may ask, what it tells."""

from __future__ import annotations

import asyncio
import html.parser
import json
import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from helpers_demo import Seen, Visitor, demo_config, gated, visited
from helpers_llm import FakeLLM, step_for, write_script
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.config import load_config
from src_core.errors import UserError
from src_core.protocols.rearag import render_step
from src_core.types import Finish, Search, Status, trajectory_from_json
from src_demo.app import API, method_facts, page_files
from src_demo.config import DemoConfig
from src_demo.server import check
from src_demo.servers import ServerWatch, address_of, without_secrets
from src_demo.wire import _KEYS, Event
from src_infer.methods import Method

EVIL = "</script><img src=x onerror=alert(1)>\n\nevent: answer\ndata: {}\n\n\u2028 {{x}} \x00 \x1b[31m é"
ITEM = "What is item 1?"


async def answer_at_once(body: dict[str, Any]) -> str:
    return step_for(body)


def kinds(events: list[Seen]) -> list[str]:
    return [event.kind for event in events]


async def events_of(folder: Path, question: str = ITEM, *changes: str, **more: Any) -> list[Seen]:
    async with (
        FakeLLM(answer_at_once) as llm,
        visited(demo_config(folder, llm.url, *changes)) as visitor,
    ):
        return await visitor.all_events(question, **more)


def test_a_run_tells_its_drafts_steps_and_answer_in_order(tmp_path: Path) -> None:
    events = asyncio.run(events_of(tmp_path))
    assert kinds(events) == ["run", "models", *["draft", "step"] * 3, "answer"]
    assert events[1].data == {"models": ["fake"]}
    draft, step = events[2].data, events[3].data
    assert (draft["n"], draft["function"], draft["argument"]) == (
        1,
        "search",
        "What is the first fact about item 1?",
    )
    assert "observation" not in draft
    assert step["observation"] == "item-1"
    assert step["passages"][0]["id"] == "p1"
    assert step["passages"][0]["text"] == "Every fact about item 1."
    assert events[-2].data["function"] == "finish"
    answer = events[-1].data
    assert (answer["answer"], answer["status"], answer["searches"]) == ("item-1", "finished", 2)
    trajectory = trajectory_from_json(answer["trajectory"])
    assert trajectory.status is Status.FINISHED
    assert [step.n for step in trajectory.steps] == [1, 2, 3]
    assert answer["usage"][2] == trajectory.usage.completion_tokens > 0


@pytest.mark.parametrize(
    ("method", "between"), [("naive_rag", ["draft", "step"]), ("closed_book", [])], ids=["naive", "closed"]
)
def test_the_other_methods_stream_too(tmp_path: Path, method: str, between: list[str]) -> None:
    events = asyncio.run(events_of(tmp_path, method=method))
    assert kinds(events) == ["run", "models", *between, "answer"]
    assert events[-1].data["answer"] == "item-1"


def test_the_configured_method_has_its_settings(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        '"""Mine (Jiang et al. 2023, e.g. FLARE). It says a word."""\n'
        "from src_core.config import config_class\nfrom src_core.types import Status, Trajectory\n"
        "NEEDS_SEARCH = False\n@config_class\nclass Settings:\n    word: str = 'default'\n"
        "async def run(question, runtime):\n"
        "    return Trajectory(question, (), runtime.settings.word, Status.FINISHED)\n"
    )
    changes = (f"method={own}", "method_settings.word=mine")
    events = asyncio.run(events_of(tmp_path, ITEM, *changes, method=str(own)))
    assert events[-1].data["answer"] == "mine"
    config = load_config(DemoConfig, None, list(changes))
    assert {
        "name": str(own),
        "about": "Mine (Jiang et al. 2023, e.g. FLARE)",
        "needs_search": False,
        "problem": "",
    } in method_facts(config)


def test_a_method_that_needs_settings_of_its_own_is_not_offered(tmp_path: Path) -> None:
    def problems(*changes: str) -> dict[str, str]:
        facts = method_facts(load_config(DemoConfig, None, list(changes)))
        return {fact["name"]: fact["problem"] for fact in facts if fact["problem"]}

    assert problems().keys() == {"dragin"}
    assert "set method_settings.model" in problems()["dragin"]
    assert problems("method=dragin", "method_settings.model=x") == {}
    asked = asyncio.run(events_of(tmp_path, method="dragin"))
    assert kinds(asked) == ["run", "error"]
    assert asked[-1].data["sentence"].startswith("dragin reads the attention")
    down = demo_config(tmp_path, "http://127.0.0.1:1/v1")

    async def ask() -> list[Seen]:
        async with visited(down) as visitor:
            return await visitor.all_events(ITEM, method="dragin")

    assert "method_settings.model" in asyncio.run(ask())[-1].data["sentence"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ("method_settings.x=1", "has no settings"),
        ("protocol=nope", "no format 'nope'"),
        ("trained=/nowhere", "there is no folder /nowhere"),
        ("method=dragin", r"set method_settings\.model"),
        ("method=uar method_settings.probes=/p", r"set method_settings\.model"),
    ],
)
def test_a_mistake_in_the_settings_is_named_before_the_page_is_served(change: str, match: str) -> None:
    with pytest.raises(UserError, match=match):
        check(load_config(DemoConfig, None, change.split()))


def test_the_choices_of_the_visitor_count(tmp_path: Path) -> None:
    events = asyncio.run(events_of(tmp_path, "What is item 2?", t_max=2, top_k=3))
    assert kinds(events) == ["run", "models", *["draft", "step"] * 2, "answer"]
    assert events[-1].data["status"] == "capped_then_answered"
    assert len(events[3].data["passages"]) == 3


def test_each_event_arrives_when_it_happens(tmp_path: Path) -> None:
    async def play() -> None:
        async with gated(tmp_path) as (visitor, gate, llm), visitor.run(ITEM) as events:
            assert kinds([await anext(events), await anext(events)]) == ["run", "models"]
            gate.let(1)  # the thought; its observation is still to come
            assert (await anext(events)).kind == "draft"
            assert len(llm.bodies) in (1, 2)
            gate.let(1)
            step = await anext(events)
            assert (step.kind, step.data["observation"]) == ("step", "item-1")

    asyncio.run(play())


def test_a_stop_ends_the_run_and_its_requests(tmp_path: Path) -> None:
    async def play() -> None:
        async with gated(tmp_path) as (visitor, gate, llm), visitor.run(ITEM) as events:
            run_id = (await anext(events)).data["id"]
            await anext(events)
            gate.let(1)
            assert (await anext(events)).kind == "draft"
            await llm.requests(0 if len(llm.bodies) == 2 else 1)
            assert await visitor.post(f"/api/runs/{run_id}/stop", {}) == (200, {"stopped": True})
            assert kinds([event async for event in events]) == ["stopped"]
            status, refusal = await visitor.post(f"/api/runs/{run_id}/stop", {})
            assert (status, refusal["detail"]) == (404, "that run has ended already; start another")
            await stays_quiet(visitor, gate, llm)

    asyncio.run(play())


async def stays_quiet(visitor: Visitor, gate: Any, llm: FakeLLM) -> None:
    """No run is left, and none goes on when the model answers."""
    await visitor.idle()
    before = len(llm.bodies)
    gate.let(50)
    await asyncio.sleep(0.3)
    assert len(llm.bodies) == before


def test_the_runs_in_flight_are_listed(tmp_path: Path) -> None:
    async def play() -> None:
        async with gated(tmp_path) as (visitor, _, _):
            assert (await visitor.get("/api/runs"))[:2] == (200, {"runs": []})
            async with visitor.run(ITEM, top_k=2, t_max=8) as events:
                run_id = (await anext(events)).data["id"]
                (run,) = (await visitor.get("/api/runs"))[1]["runs"]
                assert 0 <= run.pop("seconds") < 60
                assert run == {"id": run_id, "question": ITEM, "method": "rearag", "top_k": 2, "t_max": 8}
                await visitor.post(f"/api/runs/{run_id}/stop", {})
            await visitor.idle()
            assert (await visitor.get("/api/runs"))[1] == {"runs": []}

    asyncio.run(play())


def test_a_visitor_who_leaves_ends_the_run(tmp_path: Path) -> None:
    async def play() -> None:
        async with gated(tmp_path) as (visitor, gate, llm):
            async with visitor.run(ITEM) as events:
                await anext(events)
                await llm.requests(1 - len(llm.bodies))
                assert (await visitor.get("/api/status"))[1]["in_flight"] == 1
            await stays_quiet(visitor, gate, llm)

    asyncio.run(play())


def test_only_so_many_runs_at_once(tmp_path: Path) -> None:
    async def play() -> None:
        async with gated(tmp_path, "serving.max_runs=1") as (visitor, gate, _):
            async with visitor.run(ITEM) as events:
                await anext(events)
                status, refusal = await visitor.post("/api/runs", {"question": ITEM})
                assert status == 429
                assert refusal["detail"].startswith("1 questions are being answered already; wait")
            await visitor.idle()
            gate.let(100)
            assert kinds(await visitor.all_events(ITEM))[-1] == "answer"

    asyncio.run(play())


def test_a_run_ends_at_its_deadline(tmp_path: Path) -> None:
    async def play() -> None:
        async with gated(tmp_path, "serving.run_seconds=0.5") as (visitor, _, _):
            events = await visitor.all_events(ITEM)
            assert kinds(events)[-1] == "error"
            assert events[-1].data["sentence"].startswith("The run was ended after 0 s; ask for fewer steps")

    asyncio.run(play())


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "not valid JSON"),
        (b'"x"', 422, "must be a JSON object"),
        ({}, 422, "there is no question"),
        ({"question": " \n"}, 422, "there is no question"),
        ({"question": ["x"]}, 422, "there is no question"),
        ({"question": "x" * 2001}, 422, "2001 characters, at most 2000"),
        ({"question": "x" * 20_000}, 413, "more than 16384 bytes"),
        ({"question": "x", "method": "../../etc"}, 422, "no method '../../etc'; there are: "),
        ({"question": "x", "method": "naive_rog"}, 422, "no method 'naive_rog'; did you mean naive_rag? "),
        ({"question": "x", "method": ["rearag"]}, 422, "no method"),
        ({"question": "x", "top_k": 0}, 422, "'top_k' must be a whole number from 1 to 20"),
        ({"question": "x", "top_k": 21}, 422, "from 1 to 20"),
        ({"question": "x", "top_k": True}, 422, "from 1 to 20"),
        ({"question": "x", "t_max": "3"}, 422, "'t_max' must be a whole number from 1 to 30"),
        ({"question": "x", "url": "http://evil"}, 422, "unknown key 'url'"),
    ],
    ids=str,
)
def test_a_request_that_cannot_be_answered_is_told_what_to_change(
    shared: Shared, body: Any, status: int, words: str
) -> None:
    got, refusal = shared.post("/api/runs", body)
    assert got == status
    assert words in refusal["detail"]


class Shared:
    """One page for the tests that only ask; each call has a session of its own."""

    def __init__(self, folder: Path) -> None:
        script = write_script(folder / "s.jsonl", [("Reasoning", [render_step(1, "t", Finish("a"))])])
        self._config = demo_config(folder, f"scripted:{script}", "serving.hosts=[demo.example]")

    def post(self, path: str, body: Any, *, token: str | None = None, **headers: str) -> tuple[int, Any]:
        async def ask() -> tuple[int, Any]:
            async with visited(self._config, token=token) as visitor:
                return await visitor.post(path, body, **headers)

        return asyncio.run(ask())

    def get(self, path: str, *, token: str | None = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        async def ask() -> tuple[int, Any, dict[str, str]]:
            async with visited(self._config, token=token) as visitor:
                return await visitor.get(path, **headers)

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    return Shared(tmp_path_factory.mktemp("shared"))


@pytest.mark.parametrize("path", ["/", "/demo.js", "/health", "/api/status"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:9895", "127.0.0.1.evil.example", ""])
def test_a_foreign_name_for_our_address_is_refused(shared: Shared, path: str, host: str) -> None:
    status, refusal, _ = shared.get(path, Host=host)
    assert status == 403
    assert "methods" not in str(refusal)


@pytest.mark.parametrize(
    "host", ["localhost:1234", "127.0.0.1", "[::1]:9895", "LOCALHOST", "demo.example:80"]
)
def test_our_own_names_are_served(shared: Shared, host: str) -> None:
    assert shared.get("/api/status", Host=host)[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_another_page_in_the_same_browser_is_refused(shared: Shared, headers: dict[str, str]) -> None:
    assert shared.post("/api/runs", {"question": "x"}, **headers)[0] == 403
    status, _, given = shared.get("/api/status", **headers)
    assert status == 403
    assert not [name for name in given if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_what_a_foreign_form_could_send_is_refused(shared: Shared, kind: str) -> None:
    for path in ("/api/runs", "/api/runs/x/stop"):
        assert shared.post(path, b'{"question":"x"}', **{"Content-Type": kind})[0] == 415


def test_the_token_is_asked_for_by_the_api_alone(shared: Shared) -> None:
    for path in ("/", "/demo.js", "/health"):
        assert shared.get(path, token="s3cret")[0] == 200
    for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}):
        assert shared.get("/api/status", token="s3cret", **wrong)[0] == 401
        assert shared.post("/api/runs", {"question": "x"}, token="s3cret", **wrong)[0] == 401
    right = {"Authorization": "Bearer s3cret"}
    assert shared.get("/api/status", token="s3cret", **right)[0] == 200


def test_unknown_places_are_told(shared: Shared) -> None:
    for path in ("/index.html", "/../src_demo/app.py", "/%2e%2e/pyproject.toml", "/api/nothing"):
        assert shared.get(path)[0] == 404
    assert shared.post("/api/status", {})[0] == 404
    assert shared.get("/api/nothing")[1]["detail"].endswith(", POST /api/runs, POST /api/runs/ID/stop")


def test_the_routes_are_documented() -> None:
    text = Path("docs/serving.md").read_text()
    assert [route for route in API if f"`{route}`" not in text] == []


def test_every_reply_carries_the_rules_of_the_page(shared: Shared) -> None:
    for path in (
        "/",
        "/parts.css",
        "/parts.js",
        "/demo.css",
        "/demo.js",
        "/stream.js",
        "/render.js",
        "/icon.svg",
        "/health",
        "/nothing",
    ):
        headers = {name.lower(): value for name, value in shared.get(path)[2].items()}
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; ")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


class Page(html.parser.HTMLParser):
    """The elements of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_holds_no_inline_code_and_asks_for_its_own_files_only() -> None:
    files = page_files()
    page = Page(files["/"].body.decode())
    for tag, attributes in page.tags:
        assert tag != "style"
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "href"):
            if attributes.get(name):
                assert attributes[name] in files
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert [script["src"] for script in scripts] == ["/parts.js", "/demo.js"]
    ids = {attributes["id"] for _, attributes in page.tags if attributes.get("id")}
    for path in ("/parts.js", "/demo.js", "/render.js", "/stream.js"):
        code = files[path].body.decode()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Storage", code)
        assert set(re.findall(r'byId\("(\w[\w-]*)"\)', code)) <= ids


def test_the_status_lists_servers_methods_and_examples(shared: Shared) -> None:
    status, facts, _ = shared.get("/api/status")
    assert status == 200
    assert [server["name"] for server in facts["servers"]] == ["model server", "retriever"]
    assert [server["problem"] for server in facts["servers"]] == ["", ""]
    assert {"closed_book", "naive_rag", "rearag"} <= {method["name"] for method in facts["methods"]}
    assert all(method["about"] for method in facts["methods"])
    assert facts["examples"] == [{"question": "What is item 0?", "recorded": None}]
    assert facts["examples_rule"] == ""
    assert facts["chosen"] == {"method": "rearag", "top_k": 1, "t_max": 15}


def test_without_questions_the_page_offers_none(tmp_path: Path) -> None:
    async def status(*changes: str) -> dict[str, Any]:
        async with (
            FakeLLM(answer_at_once) as llm,
            visited(demo_config(tmp_path, llm.url, *changes)) as visitor,
        ):
            return dict((await visitor.get("/api/status"))[1])

    facts = asyncio.run(status("questions="))
    assert (facts["examples"], facts["examples_rule"]) == ([], "")


def test_recorded_answers_are_shown_beside_the_model_that_gave_them(tmp_path: Path) -> None:
    folder = tmp_path / "world"
    folder.mkdir()
    world = Path("data/sample_world")
    for name in ("questions.jsonl", "recorded.json"):
        (folder / name).write_bytes((world / name).read_bytes())

    async def recorded(model: str) -> set[str]:
        change = f"questions={folder / 'questions.jsonl'}"
        async with (
            FakeLLM(answer_at_once, models=(model,)) as llm,
            visited(demo_config(tmp_path, llm.url, change)) as visitor,
        ):
            facts = (await visitor.get("/api/status"))[1]
        assert len(facts["examples"]) >= 2
        return {each["recorded"]["model"] if each["recorded"] else "" for each in facts["examples"]}

    known = json.loads((folder / "recorded.json").read_bytes())["model"]
    assert asyncio.run(recorded(known)) == {known}
    assert asyncio.run(recorded("another")) == {""}


def test_a_server_of_the_users_is_not_ours_to_start(tmp_path: Path) -> None:
    own = "{url: 'http://127.0.0.1:1/v1', engine: openai}"
    changes = [f"agent={own}", f"reader={own}", "retriever=http://127.0.0.1:3"]

    async def play() -> str:
        async with visited(demo_config(tmp_path, "http://x", *changes)) as visitor:
            return str((await visitor.all_events(ITEM))[-1].data["sentence"])

    assert asyncio.run(play()) == (
        "The model server on port 1, which is yours, does not answer; start it, or give the right address "
        "with BASE_URL. "
        "The retriever on port 3 does not answer; 'bash deploy/deploy_rag_engine.sh' starts it."
    )


def test_servers_that_are_down_are_told_with_what_starts_them(tmp_path: Path) -> None:
    down = [
        "agent.url=http://127.0.0.1:1/v1",
        "reader.url=http://127.0.0.1:2/v1",
        "retriever=http://127.0.0.1:3",
    ]

    async def play() -> tuple[list[Seen], Any]:
        async with visited(demo_config(tmp_path, "http://x", *down)) as visitor:
            return await visitor.all_events(ITEM), (await visitor.get("/api/status"))[1]

    events, facts = asyncio.run(play())
    assert kinds(events) == ["run", "error"]
    assert events[-1].data["sentence"] == (
        "The reasoning model on port 1 does not answer; 'bash deploy/deploy.sh' starts it. "
        "The answer model on port 2 does not answer; 'bash deploy/deploy_rag_engine.sh' starts it. "
        "The retriever on port 3 does not answer; 'bash deploy/deploy_rag_engine.sh' starts it."
    )
    assert [server["serves"] for server in facts["servers"]] == ["", "", ""]


def test_a_server_with_several_models_is_a_sentence_that_names_the_setting(tmp_path: Path) -> None:
    async def play() -> list[Seen]:
        async with (
            FakeLLM(answer_at_once, models=("a", "b")) as server,
            visited(demo_config(tmp_path, server.url)) as visitor,
        ):
            return await visitor.all_events(ITEM)

    events = asyncio.run(play())
    assert kinds(events) == ["run", "error"]
    sentence = events[-1].data["sentence"]
    assert "set agent.model to one of a, b, and reader.model too" in sentence


def test_an_address_with_a_password_is_refused_at_the_start_without_repeating_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds a user name or a password") as refused:
        check(demo_config(tmp_path, "http://someone:secret@127.0.0.1:1/v1"))
    assert "secret" not in str(refused.value)


def test_closed_book_needs_no_retriever(tmp_path: Path) -> None:
    events = asyncio.run(events_of(tmp_path, ITEM, "retriever=http://127.0.0.1:3", method="closed_book"))
    assert kinds(events) == ["run", "models", "answer"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "refuses our token; start it and this page with the same REARAG_TOKEN"),
        (503, "is not ready yet; wait until its model is loaded"),
        (500, "answers with HTTP 500; look into its log under logs/"),
    ],
)
def test_a_server_in_trouble_is_told_as_what_it_is(tmp_path: Path, status: int, words: str) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=status, text="<html>")

    async def play() -> str:
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", refuse)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        watch = ServerWatch(demo_config(tmp_path, f"http://127.0.0.1:{port}/v1"), token=None)
        try:
            return await watch.problems(needs_search=False)
        finally:
            await runner.cleanup()

    assert f"The model server on port {words}" in re.sub(r"port \d+", "port", asyncio.run(play()))


def test_a_server_that_fails_midway_ends_the_run_with_a_sentence_and_no_secret(tmp_path: Path) -> None:
    async def fail_second(body: dict[str, Any]) -> str | web.Response:
        if any(message["role"] == "assistant" for message in body["messages"]):
            return web.Response(status=400, text="bad token s3cr3t-token at http://me:pw@10.0.0.1/x")
        return step_for(body)

    async def play() -> list[Seen]:
        token = "s3cr3t-token"
        async with (
            FakeLLM(fail_second) as llm,
            visited(demo_config(tmp_path, llm.url), token=token) as visitor,
        ):
            return await visitor.all_events(ITEM, headers={"Authorization": f"Bearer {token}"})

    events = asyncio.run(play())
    assert kinds(events) == ["run", "models", "draft", "step", "error"]
    said = json.dumps([event.data for event in events])
    assert "A server failed: http" in events[-1].data["sentence"]
    assert "HTTP 400: bad token (token) at http://10.0.0.1/x" in events[-1].data["sentence"]
    assert "s3cr3t" not in said
    assert ":pw@" not in said
    assert trajectory_from_json(events[-1].data["trajectory"]).status is Status.MODEL_ERROR


def test_a_mistake_of_ours_is_an_event_without_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(question: Any, runtime: Any) -> Any:
        raise KeyError("/root/secret/path")

    monkeypatch.setattr("src_demo.runs.load_method", lambda name, settings: Method(broken, None, "", True))
    events = asyncio.run(events_of(tmp_path))
    assert kinds(events) == ["run", "models", "error"]
    assert events[-1].data == {"sentence": "The run failed by an error in this server; see logs/demo.log."}
    assert "KeyError" in caplog.text


def test_hostile_text_stays_inside_its_event(tmp_path: Path) -> None:
    async def reply(body: dict[str, Any]) -> str:
        asked = json.dumps(body)
        if "Reasoning process" not in asked:
            return EVIL
        n = sum(message["role"] == "assistant" for message in body["messages"]) + 1
        one_line = EVIL.replace("\n", " ")
        return render_step(n, one_line, Search(EVIL) if n == 1 else Finish(EVIL))

    async def play() -> list[Seen]:
        async with FakeLLM(reply) as llm, visited(demo_config(tmp_path, llm.url)) as visitor:
            return await visitor.all_events(EVIL)

    events = asyncio.run(play())
    assert kinds(events) == ["run", "models", *["draft", "step"] * 2, "answer"]
    assert events[3].data["argument"] == " ".join(EVIL.split())
    assert events[3].data["observation"] == EVIL.strip()
    assert "onerror" in events[2].data["thought"]


@settings(deadline=None, max_examples=60)
@given(st.text() | st.sampled_from([EVIL, "\ud800", "\r\n\r\n", "data: x\n\n"]))
def test_any_text_is_one_event(text: str) -> None:
    encoded = Event("step", {"text": text}).encoded()
    assert encoded.count(b"\n") == 3
    assert encoded.endswith(b"\n\n")
    assert b"\r" not in encoded
    data = json.loads(encoded.split(b"\n")[1].removeprefix(b"data: "))
    assert data["text"] == text.encode("utf-8", "replace").decode()


def test_addresses_are_shown_without_a_login() -> None:
    assert address_of("http://me:pw@host:1/v1") == "host:1"
    assert address_of("toy:corpus.jsonl") == "toy:corpus.jsonl"
    assert without_secrets("x http://me:pw@h/ abc", "abc") == "x http://h/ (token)"


def test_the_documented_api_is_that_of_the_page(shared: Shared) -> None:
    page = Path("docs/serving.md").read_text(encoding="utf-8").split("### The page's HTTP API\n")[1]
    documented = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert documented == {"run", "models", "draft", "step", "answer", "error", "stopped"}
    assert documented == set(re.findall(r"`(\w+)`", str(Event.__doc__)))
    _, facts, _ = shared.get("/api/status")
    for name in ("servers", "methods", "examples", "in_flight", "chosen", "most"):
        assert name in facts
        assert f"`{name}`" in page
    (body,) = re.findall(r"-d '(.*)'", page)
    status, _ = shared.post("/api/runs", {**json.loads(body), "top_k": 0})
    assert status == 422
    assert json.loads(body).keys() == set(_KEYS)
