"""Milvus as a store of vectors: a server by its address, or a file `NAME.db` that milvus-lite keeps.

The record beside the vectors is the only row of a collection of its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from src_core.access_token import read_token
from src_core.errors import IndexServerError, UserError
from src_core.server_url import server_url
from src_retrieval.results import FloatArray
from src_retrieval.vector.store import (
    GraphOptions,
    GraphSearchOptions,
    Search,
    StoreErrors,
    StoreOptions,
    VectorStore,
    address_of,
    not_installed,
)
from src_retrieval.vector.store_index import StoreBackend

URI, TOKEN = "MILVUS_URI", "MILVUS_TOKEN"
LONGEST = 65_535
"""Bytes of a text in Milvus."""
LOOK_SECONDS = 0.5
STRONG = "Strong"
"""A search sees all that was written before it."""
_AWAY = (
    "UNAVAILABLE",
    "illegal connection params",
    "Fail connecting",
    "DEADLINE_EXCEEDED",
    "timeout",
    "closed channel",
)
_RELEASED = 101
_LOGIN = ("auth check failure", "UNAUTHENTICATED", "PermissionDenied", "permission deny")


class MilvusStore(VectorStore):
    """A collection of Milvus, and one more with its record."""

    title = "Milvus"

    def __init__(self, options: StoreOptions, collection: str) -> None:
        try:
            from pymilvus import DataType, MilvusClient, MilvusException
        except ImportError as error:
            raise not_installed(self.title) from error
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # our sentences say the same
        address = address_of(options, URI, "http://127.0.0.1:19530")
        local = "://" not in address
        if local and not address.endswith(".db"):
            raise UserError(f"{address:.200} is no place of Milvus; name a server or a file that ends in .db")
        if local:
            _require_lite()
        self._place = address if local else server_url(address, secret=TOKEN)
        self.errors = StoreErrors(self.title, self._place, collection, URI, TOKEN)
        self.raised = (MilvusException, _grpc_error(), ConnectionError, TimeoutError)
        self._types, self._make, self._seconds = DataType, MilvusClient, options.request_timeout
        self._name, self._record = collection, f"{collection}_record"
        self._open: Any = None

    @override
    def explain(self, error: Exception) -> IndexServerError:
        """See `VectorStore.explain`."""
        said = str(getattr(error, "message", "") or error)
        if any(words in said for words in _LOGIN):
            return self.errors.not_let_in(said)
        code = getattr(error, "code", None)
        if code == _RELEASED:  # after a restart of milvus-lite: loaded again with the next connection
            self.close()
            return self.errors.says(said, again=True)
        if any(words in said for words in _AWAY) or isinstance(error, ConnectionError | TimeoutError):
            self.close()
            return self.errors.unreachable(said)
        return self.errors.says(f"{said} (code {code() if callable(code) else code})")

    @override
    def version(self) -> str:
        """See `VectorStore.version`."""
        return f"Milvus {self._client().get_server_version()}"

    @override
    def count(self) -> int | None:
        """See `VectorStore.count`."""
        if not self._client().has_collection(self._name):
            return None
        found = self._client().query(self._name, output_fields=["count(*)"], consistency_level=STRONG)
        return int(found[0]["count(*)"])

    @override
    def manifest(self) -> str | None:
        """See `VectorStore.manifest`."""
        if not self._client().has_collection(self._record):
            return None
        found = self._client().query(
            self._record, filter="id == 0", output_fields=["text"], consistency_level=STRONG
        )
        return str(found[0]["text"]) if found else None

    @override
    def create(self, dim: int, manifest: str, shape: GraphOptions) -> None:
        """See `VectorStore.create`."""
        client = self._client()
        if not client.has_collection(self._record):
            self._make_collection(self._record, "text", 2, {"index_type": "FLAT"})
        self.write_manifest(manifest)
        index: dict[str, Any] = {"index_type": "FLAT"}
        if shape.index is Search.HNSW:
            values = {"M": shape.hnsw_m, "efConstruction": shape.hnsw_ef_construction}
            index = {"index_type": "HNSW", "params": values}
        if not client.has_collection(self._name):
            self._make_collection(self._name, "passage", dim, index)

    @override
    def write_manifest(self, text: str) -> None:
        """See `VectorStore.write_manifest`."""
        row = {"id": 0, "text": text, "vector": [0.0, 1.0]}
        self._client().upsert(self._record, [row])

    @override
    def drop(self) -> None:
        """See `VectorStore.drop`."""
        for name in (self._name, self._record):
            if self._client().has_collection(name):
                self._client().drop_collection(name)

    @override
    def add(self, start: int, ids: Sequence[str], vectors: FloatArray) -> None:
        """See `VectorStore.add`."""
        rows = [
            {"id": start + at, "passage": name, "vector": vector}
            for at, (name, vector) in enumerate(zip(ids, vectors, strict=True))
        ]
        self._client().upsert(self._name, rows)

    @override
    def finish(self, shape: GraphOptions) -> None:
        """See `VectorStore.finish`."""
        client = self._client()
        client.flush(self._name)
        name = client.list_indexes(self._name)[0]
        while True:
            found = client.describe_index(self._name, name)
            if str(found.get("state")) == "Failed":
                raise self.errors.says(f"its index failed: {found.get('index_state_fail_reason')}")
            if str(found.get("state", "Finished")) == "Finished" and not int(
                found.get("pending_index_rows") or 0
            ):
                return
            time.sleep(LOOK_SECONDS)

    @override
    def search(
        self, vectors: FloatArray, k: int, searching: GraphSearchOptions, among: Sequence[int] | None = None
    ) -> list[list[tuple[int, float]]]:
        """See `VectorStore.search`."""
        replies = self._client().search(
            self._name,
            data=list(vectors),
            limit=k,
            filter="" if among is None else f"id in {[int(row) for row in among]}",
            search_params={"params": {"ef": max(k, searching.hnsw_ef)}},
            consistency_level=STRONG,
        )
        return [[(int(hit["id"]), float(hit["distance"])) for hit in reply] for reply in replies]

    @override
    def close(self) -> None:
        """See `VectorStore.close`."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _client(self) -> Any:
        """The open client, which connects when it is made."""
        if self._open is None:
            self._open = self._make(self._place, token=read_token(TOKEN) or "", timeout=self._seconds)
            for name in (self._name, self._record):
                if self._open.has_collection(name):
                    self._open.load_collection(name)
        return self._open

    def _make_collection(self, name: str, text: str, dim: int, index: dict[str, Any]) -> None:
        client, types = self._client(), self._types
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", types.INT64, is_primary=True)
        schema.add_field(text, types.VARCHAR, max_length=LONGEST)
        schema.add_field("vector", types.FLOAT_VECTOR, dim=dim)
        indexes = client.prepare_index_params()
        indexes.add_index("vector", metric_type="IP", **index)
        client.create_collection(name, schema=schema, index_params=indexes, consistency_level=STRONG)


def _require_lite() -> None:
    """Raises `UserError` where a file is asked for and milvus-lite is not installed."""
    try:
        import milvus_lite  # noqa: F401
    except ImportError as error:
        raise not_installed("Milvus for files (milvus-lite)") from error


def _grpc_error() -> type[Exception]:
    import grpc

    found: type[Exception] = grpc.RpcError
    return found


class MilvusBackend(StoreBackend):
    """Collections of Milvus."""

    kinds = ("milvus",)
    build_options = GraphOptions
    search_options = GraphSearchOptions

    @override
    def connect(self, options: Any, collection: str) -> VectorStore:
        """See `StoreBackend.connect`."""
        return MilvusStore(options, collection)


BACKEND = MilvusBackend()
