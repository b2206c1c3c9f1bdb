"""The calls of Elastic's client that `elastic_server.py` makes, for OpenSearch.

Elastic's client refuses a server that does not call itself Elasticsearch, and names media types that
OpenSearch does not know. Both share the paths and the JSON of Elasticsearch 7.10, so these are sent as they
are, through the transport that Elastic's client has (`elastic_transport`), with its errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

JSON, ROWS = "application/json", "application/x-ndjson"
Ask = Callable[..., Any]


class _Indices(NamedTuple):
    """`client.indices`."""

    ask: Ask

    def get(self, *, index: str) -> Any:
        return self.ask("GET", index)

    def get_settings(self, *, index: str, filter_path: str) -> Any:
        return self.ask("GET", f"{index}/_settings", filter_path=filter_path)

    def refresh(self, *, index: str) -> Any:
        return self.ask("POST", f"{index}/_refresh")

    def create(self, *, index: str, mappings: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
        return self.ask("PUT", index, {"mappings": mappings, "settings": settings})

    def delete(self, *, index: str) -> Any:
        return self.ask("DELETE", index)

    def put_mapping(self, *, index: str, meta: Mapping[str, Any]) -> Any:
        return self.ask("PUT", f"{index}/_mapping", {"_meta": meta})

    def put_settings(self, *, index: str, settings: Mapping[str, Any]) -> Any:
        return self.ask("PUT", f"{index}/_settings", settings)


class _Cluster(NamedTuple):
    """`client.cluster`."""

    ask: Ask

    def health(self, *, index: str, wait_for_status: str, timeout: str) -> Any:
        return self.ask("GET", f"_cluster/health/{index}", wait_for_status=wait_for_status, timeout=timeout)


class OpenSearchClient:
    """One server. `index` is a checked name of an index, which needs no escape in a path. Raises
    `elasticsearch.ApiError` for a reply that is an error, `elastic_transport.TransportError` for none.
    """

    def __init__(
        self,
        url: str,
        *,
        request_timeout: float,
        connections_per_node: int,
        login: tuple[str, str] | None = None,
        ca_certs: str = "",
    ) -> None:
        from elastic_transport import Transport
        from elastic_transport.client_utils import basic_auth_to_header, url_to_node_config

        node = url_to_node_config(url, use_default_ports_for_scheme=True).replace(
            request_timeout=request_timeout,
            connections_per_node=connections_per_node,
            **({"ca_certs": ca_certs} if ca_certs else {}),
        )
        self._login = {"authorization": basic_auth_to_header(login)} if login else {}
        self._transport = Transport([node], max_retries=0, meta_header=False)
        self.indices, self.cluster = _Indices(self._ask), _Cluster(self._ask)

    def info(self) -> Any:
        """Name and version of the server."""
        return self._ask("GET", "")

    def count(self, *, index: str) -> Any:
        """The number of documents."""
        return self._ask("GET", f"{index}/_count")

    def bulk(self, *, index: str, operations: Sequence[Any], filter_path: str) -> Any:
        """Several writes."""
        return self._ask("POST", f"{index}/_bulk", operations, filter_path=filter_path)

    def msearch(self, *, index: str, searches: Sequence[Any], filter_path: str) -> Any:
        """Several searches."""
        return self._ask("POST", f"{index}/_msearch", searches, filter_path=filter_path)

    def _ask(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        from elasticsearch import ApiError

        headers = {"accept": JSON, **self._login}
        if body is not None:
            headers["content-type"] = JSON if isinstance(body, Mapping) else ROWS
        target = f"/{path}" + (f"?{urlencode(query)}" if query else "")
        reply = self._transport.perform_request(method, target, headers=headers, body=body)
        if not 200 <= reply.meta.status < 300:
            raise ApiError(str(reply.meta.status), meta=reply.meta, body=reply.body)
        return reply.body
