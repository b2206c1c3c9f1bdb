"""LanceDB as a store of vectors: a folder of files, searched exactly (all vectors are compared).

The record beside the vectors is the only row of a table of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typing_extensions import override

from src_core.errors import IndexServerError, UserError
from src_retrieval.results import FloatArray
from src_retrieval.vector.store import (
    LoadOptions,
    StoreErrors,
    StoreOptions,
    VectorStore,
    address_of,
    not_installed,
)
from src_retrieval.vector.store_index import StoreBackend

FOLDER = "LANCEDB_FOLDER"


class LanceStore(VectorStore):
    """A table of LanceDB, and one more with its record."""

    title = "LanceDB"

    def __init__(self, options: StoreOptions, collection: str) -> None:
        try:
            import lancedb
            import pyarrow
        except ImportError as error:
            raise not_installed(self.title) from error
        folder = address_of(options, FOLDER, "")
        if not folder or "://" in folder:
            raise UserError(f"no folder is named for LanceDB; set {FOLDER} or the setting address to one")
        self._folder = Path(folder)
        self._arrow, self._name, self._record = pyarrow, collection, f"{collection}_record"
        self._database = lancedb.connect(folder)
        self.errors = StoreErrors(self.title, folder, collection, FOLDER, "nothing")
        self.raised = (OSError, RuntimeError)

    @override
    def explain(self, error: Exception) -> IndexServerError:
        """See `VectorStore.explain`."""
        return self.errors.says(str(error))

    @override
    def version(self) -> str:
        """See `VectorStore.version`."""
        from importlib.metadata import version

        return f"LanceDB {version('lancedb')}"

    @override
    def count(self) -> int | None:
        """See `VectorStore.count`."""
        return int(self._table(self._name).count_rows()) if self._has(self._name) else None

    @override
    def manifest(self) -> str | None:
        """See `VectorStore.manifest`."""
        if not self._has(self._record):
            return None
        found = self._table(self._record).to_arrow()["text"].to_pylist()
        return str(found[0]) if found else None

    @override
    def create(self, dim: int, manifest: str, shape: LoadOptions) -> None:
        """See `VectorStore.create`."""
        arrow = self._arrow
        self.write_manifest(manifest)
        vector = arrow.list_(arrow.float32(), dim)
        schema = arrow.schema([("id", arrow.int64()), ("passage", arrow.string()), ("vector", vector)])
        self._make(self._name, schema=schema)

    @override
    def write_manifest(self, text: str) -> None:
        """See `VectorStore.write_manifest`."""
        self._make(self._record, data=self._arrow.table({"text": [text]}))

    @override
    def drop(self) -> None:
        """See `VectorStore.drop`."""
        for name in (self._name, self._record):
            if self._has(name):
                self._database.drop_table(name)

    @override
    def add(self, start: int, ids: Sequence[str], vectors: FloatArray) -> None:
        """See `VectorStore.add`."""
        arrow, table = self._arrow, self._table(self._name)
        rows = arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.ravel()), vectors.shape[1])
        keys = arrow.array(range(start, start + len(ids)), arrow.int64())
        table.delete(f"id >= {int(start)}")
        table.add(arrow.table({"id": keys, "passage": list(ids), "vector": rows}))

    @override
    def finish(self, shape: LoadOptions) -> None:
        """See `VectorStore.finish`: the many small files of the build become few."""
        self._table(self._name).optimize()

    @override
    def search(
        self, vectors: FloatArray, k: int, searching: Any, among: Sequence[int] | None = None
    ) -> list[list[tuple[int, float]]]:
        """See `VectorStore.search`."""
        query = self._table(self._name).search(vectors, vector_column_name="vector").distance_type("dot")
        if among is not None:
            query = query.where(f"id IN ({','.join(str(int(row)) for row in among)})", prefilter=True)
        rows = query.select(["id", "_distance"]).limit(k).to_arrow().to_pydict()
        found: list[list[tuple[int, float]]] = [[] for _ in vectors]
        numbers = rows.get("query_index", [0] * len(rows["id"]))
        for number, row, distance in zip(numbers, rows["id"], rows["_distance"], strict=True):
            found[number].append((row, 1.0 - distance))  # its distance is 1 minus the inner product
        return found

    @override
    def close(self) -> None:
        """See `VectorStore.close`: nothing is held."""

    def _has(self, name: str) -> bool:
        return (self._folder / f"{name}.lance").is_dir()  # a list of tables comes in pages

    def _make(self, name: str, **content: Any) -> None:
        """A new table, in the place of one of that name (where none is, LanceDB warns of `overwrite`)."""
        self._database.create_table(name, **content, mode="overwrite" if self._has(name) else "create")

    def _table(self, name: str) -> Any:
        return self._database.open_table(name)


class LanceBackend(StoreBackend):
    """Tables of LanceDB."""

    kinds = ("lancedb",)
    build_options = LoadOptions
    search_options = StoreOptions

    @override
    def connect(self, options: Any, collection: str) -> VectorStore:
        """See `StoreBackend.connect`."""
        return LanceStore(options, collection)


BACKEND = LanceBackend()
