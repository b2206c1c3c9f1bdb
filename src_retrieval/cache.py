"""Answers of the retriever that were given before.

The server keeps them, not its callers: so all methods of an evaluation, the live page and data construction
share them while the server runs, and none outlives the index it came from.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence

from cachetools import LRUCache

from src_retrieval.results import Ranked

_Key = tuple[bytes, int]


class ResultCache:
    """The ranked rows of the latest queries, `capacity` rows in all (about 150 bytes each; 0: none). A
    query is kept as its hash, so that long ones need no more; the hash covers `identity`, which names
    index, encoder and reranker. Safe for concurrent use.
    """

    def __init__(self, capacity: int, identity: str) -> None:
        self._identity = identity.encode()
        self._rows: LRUCache[_Key, list[Ranked]] = LRUCache(capacity, getsizeof=lambda rows: len(rows) + 1)
        self._lock = threading.Lock()

    def through(
        self, search: Callable[[Sequence[str], int], list[list[Ranked]]], queries: Sequence[str], top_n: int
    ) -> tuple[list[list[Ranked]], int]:
        """The rows for each query, in order, and how many were found here; `search` gets the others."""
        keys = [(self._hash(query), top_n) for query in queries]
        with self._lock:
            known = [self._rows.get(key) for key in keys]
        missing = [at for at, rows in enumerate(known) if rows is None]
        if missing:
            answers = search([queries[at] for at in missing], top_n)
            self._keep({keys[at]: rows for at, rows in zip(missing, answers, strict=True)})
            for at, rows in zip(missing, answers, strict=True):
                known[at] = rows
        return [rows for rows in known if rows is not None], len(queries) - len(missing)

    def _keep(self, answers: dict[_Key, list[Ranked]]) -> None:
        with self._lock:
            for key, rows in answers.items():
                if len(rows) < self._rows.maxsize:
                    self._rows[key] = rows

    def _hash(self, query: str) -> bytes:
        text = self._identity + b"\0" + query.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=16).digest()
