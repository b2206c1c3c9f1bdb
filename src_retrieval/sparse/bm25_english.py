"""BM25 as Elasticsearch ranks: title and text as two fields with the analyser `english` (`english.py`), k1
1.2, b 0.75, and `best_fields` with a tie breaker (reference/deeprag.md, sections 3.2 and 3.3).

The index is one of `bm25_build.py` for each field. Scores have the factor k1 + 1 that Elasticsearch keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from src_core.progress import Steps
from src_core.types import title_of
from src_retrieval.results import Facts
from src_retrieval.sparse.base import Texts
from src_retrieval.sparse.bm25_build import Analysis, finish_fields
from src_retrieval.sparse.bm25_collect import RECORD, Divided, collect
from src_retrieval.sparse.english import EnglishWords

K1, B, TIE_BREAKER = 1.2, 0.75, 0.5
FIELDS = ("title", "text")


class Fields(NamedTuple):
    """A passage as it is indexed: a passage of one line has no title."""

    title: str
    text: str


def fields_of(contents: str) -> Fields:
    """The title, which is the first line of the wire text, and the rest."""
    title = title_of(contents)
    return Fields(title, contents.partition("\n")[2] if title else contents)


def settings() -> Facts:
    """What an index of this kind is built by, for its manifest."""
    return {"analyzer": "english", "k1": K1, "b": B, "tie_breaker": TIE_BREAKER}


def split(words: EnglishWords, texts: Sequence[str]) -> list[list[str]]:
    """The words of each passage; those of the title are marked, since they have postings of their own."""
    fields = (fields_of(text) for text in texts)
    return [[*("title " + word for word in words.words(title)), *words.words(text)] for title, text in fields]


def build_english(folder: Path, texts: Texts, count: int, steps: Steps) -> None:
    """Write the index of each field that has words into a folder of its own, reading the passages once; or
    complete one of the same passages whose build was interrupted.
    """
    words, record = EnglishWords(), folder / RECORD

    def divide(chunk: Sequence[str]) -> list[list[Divided]]:
        parts = [fields_of(text) for text in chunk]
        return [[_counted(words.words(text)) for text in own] for own in zip(*parts, strict=True)]

    fields = collect([folder / name for name in FIELDS], record, divide, texts, count, steps)
    finish_fields(fields, Analysis(K1, B, factor=K1 + 1, as_lucene=True), count, steps)
    record.unlink()


def _counted(words: list[str]) -> Divided:
    return Divided(words, len(words))
