"""Processes of `fake_llm.py` on one port, the settings of a run against them, and a client that blocks its
thread.
"""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src_core.llm import Completion, Sampling
from src_core.protocols.records import Constraint, Message
from src_core.types import Usage
from src_infer.config import RuntimeConfig
from src_infer.runtime import Runtime, make_rag


@contextmanager
def fake_replicas(count: int, *, slots: int) -> Iterator[list[int]]:
    """The ports of `count` servers that each work on `slots` requests at once, once all of them listen."""
    with ExitStack() as started:
        yield [started.enter_context(fake_servers(1, slots=slots)) for _ in range(count)]


@contextmanager
def fake_servers(count: int, *, slots: int = 0) -> Iterator[int]:
    """`count` server processes behind one port, which is yielded once all of them listen. Each works on
    `slots` requests at once (0: on all).
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        port = int(holder.getsockname()[1])
        command = [sys.executable, str(Path(__file__).with_name("fake_llm.py")), str(port)]
        command += [str(slots)] if slots else []
        servers = [subprocess.Popen(command) for _ in range(count)]
        try:
            _wait(port, servers=count)
            yield port
        finally:
            for server in servers:
                server.terminate()
                server.wait()


class BlockingModel:
    """A `ChatModel` that blocks its thread, as the usual loop over `requests` does."""

    name = "blocking"

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling,
        stop: Sequence[str] = (),
        constraint: Constraint | None = None,  # noqa: ARG002 - an argument of the interface
        logprobs: int = 0,  # noqa: ARG002
    ) -> Completion:
        """One blocking request."""
        body = orjson.dumps(
            {"messages": list(messages), "stop": list(stop), "max_tokens": sampling.max_tokens}
        )
        self._connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        reply = orjson.loads(self._connection.getresponse().read())
        counts = reply["usage"]
        usage = Usage(1, counts["prompt_tokens"], counts["completion_tokens"])
        return Completion(reply["choices"][0]["message"]["content"], "stop", usage)

    def takes_over(self, runtime: Runtime, config: RuntimeConfig) -> Runtime:
        """`runtime` with this model as its agent and its reader."""
        rag = make_rag(config, retriever=runtime.retriever, reader=self)
        return replace(runtime, policy=replace(runtime.policy, model=self), reader=self, rag=rag)

    async def ready(self) -> None:
        """Nothing to check."""

    async def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _wait(port: int, *, servers: int) -> None:
    """Wait until all server processes listen: each connection goes to a random one of those that do."""
    deadline, good = time.monotonic() + 30, 0
    while good < 8 * servers:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                good += 1
        except OSError:
            good = 0
        time.sleep(0.1)
        if time.monotonic() > deadline:
            raise SystemExit("the fake server did not start within 30 s")
