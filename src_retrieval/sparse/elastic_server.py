"""One index on an Elasticsearch server, through Elastic's own client (8 or 9), or on an OpenSearch server.

A client names its major version in each request; servers of that version and of the next one answer, so that
client 8 serves both 8 and 9.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from src_core.errors import IndexServerError, UserError
from src_retrieval.index_server import Repeated
from src_retrieval.sparse.elastic_errors import ElasticErrors
from src_retrieval.sparse.elastic_options import INSTALL, ElasticOptions

T = TypeVar("T")

FIELDS = ("title", "txt")
ANALYZER = "english"
SHARD_SECONDS = 30
"""Within which a new index has to have its primary shards."""
_CUSTOM = ("analysis", "similarity")
"""Settings of an index that could give `english` or BM25 another meaning."""
_SEARCHED = ("error", "status", "timed_out", "_shards.failed", "hits.hits._id", "hits.hits._score")


class IndexState(NamedTuple):
    """An index as the server describes it: an id that a new index of the same name does not share, what is
    wrong with its mapping ("": nothing), the number of its documents, and what a build wrote into `_meta`.
    """

    uuid: str
    fault: str
    documents: int
    meta: Mapping[str, Any]


class Hit(NamedTuple):
    """One result: the id of a document, and its score."""

    id: str
    score: float


class ElasticServer:
    """The calls that builds and searches need, all for one index; safe for several threads. Each raises
    `IndexServerError`, after retries where one may help.
    """

    def __init__(self, options: ElasticOptions) -> None:
        """Raises `UserError` for settings that cannot be right, and where the client is not installed."""
        try:
            import elasticsearch
        except ImportError as error:
            raise UserError(
                f"the client of {options.product.title} is not installed; install it: {INSTALL}"
            ) from error
        self.product = options.product
        self.index, self.host = options.checked_index(), options.address()
        self._repeated = Repeated(options.retry)
        self._raised = (elasticsearch.ApiError, elasticsearch.TransportError)
        self._errors = ElasticErrors(self.product, self.host, self.index, elasticsearch.__version__[0])
        logging.getLogger("elastic_transport").setLevel(logging.ERROR)  # our sentences say the same
        self._client = options.client()

    def give_up(self) -> None:
        """Calls of other threads are not repeated any more: they end with the error that they have."""
        self._repeated.give_up()

    def version(self) -> str:
        """The version of the server, which has to be `Product.oldest` or newer."""
        number = self._retried(lambda: str(self._client.info()["version"]["number"]))
        oldest = self.product.oldest
        if not number.partition(".")[0].isdecimal() or int(number.partition(".")[0]) < oldest:
            raise self._errors.says(f"version {number:.20}; {oldest} or newer is needed")
        return number

    def state(self) -> IndexState | None:
        """The index as it is now, with all documents that were accepted; None where there is none."""

        def ask() -> IndexState:
            found = self._client.indices.get(index=self.index)
            self._client.indices.refresh(index=self.index)
            count = int(self._client.count(index=self.index)["count"])
            if len(found) != 1:
                raise self._errors.says("an alias of several indexes; name one of them")
            (facts,) = found.values()
            settings, mappings = facts["settings"]["index"], facts["mappings"]
            return IndexState(
                str(settings["uuid"]), _fault(mappings, settings), count, dict(mappings.get("_meta", {}))
            )

        try:
            return self._retried(ask)
        except IndexServerError as error:
            if error.status == 404:
                return None
            raise

    def uuid(self) -> str:
        """`IndexState.uuid` alone."""

        def ask() -> str:
            found = self._client.indices.get_settings(index=self.index, filter_path="*.settings.index.uuid")
            return ",".join(str(facts["settings"]["index"]["uuid"]) for facts in found.values())

        return self._retried(ask)

    def create(self, meta: Mapping[str, Any], *, shards: int, replicas: int) -> None:
        """Make the index, without refreshes while it is filled. Fields that it does not know are refused."""
        fields = {name: {"type": "text", "analyzer": ANALYZER} for name in FIELDS}
        mappings = {"_meta": dict(meta), "dynamic": "strict", "properties": fields}
        settings = {"number_of_shards": shards, "number_of_replicas": replicas, "refresh_interval": "-1"}
        self._once(
            lambda: self._client.indices.create(index=self.index, mappings=mappings, settings=settings)
        )
        if not self._has_shards():
            raise IndexServerError(
                f"{self.host} finds no disk for the index {self.index}: most often the disk is fuller than "
                f"its low watermark; free space there ({self.host}/_cluster/allocation/explain says more)"
            )

    def _has_shards(self) -> bool:
        seconds = f"{SHARD_SECONDS}s"
        try:
            return self._once(
                lambda: (
                    not self._client.cluster.health(
                        index=self.index, wait_for_status="yellow", timeout=seconds
                    )["timed_out"]
                )
            )
        except IndexServerError as error:
            if error.status == 408:  # how newer servers say `timed_out`
                return False
            raise

    def delete(self) -> None:
        """Delete the index."""
        self._once(lambda: self._client.indices.delete(index=self.index))

    def write_meta(self, meta: Mapping[str, Any]) -> None:
        """Replace `_meta`."""
        self._retried(lambda: self._client.indices.put_mapping(index=self.index, meta=dict(meta)))

    def refresh_again(self) -> None:
        """Let the server refresh the index by itself, as it does by default."""
        settings = {"index": {"refresh_interval": None}}
        self._retried(lambda: self._client.indices.put_settings(index=self.index, settings=settings))

    def add(self, documents: Mapping[str, Mapping[str, str]]) -> None:
        """Add documents by their ids. One whose id is there already stays as it is: a version that was
        replaced would count in the word statistics until the server merges it away.
        """
        waiting = dict(documents)

        def send() -> None:
            pairs = [({"create": {"_id": name}}, document) for name, document in waiting.items()]
            reply = self._client.bulk(
                index=self.index,
                operations=[part for pair in pairs for part in pair],
                filter_path="errors,items.*.error,items.*.status,items.*._id",
            )
            items = [next(iter(item.values())) for item in reply["items"]]
            if len(items) != len(pairs):
                raise ValueError(f"{len(items)} items for {len(pairs)} documents")
            refused = [self._refusal(item) for item in items if not self._has_arrived(item, waiting)]
            if refused:
                raise next((error for error in refused if not error.retryable), refused[0])

        self._retried(send)

    def _has_arrived(self, item: Mapping[str, Any], waiting: dict[str, Mapping[str, str]]) -> bool:
        """Whether the document of a bulk item is in the index, which ends its wait; 409: it was before."""
        arrived = "error" not in item or item["status"] == 409
        if arrived:
            waiting.pop(item["_id"], None)
        return arrived

    def _refusal(self, item: Mapping[str, Any]) -> IndexServerError:
        name = str(item.get("_id"))
        return self._errors.of_reply(int(item["status"]), item["error"], f"the passage {name!r:.100}: ")

    def search(self, queries: Sequence[Mapping[str, Any]], header: Mapping[str, Any]) -> list[list[Hit]]:
        """The results of each query, by one `msearch`. An answer of a part of the index is an error."""

        def send() -> list[list[Hit]]:
            reply = self._client.msearch(
                index=self.index,
                searches=[part for query in queries for part in (header, query)],
                filter_path=",".join(f"responses.{name}" for name in _SEARCHED),
            )
            if len(reply["responses"]) != len(queries):
                raise ValueError(f"{len(reply['responses'])} responses to {len(queries)} queries")
            return [self._hits(response) for response in reply["responses"]]

        return self._retried(send)

    def _hits(self, response: Mapping[str, Any]) -> list[Hit]:
        if "error" in response:
            raise self._errors.of_reply(int(response.get("status", 500)), response["error"], "a query: ")
        if response["timed_out"] or response["_shards"]["failed"]:
            raise self._errors.says("only a part of the index answered", again=True)
        hits = [Hit(hit["_id"], float(hit["_score"])) for hit in response.get("hits", {}).get("hits", [])]
        if not all(isinstance(hit.id, str) and math.isfinite(hit.score) for hit in hits):
            raise ValueError("a hit without id and score")
        return hits

    def _retried(self, call: Callable[[], T]) -> T:
        return self._repeated(lambda: self._once(call))

    def _once(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except self._raised as error:
            raise self._errors.of_client(error) from error
        except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
            form = f"an answer in another form than that of {self.product.title} ({error!r:.100})"
            raise self._errors.says(form) from error


def _fault(mappings: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """In what an index is not one that `ElasticServer.create` makes; "" for nothing."""
    found = mappings.get("properties", {})
    for name in FIELDS:
        if found.get(name) != {"type": "text", "analyzer": ANALYZER}:
            return f"the mapping of {name} is {found.get(name)!r:.200}"
    own = next((name for name in _CUSTOM if name in settings), None)
    return f"its settings have a section {own}" if own else ""
