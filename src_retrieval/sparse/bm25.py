"""BM25 (Lucene's variant) in the file format of bm25s, built with flat memory (`bm25_build.py`) and searched
memory-mapped. `bm25s` defines files, words and scores.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
from typing_extensions import override

from src_core.config import config_class
from src_core.errors import UserError
from src_core.progress import Steps
from src_core.segment import segment, segmenter_version
from src_retrieval.corpus import Corpus
from src_retrieval.layout import IndexLayout, rebuild_hint
from src_retrieval.results import NOTHING, Facts, Hits
from src_retrieval.sparse.base import Built, SparseBackend, SparseIndex
from src_retrieval.sparse.bm25_build import PARAMS, VOCAB, build_bm25, disk_need, tokenise
from src_retrieval.sparse.bm25_english import FIELDS, TIE_BREAKER, build_english, settings, split
from src_retrieval.sparse.english import EnglishWords
from src_retrieval.sparse.english import version as english_version
from src_retrieval.sparse.postings import Postings, best_rows

PARTS = ("data", "indices", "indptr")


@config_class
class Bm25Options:
    """`words` are those of bm25s, with k1 1.5; `english` ranks as Elasticsearch does (`bm25_english.py`).
    None: `words` in a build; on a server, as the index was built.
    """

    analyzer: Literal["words", "english"] | None = None


class Bm25Index(SparseIndex):
    """A built BM25 index, its postings mapped. `english`: one with two fields."""

    def __init__(self, folder: Path, *, english: bool = False) -> None:
        names = [name for name in FIELDS if (folder / name).is_dir()] if english else ["."]
        if not names or not all((folder / name / PARAMS).is_file() for name in names):
            raise UserError(f"no BM25 index in {folder}; build it with type=bm25 or type=hybrid")
        fields = [_loaded(folder / name) for name in names]
        self._vocabularies: list[dict[str, int]] = [own.vocab_dict for own in fields]
        self._postings = [Postings(*(own.scores[name] for name in PARTS)) for own in fields]
        self._rows: int = fields[0].scores["num_docs"]
        self._divide = _english_words() if english else tokenise
        self.identity = {"kind": "bm25", "k1": fields[0].k1, "b": fields[0].b}
        if english:
            self.identity |= settings()

    def search(self, queries: Sequence[str], k: int) -> Hits:
        """The `k` best rows per query; rows that share no word with the query are left out."""
        k = min(k, self._rows)
        rows = np.full((len(queries), k), NOTHING, dtype=np.int64)
        scores = np.zeros((len(queries), k), dtype=np.float32)
        for at, words in enumerate(self._divide(queries)):
            query = [[own[word] for word in words if word in own] for own in self._vocabularies]
            best = best_rows(self._postings, query, k, rows=self._rows, tie_breaker=TIE_BREAKER)
            rows[at, : len(best.rows)], scores[at, : len(best.rows)] = best
        return Hits(rows, scores)


def _english_words() -> Callable[[Sequence[str]], list[list[str]]]:
    words = EnglishWords()
    return lambda texts: [words.words(text) for text in texts]


def _loaded(folder: Path) -> Any:
    import bm25s

    try:
        index = bm25s.BM25.load(str(folder), mmap=True)
        _require_whole(index)
    except (ValueError, KeyError, TypeError, EOFError, OSError) as error:
        raise UserError(
            f"the BM25 index in {folder} is damaged ({error}); build it again with overwrite=true"
        ) from error
    return index


def _require_whole(index: Any) -> None:
    """Raises ValueError unless the four files belong together."""
    data, indices, indptr = (index.scores[name] for name in ("data", "indices", "indptr"))
    if len(data) != len(indices) or int(indptr[-1]) != len(data) or len(indptr) != len(index.vocab_dict) + 1:
        raise ValueError("its files have different sizes")


class Bm25Backend(SparseBackend):
    """BM25 in the folder `bm25` of an index."""

    kinds = ("bm25",)
    options = Bm25Options

    @override
    def disk_need(self, corpus: Corpus, options: Any) -> int:
        """See `SparseBackend.disk_need`."""
        words = partial(split, EnglishWords()) if _is_english(self.settings(options)) else tokenise
        return disk_need(corpus.contents, len(corpus), words)

    @override
    def build(self, kind: str, layout: IndexLayout, corpus: Corpus, options: Any, steps: Steps) -> None:
        """See `SparseBackend.build`."""
        build = build_english if _is_english(self.settings(options)) else build_bm25
        build(layout.bm25, corpus.contents, len(corpus), steps)

    @override
    def open(self, kind: str, built: Built, options: Any) -> SparseIndex:
        """See `SparseBackend.open`."""
        if options.analyzer is not None and self.settings(options) != built.settings:
            raise UserError(
                f"the BM25 index in {built.layout.root} was not built with the analyzer {options.analyzer}; "
                f"rebuild it with {rebuild_hint(built.layout)} sparse_options.analyzer={options.analyzer}"
            )
        return Bm25Index(built.layout.bm25, english=_is_english(built.settings))

    @override
    def settings(self, options: Any) -> Facts:
        """See `SparseBackend.settings`; none for the analyser `words`, as in indexes from before there was
        a choice.
        """
        return settings() if options.analyzer == "english" else {}

    def remove(self, layout: IndexLayout) -> None:
        """See `SparseBackend.remove`."""
        shutil.rmtree(layout.bm25, ignore_errors=True)

    @override
    def version(self, settings: Facts) -> str:
        """Those of the analyser; the words of bm25s include those of text without spaces."""
        if _is_english(settings):
            return english_version()
        return f"bm25s words, {segmenter_version()}"

    @override
    def reads_unversioned(self, layout: IndexLayout) -> bool:
        """Where no word would be divided today, the same index would be built."""
        try:
            words = orjson.loads((layout.bm25 / VOCAB).read_bytes())
        except (OSError, ValueError):
            return True  # `open` reports it
        return not any(segment(word).words for word in words)


def _is_english(settings: Facts) -> bool:
    return settings.get("analyzer") == "english"


BACKEND = Bm25Backend()
