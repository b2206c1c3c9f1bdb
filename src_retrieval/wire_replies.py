"""Replies of the search server, written as bytes from the corpus's own rows: the other half of `wire.py`."""

from __future__ import annotations

import orjson

from src_core.http_server import RequestError
from src_retrieval.corpus import Corpus
from src_retrieval.results import Ranked
from src_retrieval.wire import SearchRequest


class Documents:
    """The passages of one reply, of at most `most` bytes. Raises `RequestError` (422) for more."""

    def __init__(self, corpus: Corpus, most: int) -> None:
        self._corpus = corpus
        self._most = most
        self._left = most

    def row(self, number: int) -> bytes:
        """Row `number` as the wire object `{"id", "contents"}`."""
        document = self._corpus.document(number)
        self._left -= len(document)
        if self._left < 0:
            detail = (
                f"the passages have more than {self._most} bytes; ask for fewer passages or queries at once"
            )
            raise RequestError(422, "reply too large", detail)
        return document

    def by_id(self, row_id: str) -> bytes:
        """The passage with this id. Raises `RequestError` (404) for an id that the corpus lacks."""
        row = self._corpus.row_of(row_id)
        if row is None:
            detail = f"the corpus has no passage with the id {row_id[:200]!r}; use one that /search returned"
            raise RequestError(404, "unknown id", detail)
        return self.row(row)


def write_search(documents: Documents, wanted: SearchRequest, results: list[list[Ranked]]) -> bytes:
    """`[document, …]` or `[[document, …], [score, …]]`."""
    rows = _documents(documents, wanted, results[0])
    return b"[%b,%b]" % (rows, _scores(results[0])) if wanted.with_scores else rows


def write_batch(documents: Documents, wanted: SearchRequest, results: list[list[Ranked]]) -> bytes:
    """`[[document, …], …]`, or a pair of this list and the scores in the same nesting."""
    rows = b"[%b]" % b",".join(_documents(documents, wanted, row) for row in results)
    if not wanted.with_scores:
        return rows
    return b"[%b,[%b]]" % (rows, b",".join(_scores(row) for row in results))


def write_retrieve(documents: Documents, wanted: SearchRequest, results: list[list[Ranked]]) -> bytes:
    """`{"result": [[{"document", "score"}, …], …]}`; bare documents without scores."""
    if not wanted.with_scores:
        return b'{"result":[%b]}' % b",".join(_documents(documents, wanted, row) for row in results)
    rows = (
        b",".join(
            b'{"document":%b,"score":%b}' % (_document(documents, wanted, result), orjson.dumps(result.score))
            for result in row
        )
        for row in results
    )
    return b'{"result":[%b]}' % b",".join(b"[%b]" % row for row in rows)


def _documents(documents: Documents, wanted: SearchRequest, results: list[Ranked]) -> bytes:
    return b"[%b]" % b",".join(_document(documents, wanted, result) for result in results)


def _document(documents: Documents, wanted: SearchRequest, result: Ranked) -> bytes:
    """The row as in the corpus; with its named scores where scores were requested."""
    row = documents.row(result.row)
    if not wanted.with_scores:
        return row
    return b'%b,"scores":%b}' % (row.rstrip().removesuffix(b"}"), orjson.dumps(result.scores()))


def _scores(results: list[Ranked]) -> bytes:
    return orjson.dumps([result.score for result in results])
