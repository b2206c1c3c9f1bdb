"""Qdrant as a store of vectors: a server by its address, or a folder that the client keeps itself (for some
thousands of vectors: it compares all of them, in Python).

The record beside the vectors is in the metadata of the collection (Qdrant 1.16 or newer).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from src_core.access_token import read_token
from src_core.config import config_class
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

URL, KEY = "QDRANT_URL", "QDRANT_API_KEY"
RECORD = "rearag"
INDEX_FROM = 10_000
"""Kilobytes of vectors in a segment from which Qdrant makes a graph (its own default)."""
LOOK_SECONDS = 1.0


@config_class
class QdrantSearch(GraphSearchOptions):
    """The section `searching`. `exact` compares all vectors."""

    exact: bool = False


class QdrantStore(VectorStore):
    """A collection of Qdrant."""

    title = "Qdrant"

    def __init__(self, options: StoreOptions, collection: str) -> None:
        try:
            from qdrant_client import QdrantClient, models
            from qdrant_client.common.client_exceptions import QdrantException
            from qdrant_client.http.exceptions import ApiException
        except ImportError as error:
            raise not_installed(self.title) from error
        address = address_of(options, URL, "http://127.0.0.1:6333")
        self._models, self._name, self._local = models, collection, "://" not in address
        place = address if self._local else server_url(address, secret=KEY)
        self.errors = StoreErrors(self.title, place, collection, URL, KEY)
        self._busy = QdrantException
        self.raised = (ApiException, QdrantException)
        seconds = max(1, round(options.request_timeout))
        if self._local:
            try:
                self._client = QdrantClient(path=place, force_disable_check_same_thread=True)
            except RuntimeError as error:
                raise UserError(
                    f"the folder {place} is used by another process; stop that one, or start a Qdrant server "
                    f"and set {URL}"
                ) from error
            return
        self._client = QdrantClient(
            url=place, api_key=read_token(KEY), timeout=seconds, check_compatibility=False
        )

    @override
    def explain(self, error: Exception) -> IndexServerError:
        """See `VectorStore.explain`."""
        status = getattr(error, "status_code", None)
        if isinstance(error, self._busy):  # what the client makes of 429 with the header Retry-After
            return self.errors.says(f"HTTP 429: {error}", again=True)
        if status is None:
            return self.errors.unreachable(str(error))
        if status in (401, 403):
            return self.errors.not_let_in(str(getattr(error, "reason_phrase", "")))
        said = getattr(error, "content", b"")
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        return self.errors.says(f"HTTP {status}: {words}", again=status >= 500 or status in (408, 429))

    @override
    def version(self) -> str:
        """See `VectorStore.version`."""
        if self._local:
            from importlib.metadata import version

            return f"qdrant-client {version('qdrant-client')}"
        return f"Qdrant {self._client.info().version}"

    @override
    def count(self) -> int | None:
        """See `VectorStore.count`."""
        if not self._client.collection_exists(self._name):
            return None
        return int(self._client.count(self._name, exact=True).count)

    @override
    def manifest(self) -> str | None:
        """See `VectorStore.manifest`."""
        if not self._client.collection_exists(self._name):
            return None
        metadata = self._client.get_collection(self._name).config.metadata or {}
        found = metadata.get(RECORD)
        return found if isinstance(found, str) else None

    @override
    def create(self, dim: int, manifest: str, shape: GraphOptions) -> None:
        """See `VectorStore.create`. No graph is made while the collection is filled."""
        models = self._models
        if self._client.collection_exists(self._name):  # of an attempt whose answer did not arrive
            return
        graph = shape.index is Search.HNSW
        self._client.create_collection(
            self._name,
            vectors_config=models.VectorParams(size=dim, distance=models.Distance.DOT),
            hnsw_config=models.HnswConfigDiff(
                m=shape.hnsw_m if graph else 0, ef_construct=max(4, shape.hnsw_ef_construction)
            ),
            optimizers_config=models.OptimizersConfigDiff(indexing_threshold=0),
            metadata={RECORD: manifest},
        )
        if self.manifest() is None:
            self.drop()
            raise self.errors.says("it keeps no metadata of collections; Qdrant 1.16 or newer is needed")

    @override
    def write_manifest(self, text: str) -> None:
        """See `VectorStore.write_manifest`."""
        self._client.update_collection(self._name, metadata={RECORD: text})

    @override
    def drop(self) -> None:
        """See `VectorStore.drop`."""
        if self._client.collection_exists(self._name):
            self._client.delete_collection(self._name)

    @override
    def add(self, start: int, ids: Sequence[str], vectors: FloatArray) -> None:
        """See `VectorStore.add`."""
        batch = self._models.Batch(
            ids=list(range(start, start + len(ids))),
            vectors=vectors.tolist(),
            payloads=[{"passage": name} for name in ids],
        )
        self._client.upsert(self._name, points=batch, wait=True)

    @override
    def finish(self, shape: GraphOptions) -> None:
        """See `VectorStore.finish`. Small collections get no graph, and are searched exactly."""
        if self._local:
            return
        models = self._models
        self._client.update_collection(
            self._name, optimizers_config=models.OptimizersConfigDiff(indexing_threshold=INDEX_FROM)
        )
        while True:
            time.sleep(LOOK_SECONDS)  # also before the first look: the change takes a moment to begin
            found = self._client.get_collection(self._name)
            if found.status == models.CollectionStatus.RED:
                raise self.errors.says(f"its optimizer failed: {found.optimizer_status}")
            if found.status == models.CollectionStatus.GREEN:
                return

    @override
    def search(
        self, vectors: FloatArray, k: int, searching: QdrantSearch, among: Sequence[int] | None = None
    ) -> list[list[tuple[int, float]]]:
        """See `VectorStore.search`."""
        models = self._models
        exact = searching.exact or among is not None
        only = None if among is None else models.Filter(must=[models.HasIdCondition(has_id=list(among))])
        requests = [
            models.QueryRequest(
                query=vector,
                limit=k,
                filter=only,
                params=models.SearchParams(exact=exact, hnsw_ef=max(k, searching.hnsw_ef)),
            )
            for vector in vectors.tolist()
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the client warns that a folder is always searched exactly
            replies = self._client.query_batch_points(self._name, requests=requests)
        return [[(int(point.id), float(point.score)) for point in reply.points] for reply in replies]

    @override
    def close(self) -> None:
        """See `VectorStore.close`."""
        self._client.close()


class QdrantBackend(StoreBackend):
    """Collections of Qdrant."""

    kinds = ("qdrant",)
    build_options = GraphOptions
    search_options = QdrantSearch

    @override
    def connect(self, options: Any, collection: str) -> VectorStore:
        """See `StoreBackend.connect`."""
        return QdrantStore(options, collection)


BACKEND = QdrantBackend()
