"""A stand-in for an Elasticsearch server: HTTP on a free port, replies in the form of a real one, the index
in memory. A score is the number of the query's words that a document holds.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from test_retrieval_build import QUIET, config, engine_config

from src_retrieval.build import build_index
from src_retrieval.engine import SearchEngine, open_engine
from src_retrieval.layout import Manifest


class Reply(NamedTuple):
    status: int
    body: Any


class Request(NamedTuple):
    method: str
    path: str
    body: str
    headers: dict[str, str]


Fault = Callable[[Request], Reply | None]
"""What a test lets the server answer to a request; None: what it would answer anyway."""


def refusal(status: int, kind: str, reason: str) -> Reply:
    cause = {"type": kind, "reason": reason}
    return Reply(status, {"error": {"root_cause": [cause], **cause}, "status": status})


class FakeElastic:
    def __init__(self) -> None:
        self.indices: dict[str, dict[str, Any]] = {}
        self.requests: list[Request] = []
        self.fault: Fault = lambda request: None
        self.version = "9.1.0"
        self.product = "Elasticsearch"
        self.bulk_seconds = 0.0
        self.url = ""
        self._lock = threading.Lock()

    def sent(self, path: str) -> list[Request]:
        return [request for request in self.requests if path in request.path]

    def documents(self, index: str = "wiki") -> dict[str, Any]:
        found: dict[str, Any] = self.indices[index]["documents"]
        return found

    def answer(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
        if "_bulk" in request.path:
            time.sleep(self.bulk_seconds)
        spoken = re.search(r"compatible-with=(\d+)", request.headers.get("accept", ""))
        major = int(self.version.split(".")[0])
        if spoken and int(spoken[1]) not in (major, major - 1):
            return refusal(400, "media_type_header_exception", "Invalid media-type value on headers [Accept]")
        with self._lock:
            return self.fault(request) or self._answer(request)

    def _answer(self, request: Request) -> Reply:
        parts = [unquote(part) for part in urlsplit(request.path).path.strip("/").split("/")]
        if parts == [""]:
            return Reply(200, {"version": {"number": self.version}, "tagline": "You Know, for Search"})
        if parts[0] == "_cluster":
            return Reply(200, {"timed_out": False, "status": "green"})
        name, action = parts[0], "/".join(parts[1:]) or request.method
        if action == "PUT":
            return self._create(name, json.loads(request.body))
        if name not in self.indices:
            return refusal(404, "index_not_found_exception", f"no such index [{name}]")
        return getattr(self, f"_{action.strip('_').lower()}")(name, request)

    def _create(self, name: str, body: Any) -> Reply:
        if name in self.indices:
            return refusal(400, "resource_already_exists_exception", f"index [{name}] already exists")
        settings = {"index": {**body["settings"], "uuid": uuid.uuid4().hex}}
        self.indices[name] = {"mappings": body["mappings"], "settings": settings, "documents": {}}
        return Reply(200, {"acknowledged": True, "index": name})

    def _get(self, name: str, request: Request) -> Reply:
        return Reply(200, {name: {key: self.indices[name][key] for key in ("mappings", "settings")}})

    def _delete(self, name: str, request: Request) -> Reply:
        del self.indices[name]
        return Reply(200, {"acknowledged": True})

    def _refresh(self, name: str, request: Request) -> Reply:
        return Reply(200, {"_shards": {"failed": 0}})

    def _count(self, name: str, request: Request) -> Reply:
        return Reply(200, {"count": len(self.documents(name))})

    def _mapping(self, name: str, request: Request) -> Reply:
        self.indices[name]["mappings"] |= json.loads(request.body)
        return Reply(200, {"acknowledged": True})

    def _settings(self, name: str, request: Request) -> Reply:
        if request.method == "GET":
            return Reply(200, {name: {"settings": self.indices[name]["settings"]}})
        self.indices[name]["settings"]["index"] |= json.loads(request.body)["index"]
        return Reply(200, {"acknowledged": True})

    def _bulk(self, name: str, request: Request) -> Reply:
        lines = [json.loads(line) for line in request.body.rstrip("\n").split("\n")]
        items = []
        for action, document in zip(lines[::2], lines[1::2], strict=True):
            key = action["create"]["_id"]
            item: dict[str, Any] = {"_index": name, "_id": key, "status": 201}
            if key in self.documents(name):
                error = {"type": "version_conflict_engine_exception", "reason": f"[{key}]: version conflict"}
                item |= {"status": 409, "error": error}
            self.documents(name).setdefault(key, document)
            items.append({"create": item})
        return Reply(200, {"errors": any("error" in item["create"] for item in items), "items": items})

    def _msearch(self, name: str, request: Request) -> Reply:
        lines = [json.loads(line) for line in request.body.rstrip("\n").split("\n")]
        return Reply(200, {"responses": [self._search(name, body) for body in lines[1::2]]})

    def _search(self, name: str, body: Any) -> dict[str, Any]:
        words = set(re.findall(r"\w+", body["query"]["multi_match"]["query"].lower()))
        scored = [
            (float(len(words & set(re.findall(r"\w+", f"{text['title']} {text['txt']}".lower())))), key)
            for key, text in self.documents(name).items()
        ]
        best = sorted((pair for pair in scored if pair[0]), key=lambda pair: -pair[0])[: body["size"]]
        hits = [{"_index": name, "_id": key, "_score": score} for score, key in best]
        shards = {"total": 1, "successful": 1, "failed": 0}
        return {"status": 200, "timed_out": False, "_shards": shards, "hits": {"hits": hits}}


@contextmanager
def fake_elastic() -> Iterator[FakeElastic]:
    fake = FakeElastic()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            headers = {key.lower(): value for key, value in self.headers.items()}
            reply = fake.answer(Request(self.command, self.path, body, headers))
            data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            if fake.product:
                self.send_header("x-elastic-product", fake.product)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = _any  # noqa: N815 - names of the standard library

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()


def options(fake: FakeElastic, **changes: object) -> dict[str, object]:
    values: dict[str, object] = {
        "host": fake.url,
        "bulk_passages": 7,
        "retry.first_wait": 0,
        "retry.longest_wait": 0,
        **changes,
    }
    return {"type": "elasticsearch", **{f"sparse_options.{key}": value for key, value in values.items()}}


def built(folder: Path, fake: FakeElastic, **changes: object) -> Manifest:
    return build_index(config(folder, **options(fake, **changes)), steps=QUIET)


def served(folder: Path, fake: FakeElastic, **changes: object) -> SearchEngine:
    return open_engine(engine_config(folder, **options(fake, **changes))).engine
