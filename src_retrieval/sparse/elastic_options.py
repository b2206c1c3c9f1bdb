"""The settings of an Elasticsearch server and of the index on it, and Elastic's client made from them."""

from __future__ import annotations

import os
import re
from typing import Any, ClassVar

from src_core.access_token import read_token
from src_core.config import Count, InFlight, Positive, Seconds, config_class
from src_core.errors import UserError
from src_core.http_json import RetryPolicy
from src_core.server_url import server_url
from src_retrieval.sparse.elastic_product import ELASTICSEARCH, Product

INSTALL = "bash scripts/setup.sh requirements-elasticsearch.txt"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,199}")


@config_class
class ElasticOptions:
    """The server and the index on it. `host` empty: the address in ES_HOST, else this machine. Who asks is
    `user` with the password in ELASTICSEARCH_PASSWORD, or the key in ELASTICSEARCH_API_KEY, both from the
    environment; without either no name is sent. `ca_certs` is the certificate file of a server that signed
    its own. A build sends at most `bulk_passages` passages and `bulk_bytes` in a request, and `bulk_requests`
    of them at the same time; `shards` and `replicas` are those of a new index. `replace` deletes an index of
    the same name that was made from another corpus.
    """

    product: ClassVar[Product] = ELASTICSEARCH
    host: str = ""
    index: str = "wiki"
    user: str = "elastic"
    ca_certs: str = ""
    request_timeout: Seconds = 100.0
    shards: Positive = 1
    replicas: Count = 0
    bulk_passages: Positive = 500
    bulk_bytes: Positive = 10_000_000
    bulk_requests: InFlight = 4
    replace: bool = False
    retry: RetryPolicy = RetryPolicy()

    def checked_index(self) -> str:
        """The name of the index. Raises `UserError` for one that cannot be a name."""
        if not _NAME.fullmatch(self.index):  # also: no pattern, which would stand for several indexes
            raise UserError(
                f"{self.index!r:.100} is no name of an {self.product.title} index; use small letters, "
                "digits, '-', '_' and '.' in sparse_options.index"
            )
        return self.index

    def address(self) -> str:
        """The address of the server. Raises `UserError` for one that cannot be an address."""
        given = self.host or os.environ.get(self.product.host) or "http://127.0.0.1:9200"
        return server_url(given, secret=self.product.password)

    def connections(self) -> int:
        """Connections that are open at one time."""
        return max(10, self.bulk_requests)

    def client(self) -> Any:
        """Elastic's client. Its own retries are off: they do not wait."""
        from elasticsearch import Elasticsearch

        return Elasticsearch(
            _with_port(self.address()),
            request_timeout=self.request_timeout,
            max_retries=0,
            connections_per_node=self.connections(),
            **_credentials(self),
        )


def _with_port(host: str) -> str:
    """The client wants the port also where it is the usual one."""
    scheme, _, place = host.partition("://")
    name, slash, path = place.partition("/")
    if re.search(r":\d+$", name):
        return host
    return f"{scheme}://{name}:{443 if scheme == 'https' else 80}{slash}{path}"


def _credentials(options: ElasticOptions) -> dict[str, Any]:
    trusted = {"ca_certs": options.ca_certs} if options.ca_certs else {}
    key, password = read_token(options.product.key), read_token(options.product.password)
    if key:
        return {**trusted, "api_key": key}
    return {**trusted, "basic_auth": (options.user, password)} if password else trusted
