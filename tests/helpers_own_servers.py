"""Model servers that are not ours, as their documentation describes them: what they list, which fields they
obey, ignore or refuse, and whether they ask for a key.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "s3cr3t-key"


@dataclass(frozen=True)
class Shape:
    """One kind of server. `obeys` are the fields that constrain a reply; `knows` the fields that are accepted
    (None: all), others are refused with 400. `fails` is the status and body of every reply. With `answers_as`
    it answers for every name, under this one ("*": the name that was asked for).
    """

    name: str
    model: str
    models: dict[str, Any]
    obeys: tuple[str, ...] = ()
    knows: frozenset[str] | None = None
    needs_key: bool = False
    constrain: str = "off"
    fails: tuple[int, bytes] | None = None
    answers_as: str = ""


def _listed(*names: str) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}


_OPENAI = frozenset({"model", "messages", "max_completion_tokens", "seed", "response_format"})  # as GPT-5
_SCHEMA: dict[str, Any] = {"obeys": ("response_format",), "constrain": "json_schema"}
_VLLM: dict[str, Any] = {"obeys": ("structured_outputs", "response_format"), "constrain": "grammar"}
SHAPES = [
    Shape("ollama", "qwen3:8b", _listed("qwen3:8b", "nomic-embed-text:latest"), **_SCHEMA),
    Shape("lm_studio", "qwen/qwen3-8b", _listed("qwen/qwen3-8b", "text-embedding-nomic"), **_SCHEMA),
    Shape("vllm", "Qwen/Qwen3-8B", _listed("Qwen/Qwen3-8B"), **_VLLM),
    Shape("sglang", "Qwen/Qwen3-8B", _listed("Qwen/Qwen3-8B"), **_SCHEMA),
    Shape("openai", "gpt-5-mini", _listed("gpt-5", "gpt-5-mini"), knows=_OPENAI, needs_key=True),
]


@dataclass
class Seen:
    """The requests that a server got, and the keys they carried."""

    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)


@contextmanager
def serving(shape: Shape) -> Iterator[tuple[str, Seen]]:
    """The base URL of a server of this kind, and what it sees."""
    seen = Seen()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(*((200, shape.models) if self.path == "/v1/models" else (404, {"error": "not found"})))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.keys.add(self.headers.get("Authorization", ""))
            if self.path != "/v1/chat/completions":
                return self._send(404, {"error": {"message": "not found"}})
            if shape.needs_key and self.headers.get("Authorization") != f"Bearer {KEY}":
                return self._send(401, {"error": {"message": "Incorrect API key provided"}})
            unknown = sorted(set(body) - shape.knows) if shape.knows is not None else []
            if unknown:
                message = f"Unsupported parameter: '{unknown[0]}' is not supported with this model."
                if unknown[0] == "max_tokens":
                    message += " Use 'max_completion_tokens' instead."
                return self._send(400, {"error": {"message": message}})
            if body["model"] != shape.model and not shape.answers_as:
                return self._send(404, {"error": {"message": f"model {body['model']} does not exist"}})
            seen.bodies.append(body)
            return self._send(200, _reply(body, shape))

        def _send(self, status: int, value: Any) -> None:
            status, data = shape.fails or (status, json.dumps(value).encode())
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", seen
    finally:
        server.shutdown()
        server.server_close()


def _reply(body: dict[str, Any], shape: Shape) -> dict[str, Any]:
    message = {"role": "assistant", "content": _text(body, shape)}
    usage = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    name = shape.answers_as if shape.answers_as not in ("", "*") else body["model"]
    return {"id": "x", "model": name, "choices": [choice], "usage": usage}


def _text(body: dict[str, Any], shape: Shape) -> str:
    """A step of the loop, in the form that a constraint asks for, or a plain answer."""
    everything = "\n".join(message["content"] for message in body["messages"])
    item = (re.findall(r"item (\d+)", everything) or ["0"])[-1]
    step = sum(message["role"] == "assistant" for message in body["messages"]) + 1
    call = ("search", "query", f"item {item}") if step == 1 else ("finish", "answer", f"item-{item}")
    function, key, value = call
    if "response_format" in body and "response_format" in shape.obeys:
        return json.dumps({"thought": "Well.", "function": function, "parameters": {key: value}})
    grammar = body.get("grammar") or body.get("structured_outputs", {}).get("grammar")
    obeyed = "structured_outputs" in shape.obeys and "structured_outputs" in body
    if obeyed and "Thought" not in grammar:
        return str(re.findall(r'"(.*?)"', grammar)[0])
    if "Thought" in everything:  # the instructions of the loop
        written = json.dumps({"function": function, "parameters": {key: value}})
        return f"Thought {step}: Well.\nAction {step}: \n```\n{written}\n```"
    return f"item-{item}"
