"""Which halves of an interrupted build are finished: a vector index that took an hour is not built again
because the word index after it was interrupted.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson

from src_core.jsonl import write_atomic
from src_retrieval.build_plan import Plan, Vectors, Words
from src_retrieval.layout import IndexLayout
from src_retrieval.sparse import sparse_backend, sparse_kinds
from src_retrieval.vector import vector_backend, vector_kinds

VECTORS, WORDS = "vectors", "words"


class Halves:
    """What the halves in `layout` are made from, and which of them are finished, in a file."""

    def __init__(self, plan: Plan, layout: IndexLayout, corpus_sha256: str) -> None:
        self._layout = layout
        self._wanted: dict[str, dict[str, Any]] = {}
        if plan.vectors is not None:
            own = plan.vectors
            encoder = dataclasses.asdict(own.encoder.identity)
            self._wanted[VECTORS] = {
                "encoder": encoder,
                "half": plan.half,
                "vectors": plan.vectors_mark,
                "version": own.backend.version(),
            }
            self._wanted[VECTORS] |= _facts(own, corpus_sha256)
        if plan.words is not None:
            words = plan.words
            self._wanted[WORDS] = {"version": words.backend.version(words.settings)}
            self._wanted[WORDS] |= _facts(words, corpus_sha256)
        self._record = self._read()
        self._clear()

    def finished(self, half: str) -> bool:
        """Whether an earlier build has finished this half, from the same corpus by the same settings."""
        return bool(self._same(half) and self._record[half].get("finished"))

    def finish(self, half: str) -> None:
        """This half is finished."""
        self._record[half]["finished"] = True
        self._write()

    def _clear(self) -> None:
        """Remove what is of no use for this build. Half a word index of the same passages is completed; a
        vector index is not.
        """
        for half, left in self._record.items():
            if not self._same(half):
                _remove(self._layout, half, str(left.get("kind")))
        for half, wanted in self._wanted.items():
            if not self.finished(half) and not (half == WORDS and self._same(half)):
                _remove(self._layout, half, wanted["kind"])
        self._record = {
            half: {**facts, "finished": self.finished(half)} for half, facts in self._wanted.items()
        }
        self._write()

    def _same(self, half: str) -> bool:
        left = {key: value for key, value in self._record.get(half, {}).items() if key != "finished"}
        return left == self._wanted.get(half)

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            found = orjson.loads(self._layout.halves.read_bytes())
        except (OSError, ValueError):
            return {}
        ours = isinstance(found, dict) and all(isinstance(facts, dict) for facts in found.values())
        return found if ours else {}

    def _write(self) -> None:
        write_atomic(self._layout.halves, orjson.dumps(self._record))


def _facts(half: Vectors | Words, corpus_sha256: str) -> dict[str, Any]:
    return {"kind": half.kind, "settings": half.settings, "corpus": corpus_sha256}


def _remove(layout: IndexLayout, half: str, kind: str) -> None:
    if half == VECTORS and kind in vector_kinds():
        vector_backend(kind).remove(layout)
    elif half == WORDS and kind in sparse_kinds():
        sparse_backend(kind).remove(layout)
