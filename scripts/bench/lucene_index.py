"""A ranking by Lucene itself through JPype, as Elasticsearch asks for it: fields `title` and `txt`, analyser
`english`, `best_fields` with tie breaker 0.5, factor k1 + 1. Used by `words.py`, and to write
`tests/data/lucene.json`:

    apt-get download liblucene8-java && dpkg -x liblucene8-java_*.deb lucene && pip install jpype1
    python scripts/bench/lucene_index.py lucene tests/data/lucene.json         needs Java 11 or newer
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import orjson

from src_core.jsonl import read_jsonl
from src_retrieval.sparse.bm25_english import K1, TIE_BREAKER, fields_of

WORLD = Path("data/sample_world")
WORDS = (
    "The dogs' owner's house; John\u2019s cats, O'Neil's and the 1990s",
    "possibly nobly geology apology trekking revved hopping hoped hopefully relational conditional agreed",
    "U.S. 3.14 1,000,000 a.b:c don't x_y _z_ C++ ab12cd 12ab e-mail http://a.example/b?c=d",
    "\u0130stanbul Stra\u00dfe \u039f\u0394\u039f\u03a3 na\u00efve nai\u0308ve"
    " \u0424\u0451\u0434\u043e\u0440",
    "\u6771\u4eac\u30bf\u30ef\u30fc\u306f\u9ad8\u3044 \ud55c\uad6d\uc5b4 \u0e44\u0e17\u0e22 km\u00b2 \u216b",
    "to be or not to be that is the", "", "w" * 300,
)  # fmt: skip


class Lucene:
    """An index in memory of passages in wire form."""

    def __init__(self, jars: Path, passages: Sequence[str]) -> None:
        import jpype
        import jpype.imports

        if not jpype.isJVMStarted():
            jpype.startJVM("-Xmx2g", classpath=[str(path) for path in jars.rglob("lucene-*-8.7.0.jar")])
        self._class = jpype.JClass
        package = "org.apache.lucene"
        self._analyser = self._class(f"{package}.analysis.en.EnglishAnalyzer")()
        directory = self._class(f"{package}.store.ByteBuffersDirectory")()
        config = self._class(f"{package}.index.IndexWriterConfig")(self._analyser)
        writer = self._class(f"{package}.index.IndexWriter")(directory, config)
        text_field, no = (self._class(f"{package}.document.{name}") for name in ("TextField", "Field$Store"))
        for passage in passages:
            document = self._class(f"{package}.document.Document")()
            for name, text in zip(("title", "txt"), fields_of(passage), strict=True):
                document.add(text_field(name, text, no.NO))
            writer.addDocument(document)
        writer.forceMerge(1)
        writer.close()
        reader = self._class(f"{package}.index.DirectoryReader").open(directory)
        self._searcher = self._class(f"{package}.search.IndexSearcher")(reader)

    def words(self, text: str) -> list[str]:
        """The words of the analyser."""
        attribute = "org.apache.lucene.analysis.tokenattributes.CharTermAttribute"
        stream = self._analyser.tokenStream("txt", self._class("java.io.StringReader")(text))
        term = stream.addAttribute(self._class(attribute).class_)
        stream.reset()
        found = []
        while stream.incrementToken():
            found.append(str(term.toString()))
        stream.end()
        stream.close()
        return found

    def search(self, query: str, k: int) -> list[tuple[int, float]]:
        """The best rows with their scores."""
        found = self._searcher.search(self._query(query), k).scoreDocs
        return [(int(hit.doc), float(hit.score) * (K1 + 1)) for hit in found]

    def _query(self, query: str) -> Any:
        search = "org.apache.lucene.search"
        should = self._class(f"{search}.BooleanClause$Occur").SHOULD
        fields = self._class("java.util.ArrayList")()
        for name in ("title", "txt"):
            words = self._class(f"{search}.BooleanQuery$Builder")()
            for word in self.words(query):
                term = self._class("org.apache.lucene.index.Term")(name, word)
                words.add(self._class(f"{search}.TermQuery")(term), should)
            fields.add(words.build())
        return self._class(f"{search}.DisjunctionMaxQuery")(fields, float(TIE_BREAKER))


def main() -> None:
    """Write what Lucene gives for the sample world, for the tests."""
    jars, out = map(Path, sys.argv[1:3])
    passages = [str(row["contents"]) for row in read_jsonl(WORLD / "corpus.jsonl")]
    queries = [str(row["question"]) for row in read_jsonl(WORLD / "questions.jsonl")]
    lucene = Lucene(jars, passages)
    golden = {
        "words": {text: lucene.words(text) for text in WORDS},
        "rankings": {query: lucene.search(query, 10) for query in queries},
    }
    out.write_bytes(orjson.dumps(golden) + b"\n")


if __name__ == "__main__":
    main()
