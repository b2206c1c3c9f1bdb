"""OpenSearch as a word index: the index, the query and the checks are those of `elastic.py`; another client
speaks to it (`opensearch_client.py`).
"""

from __future__ import annotations

from typing import Any, ClassVar

from typing_extensions import override

from src_core.access_token import read_token
from src_core.config import config_class
from src_retrieval.sparse.elastic import ElasticBackend
from src_retrieval.sparse.elastic_options import ElasticOptions
from src_retrieval.sparse.elastic_product import OPENSEARCH, Product
from src_retrieval.sparse.opensearch_client import OpenSearchClient


@config_class
class OpenSearchOptions(ElasticOptions):
    """`ElasticOptions` of an OpenSearch server: `host` empty is the address in OPENSEARCH_URL, and `user` has
    the password in OPENSEARCH_PASSWORD.
    """

    product: ClassVar[Product] = OPENSEARCH
    user: str = "admin"

    @override
    def client(self) -> Any:
        """See `ElasticOptions.client`."""
        password = read_token(self.product.password)
        return OpenSearchClient(
            self.address(),
            request_timeout=self.request_timeout,
            connections_per_node=self.connections(),
            login=(self.user, password) if password else None,
            ca_certs=self.ca_certs,
        )


class OpenSearchBackend(ElasticBackend):
    """An index on an OpenSearch server; the folder of the index holds its manifest alone."""

    kinds = ("opensearch",)
    options = OpenSearchOptions


BACKEND = OpenSearchBackend()
