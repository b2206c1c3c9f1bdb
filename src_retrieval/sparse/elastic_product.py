"""Elasticsearch and its fork OpenSearch, two servers with one API: how sentences and settings name them."""

from __future__ import annotations

from typing import NamedTuple


class Product(NamedTuple):
    """`kind` is the value of `type:`. `host`, `password` and `key` are the variables of the environment with
    the address, the password of the user and the API key ("": it has none); `oldest` is the first version
    that is served.
    """

    title: str
    kind: str
    host: str
    password: str
    key: str
    oldest: int

    @property
    def secrets(self) -> str:
        """The variables that let somebody in, for a sentence."""
        return f"{self.password} (of sparse_options.user)" + (f" or {self.key}" if self.key else "")


ELASTICSEARCH = Product(
    "Elasticsearch", "elasticsearch", "ES_HOST", "ELASTICSEARCH_PASSWORD", "ELASTICSEARCH_API_KEY", 8
)
OPENSEARCH = Product("OpenSearch", "opensearch", "OPENSEARCH_URL", "OPENSEARCH_PASSWORD", "", 1)
