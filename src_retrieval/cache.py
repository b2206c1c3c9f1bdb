"""A cache of the retriever's answers.

The cache is in the server, not in its clients: all methods of an evaluation, the live page and data
construction share it while the server runs, and no answer outlives its index.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence

from cachetools import LRUCache

from src_retrieval.results import Ranked

_Key = tuple[bytes, int, int | None]


class ResultCache:
    """The ranked rows of the latest queries, `capacity` rows in all (about 150 bytes each; 0: none). A query
    is stored as its hash, so that long queries need no more memory; the hash covers `identity`, which names
    index, encoder and reranker. Thread-safe.
    """

    def __init__(self, capacity: int, identity: str) -> None:
        self._identity = identity.encode()
        self._rows: LRUCache[_Key, list[Ranked]] = LRUCache(capacity, getsizeof=lambda rows: len(rows) + 1)
        self._lock = threading.Lock()

    def through(
        self,
        search: Callable[[Sequence[str]], list[list[Ranked]]],
        queries: Sequence[str],
        top_n: int,
        rerank_top_n: int | None = None,
    ) -> tuple[list[list[Ranked]], int]:
        """The rows for each query under these numbers, in order, and the number of cached ones; `search` gets
        the others.
        """
        keys = [(self._hash(query), top_n, rerank_top_n) for query in queries]
        with self._lock:
            known = [self._rows.get(key) for key in keys]
        missing = [at for at, rows in enumerate(known) if rows is None]
        if missing:
            answers = search([queries[at] for at in missing])
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
