"""The ASGI app: the page, its status, and runs as streams of server-sent events.

Plain ASGI, not Flask behind a2wsgi as the retriever is. There the events arrived one by one as well, but a
visitor who left was never noticed: the generator ran to its end in its thread, and with it the episode. Here
the stream waits for `http.disconnect` beside its events, and its end cancels the run.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from src_core.html_page import PARTS
from src_core.http_app import JSON, GuardedApp, Message, Receive, Reply, Send, refusal
from src_core.http_guard import Guard
from src_core.http_server import RequestError
from src_core.sentences import split_sentences
from src_core.types import Question
from src_demo.config import DemoConfig
from src_demo.headers import HEADERS
from src_demo.runs import QUIET, Run, Runs, settings_of, settings_problem
from src_demo.servers import ServerWatch
from src_demo.wire import Event, run_request
from src_infer.methods import load_method, method_names
from src_tasks.readers.sources import read_questions
from src_tasks.recorded import Recording, percents, read_recording

QUIET_SECONDS = 15.0
EXAMPLES = 5
_PAGE = Path(__file__).resolve().parent / "page"
API = ("GET /api/status", "GET /api/runs", "POST /api/runs", "POST /api/runs/ID/stop")
"""The routes for programs; docs/serving.md describes each."""
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def guarded_app(config: DemoConfig, *, token: str | None) -> GuardedApp:
    """The page behind the rules of all our servers."""

    def is_api(path: str) -> bool:
        return path.startswith("/api/")

    guard = Guard(config.host, config.serving.hosts, token=token, needs_token=is_api, only_json=True)
    return GuardedApp(
        DemoApp(config, token=token),
        guard=guard,
        options=config.serving,
        max_body_bytes=config.serving.max_body_bytes,
        health=lambda: b'{"status":"healthy"}',
        headers=HEADERS,
        whole=False,
    )


class DemoApp:
    """One server's app. What it serves of the page is read once."""

    def __init__(self, config: DemoConfig, *, token: str | None) -> None:
        self._config = config
        self._watch = ServerWatch(config, token=token)
        self._runs = Runs(config, watch=self._watch, token=token)
        self._page = page_files()
        recording = read_recording(Path(config.questions))
        self._examples = {
            model: examples(config, model) for model in ("", recording.model if recording else "")
        }
        self._facts = {"methods": method_facts(config), **_choices(config)}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI) whose body is complete."""
        method, path = scope["method"], scope["path"]
        body = (await receive())["body"]
        try:
            if (method, path) == ("POST", "/api/runs"):
                await self._stream(self._runs.start(run_request(body, self._config)), receive, send)
                return
            reply = await self._reply(method, path)
        except RequestError as error:
            reply = refusal(error)
        await _start(send, reply.status, reply.content_type, length=len(reply.body))
        await send({"type": "http.response.body", "body": reply.body})

    async def _reply(self, method: str, path: str) -> Reply:
        """Everything but a run."""
        match method, path.split("/")[1:]:
            case "GET", ["api", "status"]:
                return Reply(200, orjson.dumps(await self._status()))
            case "GET", ["api", "runs"]:
                return Reply(200, orjson.dumps({"runs": self._runs.listed()}))
            case "POST", ["api", "runs", run_id, "stop"]:
                self._runs.stop(run_id)
                return Reply(200, b'{"stopped":true}')
            case "GET", _ if path in self._page:
                return self._page[path]
            case _, ["api", *_]:
                raise RequestError(404, "not found", f"there is no such route; there are: {', '.join(API)}")
        raise RequestError(404, "not found", "there is no such page here; open /")

    async def _status(self) -> dict[str, Any]:
        states = await self._watch.states()
        served = " + ".join(dict.fromkeys(state.serves for state in states[:-1]))
        shown = self._examples.get(served, self._examples[""])
        return {
            "servers": [asdict(state) for state in states],
            "in_flight": self._runs.in_flight,
            "examples": shown.questions,
            "examples_rule": shown.rule,
            **self._facts,
        }

    async def _stream(self, run: Run, receive: Receive, send: Send) -> None:
        """The events of a run, until it ends, its visitor leaves, or the visitor stops reading."""
        tasks: set[asyncio.Task[None]] = set()
        try:
            await _start(send, 200, "text/event-stream")
            pump, gone = asyncio.create_task(_pump(run, send)), asyncio.create_task(_until_gone(receive))
            tasks |= {pump, gone}
            patience = self._config.serving.run_seconds + 2 * QUIET_SECONDS
            await asyncio.wait(tasks, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if pump.done():
                pump.result()
        finally:
            run.stop()
            for task in tasks:
                task.cancel()


async def _pump(run: Run, send: Send) -> None:
    """Send the run's events, and a comment while there is none, so that no proxy closes the connection."""
    event: Event | None = Event("run", {"id": run.id})
    while event is not None:
        await _send_piece(send, event.encoded())
        while (event := await run.next_event(QUIET_SECONDS)) == QUIET:
            await _send_piece(send, b": still at it\n\n")
    await send({"type": "http.response.body", "body": b""})


async def _send_piece(send: Send, piece: bytes) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _start(send: Send, status: int, content_type: str, *, length: int | None = None) -> None:
    charset = "" if content_type == JSON else "; charset=utf-8"
    headers = {**HEADERS, "content-type": content_type + charset}
    if length is not None:
        headers["content-length"] = str(length)
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


def page_files() -> dict[str, Reply]:
    """The files of the page and the parts that all pages share, by their path; `/` is `index.html`."""
    found = {
        f"/{path.name}": Reply(200, path.read_bytes(), _TYPES[path.suffix])
        for path in sorted([*_PAGE.iterdir(), *PARTS.iterdir()])
        if path.suffix in _TYPES
    }
    found["/"] = found.pop("/index.html")
    return found


def method_facts(config: DemoConfig) -> list[dict[str, Any]]:
    """Each method with the first sentence of its module, which says what it does; the configured one may be a
    file of the user's. `problem` says why a method cannot answer here ("": it can): the settings are those
    of the configured method, and a visitor cannot give any.
    """
    facts = []
    for name in sorted({*method_names(), config.method}):
        method = load_method(name, settings_of(config, name))
        about = next(iter(split_sentences(method.summary)), "").rstrip(".")
        facts.append(
            {
                "name": name,
                "about": about,
                "needs_search": method.needs_search,
                "problem": settings_problem(method),
            }
        )
    return facts


class Examples(NamedTuple):
    """The questions that the page offers, and by which rule they were chosen ("" without a recording)."""

    questions: list[dict[str, Any]]
    rule: str


def examples(config: DemoConfig, model: str) -> Examples:
    """A few questions of the configured file, each with the answer that was recorded for it, if any
    (`src_tasks.recorded`); none where there is no file. `model` is what the servers serve now, as a recording
    names it: nothing is shown of the recording of another model. Without a recording of the method they are
    the first of each kind. With one they stand for it: the share of right answers is the recorded EM, rounded
    to whole questions, and of the right and of the wrong ones the first of each kind come first.
    """
    path = Path(config.questions)
    if not path.is_file():
        return Examples([], "")
    asked = list({each.question: each for each in read_questions(path)}.values())
    recording = read_recording(path)
    if recording is not None and recording.model != model:
        recording = None
    known = {each.question: _recorded(recording, each.question, config.method) for each in asked}
    own = recording.methods.get(config.method) if recording else None
    if recording is None or own is None or not all(known.values()):
        kinds = len({_kind(each) for each in asked})
        chosen, rule = _of_all_kinds(asked, min(kinds, EXAMPLES)), ""
    else:
        n = min(EXAMPLES, len(asked))
        right = [each for each in asked if (known[each.question] or {})["right"]]
        wrong = [each for each in asked if each not in right]
        first = _of_all_kinds(right, round(n * own.em.mean))
        chosen = first + _of_all_kinds(wrong, n - len(first))
        rule = (
            f"{len(first)} answered rightly and {len(chosen) - len(first)} wrongly, as in the whole "
            f"recording: {config.method} has EM {percents(own.em)} on {recording.questions} questions; "
            "the first of each kind are shown"
        )
    shown = [each.question for each in asked if each in chosen]
    return Examples([{"question": text, "recorded": known[text]} for text in shown], rule)


def _kind(question: Question) -> tuple[str, str]:
    return str(question.meta.get("type")), str(question.meta.get("hops"))


def _of_all_kinds(questions: Sequence[Question], n: int) -> list[Question]:
    """The first of each kind, then the second of each, up to `n`."""
    seen: Counter[tuple[str, str]] = Counter()
    turns = []
    for question in questions:
        turns.append(seen[_kind(question)])
        seen[_kind(question)] += 1
    order = sorted(range(len(questions)), key=lambda at: (turns[at], at))
    return [questions[at] for at in order[:n]]


def _recorded(recording: Recording | None, question: str, method: str) -> dict[str, Any] | None:
    """The recorded answer of this method, with the model that gave it."""
    known = recording.examples.get(question) if recording else None
    own = known.answers.get(method) if known else None
    if recording is None or own is None:
        return None
    return {"answer": own.answer, "right": own.right, "method": method, "model": recording.model}


def _choices(config: DemoConfig) -> dict[str, Any]:
    limits = config.serving
    return {
        "chosen": {"method": config.method, "top_k": config.top_k, "t_max": config.limits.t_max},
        "most": {
            "top_k": max(limits.max_top_k, config.top_k),
            "t_max": max(limits.max_steps, config.limits.t_max),
            "question_chars": limits.max_question_chars,
        },
    }
