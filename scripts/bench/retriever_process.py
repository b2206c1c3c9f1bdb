"""The real retriever server as a process of its own, on a free port."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RetrieverProcess:
    """A server that was started, and where it will answer."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def wait_ready(self) -> None:
        """Wait for /health; a server that ends first ends the benchmark."""
        while self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        raise RuntimeError(f"the server ended with {self.process.returncode}; see {self.log}")

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


def start_retriever(settings: Sequence[str], *, log: Path, before: Sequence[str] = ()) -> RetrieverProcess:
    """Start a server with `key=value` settings; its messages are added to `log`. `before` goes before its
    command.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*before, sys.executable, "-m", "src_retrieval.server", f"port={port}", *settings]
    with log.open("ab") as messages:
        process = subprocess.Popen(command, stderr=messages)
    return RetrieverProcess(process, f"http://127.0.0.1:{port}", log)
