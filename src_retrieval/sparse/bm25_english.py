"""BM25 as Elasticsearch ranks: title and text as two fields with the analyser `english` (`english.py`), k1
1.2, b 0.75, and `best_fields` with a tie breaker (reference/deeprag.md, sections 3.2 and 3.3).

The index is one of `bm25_build.py` for each field. Scores have the factor k1 + 1 that Elasticsearch keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from src_core.errors import UserError
from src_core.progress import Steps
from src_core.types import title_of
from src_retrieval.results import Facts
from src_retrieval.sparse.base import Texts
from src_retrieval.sparse.bm25_build import DOCS_PER_CHUNK, NO_WORD, Analysis, Bm25Builder, Divided
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
    """Write the index of each field that has words into a folder of its own, reading the passages once."""
    words = EnglishWords()

    def divide(parts: Sequence[str]) -> list[Divided]:
        found = map(words.words, parts)
        return [Divided(own, len(own)) for own in found]

    analysis = Analysis(divide, K1, B, factor=K1 + 1, as_lucene=True)
    builders = {name: Bm25Builder(folder / name, analysis) for name in FIELDS}
    with steps("passages split into words", total=count) as progress:
        for start in range(0, count, DOCS_PER_CHUNK):
            chunk = [fields_of(text) for text in texts(start, min(start + DOCS_PER_CHUNK, count))]
            builders["title"].add(start, [fields.title for fields in chunk])
            builders["text"].add(start, [fields.text for fields in chunk])
            progress.advance(len(chunk))
    total = sum(builder.postings for builder in builders.values())
    if not total:
        raise UserError(NO_WORD)
    with steps("word occurrences scored", total=total) as progress:
        for builder in builders.values():
            if builder.postings:
                builder.finish(count, progress)
            else:
                builder.discard()
