"""What an Elasticsearch or OpenSearch server or its client says, as one sentence with what to do."""

from __future__ import annotations

import re
from typing import Any

from src_core.errors import IndexServerError
from src_core.http_exchange import RETRY_STATUSES
from src_core.wire_json import words_in
from src_retrieval.sparse.elastic_product import Product

MOST_WORDS = 300
_DISK = ("flood-stage", "read-only-allow-delete", "read-only / allow delete")
"""Words of the block that the server sets when its disk is nearly full."""
_ERRNO = re.compile(r"\[Errno -?\d+\] ([\w ]+)")


class ElasticErrors:
    """Makes the errors of one index on one server. `client` is the major version of the client."""

    def __init__(self, product: Product, host: str, index: str, client: int) -> None:
        self._product, self._host, self._index, self._client = product, host, index, client

    def says(self, words: str, *, again: bool = False, status: int = 0) -> IndexServerError:
        """An error in the server's own words."""
        text = f"{self._product.title} at {self._host}, index {self._index}: {words}"
        return IndexServerError(text, retryable=again, status=status)

    def of_client(self, error: Any) -> IndexServerError:
        """An exception of the client."""
        status = getattr(getattr(error, "meta", None), "status", 0)
        if not status:
            return self._unreachable(" ".join(str(error.message).split())[:MOST_WORDS])
        if type(error).__name__ == "UnsupportedProductError":
            return IndexServerError(
                f"{self._host} is not Elasticsearch, or a proxy removes its header X-Elastic-Product; "
                "correct sparse_options.host, or use type=opensearch where it is OpenSearch",
                status=status,
            )
        body = error.body
        return self.of_reply(status, body.get("error") if isinstance(body, dict) else body)

    def of_reply(self, status: int, error: Any, what: str = "") -> IndexServerError:
        """An error object of a reply, or of a part of it; `what` names the part."""
        kind = str(error.get("type", "")) if isinstance(error, dict) else ""
        said = _reason(error)
        if kind == "media_type_header_exception" or status == 406:
            text = (
                f"client {self._client} of Elasticsearch does not speak to the server at {self._host}; "
                "install the client of the server's version (pip install 'elasticsearch>=8.15,<9' for 8), or "
                "use type=opensearch where it is OpenSearch"
            )
        elif status == 401 or kind == "security_exception":
            text = (
                f"{self._host} does not let us in ({said}); set {self._product.secrets}, of "
                f"somebody who may use the index {self._index}"
            )
        elif kind == "cluster_block_exception":
            text = self._blocked(said)
        else:
            again = status in RETRY_STATUSES or status >= 500
            return self.says(what + said, again=again, status=status)
        return IndexServerError(text, status=status)

    def _blocked(self, said: str) -> str:
        place = f"{self._product.title} at {self._host}"
        if any(words in said for words in _DISK):
            return (
                f"{place} refuses writes into {self._index}: its disk is fuller than the flood-stage "
                "watermark; free space there and run the same command again, which resumes"
            )
        return f"{place} refuses writes into {self._index} ({said}); remove that block"

    def _unreachable(self, said: str) -> IndexServerError:
        if "certificate" in said.lower():
            return IndexServerError(
                f"the certificate of {self._host} is not trusted ({said}); set sparse_options.ca_certs to "
                "the server's http_ca.crt"
            )
        short = _ERRNO.search(said)
        place = f"{self._host} ({short[1].strip() if short else said})"
        return IndexServerError(
            f"no answer from {self._product.title} at {place}; start it, or correct {self._product.host} or "
            "sparse_options.host",
            retryable=True,
        )


def _reason(error: Any) -> str:
    """The reason at the root: above it stands only that all shards failed."""
    roots = error.get("root_cause") if isinstance(error, dict) else None
    found = words_in(roots[0] if isinstance(roots, list) and roots else error) or "no reason given"
    return " ".join(found.split())[:MOST_WORDS]
