"""Qdrant over HTTP for the tests: the routes that the client calls, answered by the client's own collections
in memory. It keeps every request, and can be told to fail.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Request(NamedTuple):
    method: str
    path: str
    body: Any
    key: str | None


class FakeQdrant:
    """`fault` may answer a request with a status instead, 429 with the header `retry_after`; `states` are the
    next states of a collection that is asked for.
    """

    def __init__(self) -> None:
        from qdrant_client import QdrantClient, models

        self.models = models
        self.client = QdrantClient(":memory:", force_disable_check_same_thread=True)
        self.url = ""
        self.requests: list[Request] = []
        self.fault: Callable[[Request], int | None] = lambda request: None
        self.states: list[str] = []
        self.retry_after = ""
        self._lock = threading.Lock()

    def sent(self, method: str, ending: str) -> list[Request]:
        return [one for one in self.requests if one.method == method and one.path.endswith(ending)]

    def answer(self, request: Request) -> tuple[int, Any]:
        with self._lock:
            self.requests.append(request)
            status = self.fault(request)
            if status is not None:
                return status, {"status": {"error": "not\nnow"}, "time": 0.0}
            if request.path == "/":
                return 200, {"title": "qdrant", "version": "1.16.3"}
            _, _, name, *rest = request.path.split("/")
            return 200, {"result": self._result(request, name, "/".join(rest)), "status": "ok", "time": 0.0}

    def _result(self, request: Request, name: str, rest: str) -> Any:
        models, client, body = self.models, self.client, request.body
        if rest == "exists":
            return {"exists": client.collection_exists(name)}
        if rest == "points/count":
            return {"count": client.count(name).count}
        if rest == "points":
            client.upsert(name, points=models.PointsBatch(**body).batch)
            return {"operation_id": 0, "status": "completed"}
        if rest == "points/query/batch":
            searches = [models.QueryRequest(**search) for search in body["searches"]]
            found = client.query_batch_points(name, requests=searches)
            return [reply.model_dump(mode="json") for reply in found]
        if request.method == "GET":
            info = client.get_collection(name).model_dump(mode="json", exclude_none=True)
            return {**info, "status": self.states.pop(0) if self.states else "green"}
        if request.method == "PUT":
            wanted = models.CreateCollection(**body)
            client.create_collection(name, vectors_config=wanted.vectors, metadata=wanted.metadata)
        elif request.method == "PATCH" and body.get("metadata"):
            client.update_collection(name, metadata=body["metadata"])
        elif request.method == "DELETE":
            client.delete_collection(name)
        return True


@contextmanager
def fake_qdrant() -> Iterator[FakeQdrant]:
    fake = FakeQdrant()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def _any(self) -> None:
            data = self.rfile.read(int(self.headers.get("content-length", 0)))
            path = self.path.partition("?")[0]
            request = Request(
                self.command, path, json.loads(data) if data else None, self.headers.get("api-key")
            )
            status, body = fake.answer(request)
            reply = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            if status == 429 and fake.retry_after:
                self.send_header("retry-after", fake.retry_after)
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = _any  # noqa: N815 - names of the standard library

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
