# ruff: noqa: E501 - one shape per line
"""Corpora in the shapes that publishers and tools write: each is read with the expected ids, titles and texts, or
refused in one sentence with its file, place and reason. The index and the toy retriever agree on every one.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from backports import zstd
from pyarrow import parquet

from src_core.errors import UserError
from src_core.json_rows import MAX_DEPTH, MAX_ROW
from src_core.types import Passage
from src_retrieval.corpus import open_corpus
from src_retrieval.toy import ToyRetriever

Expected = list[tuple[str, str, str]]
A, B = ("a", "Oost", "A town by the sea."), ("b", "", "A lake.")
BOM = b"\xef\xbb\xbf"


def lines(*rows: Any, end: str = "\n") -> bytes:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + end for row in rows).encode()


def contents(row: tuple[str, str, str], **more: Any) -> dict[str, Any]:
    key, title, text = row
    return {"id": key, "contents": f"{title}\n{text}" if title else text, **more}


PLAIN = lines(contents(A), contents(B))
DPR = b'id\ttext\ttitle\na\t"A town by the sea."\tOost\nb\tA lake.\t\n'


def table(*rows: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), out)
    return out.getvalue()


def tar(name: str, body: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(body)
        archive.addfile(entry, io.BytesIO(body))
    return out.getvalue()


def zipped(name: str, body: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, body)
    return out.getvalue()


LONG = "velby " * 30_000
READ: dict[str, tuple[str, bytes, Expected]] = {
    "flashrag": ("c.jsonl", lines({"id": "a", "contents": '"Oost"\nA town by the sea.'}), [A]),
    "wiki18, with other keys": ("c.jsonl", lines(contents(A, wiki_rank=3), contents(B)), [A, B]),
    "title and text": ("c.jsonl", lines({"id": "a", "title": "Oost", "text": A[2]}), [A]),
    "beir": ("corpus.jsonl", lines({"_id": "a", "title": "Oost", "text": A[2], "metadata": {}}), [A]),
    "beir, without title": ("corpus.jsonl", lines({"_id": "b", "title": "", "text": B[2]}), [B]),
    "beir, title alone": ("corpus.jsonl", lines({"_id": "a", "title": "Oost", "text": ""}), [("a", "", "Oost")]),
    "pyserini": ("c.jsonl", lines({"docid": "b", "contents": B[2]}), [B]),
    "pyserini, title in contents": ("c.jsonl", lines({"docid": "a", "title": "Oost", "contents": "Oost\n" + A[2]}), [A]),
    "title beside contents": ("c.jsonl", lines({"id": "a", "title": "Oost", "contents": A[2]}), [A]),
    "title with quotes in contents": ("c.jsonl", lines({"id": "a", "title": "Oost", "contents": '"Oost"\n' + A[2]}), [A]),
    "title that begins the text": (
        "c.jsonl",
        lines({"id": "a", "title": "Oost", "contents": "Oost is a town."}),
        [("a", "Oost", "Oost is a town.")],
    ),
    "title null": ("c.jsonl", lines({"id": "b", "title": None, "text": B[2]}), [B]),
    "title a number": ("c.jsonl", lines({"id": "a", "title": 1984, "text": "A novel."}), [("a", "1984", "A novel.")]),
    "contents null beside text": ("c.jsonl", lines({"id": "b", "contents": None, "text": B[2]}), [B]),
    "ms marco passages": ("c.jsonl", lines({"pid": "b", "passage": B[2], "docid": "d1"}), [B]),
    "ms marco segments": ("c.jsonl", lines({"docid": "a", "title": "Oost", "segment": A[2], "start_char": 0}), [A]),
    "ms marco documents": ("c.jsonl", lines({"docid": "a", "url": "u", "title": "Oost", "body": A[2]}), [A]),
    "trec": ("c.jsonl", lines({"docno": "b", "text": B[2]}), [B]),
    "kilt": (
        "c.jsonl",
        lines({"_id": "a", "wikipedia_id": "9", "wikipedia_title": "Oost", "text": ["Oost\n", "A town ", "by the sea.\n"]}),
        [A],
    ),
    "hotpotqa abstracts": (
        "wiki_00",
        lines({"id": "a", "url": "u", "title": "Oost", "text": ["A town", " by the sea."], "charoffset": [[0, 6]]}),
        [A],
    ),
    "scifact": ("c.jsonl", lines({"doc_id": 4, "title": "Oost", "abstract": [A[2]]}), [("4", *A[1:])]),
    "dpr": ("psgs_w100.tsv", DPR, [A, B]),
    "dpr, other order": ("p.tsv", b"title\tid\ttext\nOost\ta\tA town by the sea.\n", [A]),
    "dpr, quotes doubled": ("p.tsv", b'id\ttext\ttitle\na\t"A ""town""."\tOost\n', [("a", "Oost", 'A "town".')]),
    "dpr, quotes inside": ("p.tsv", b'id\ttext\ttitle\na\tA "town".\tOost\n', [("a", "Oost", 'A "town".')]),
    "dpr, crlf and bom": ("p.tsv", BOM + DPR.replace(b"\n", b"\r\n"), [A, B]),
    "tsv, fields over 131,072": ("p.tsv", f"id\ttext\ttitle\na\t{LONG}\tOost\n".encode(), [("a", "Oost", LONG)]),
    "tsv, quoted field over 131,072": ("p.tsv", f'id\ttext\ttitle\na\t"{LONG}"\tOost\n'.encode(), [("a", "Oost", LONG)]),
    "tsv, no title": ("p.tsv", b"docid\ttext\nb\tA lake.\n", [B]),
    "tsv, id and contents": ("p.tsv", b"id\tcontents\nb\tA lake.\n", [B]),
    "csv": ("c.csv", b'id,title,text\na,Oost,A town by the sea.\nb,,"A lake."\n', [A, B]),
    "csv, lines in a cell": ("c.csv", b'id,text\nb,"A\nlake."\n', [("b", "A", "lake.")]),
    "json array": ("c.json", json.dumps([contents(A), contents(B)], indent=1).encode(), [A, B]),
    "json array named jsonl": ("c.jsonl", json.dumps([contents(A), contents(B)]).encode(), [A, B]),
    "json array in an object": ("c.json", json.dumps({"version": 1, "data": [contents(A)]}).encode(), [A]),
    "json array behind others": ("c.json", json.dumps({"authors": ["x"], "notes": [], "data": [contents(A)], "z": [{}]}).encode(), [A]),
    "jsonl named json": ("c.json", PLAIN, [A, B]),
    "jsonl without suffix": ("corpus", PLAIN, [A, B]),
    "parquet": ("c.parquet", table(contents(A), contents(B)), [A, B]),
    "parquet, other suffix": ("c.bin", table({"id": 7, "title": None, "text": B[2]}), [("7", *B[1:])]),
    "gzip": ("c.jsonl.gz", gzip.compress(PLAIN), [A, B]),
    "gzip, two members": ("c.jsonl.gz", gzip.compress(lines(contents(A))) + gzip.compress(lines(contents(B))), [A, B]),
    "gzip named jsonl": ("c.jsonl", gzip.compress(PLAIN), [A, B]),
    "bzip2": ("c.jsonl.bz2", bz2.compress(PLAIN), [A, B]),
    "xz": ("c.jsonl.xz", lzma.compress(PLAIN), [A, B]),
    "zstd": ("c.jsonl.zst", zstd.compress(PLAIN), [A, B]),
    "zstd, with a byte order mark": ("c.jsonl.zst", zstd.compress(BOM + PLAIN), [A, B]),
    "dpr, packed": ("psgs_w100.tsv.gz", gzip.compress(DPR), [A, B]),
    "json array, packed": ("c.json.xz", lzma.compress(json.dumps([contents(A)]).encode()), [A]),
    "byte order mark": ("c.jsonl", BOM + PLAIN, [A, B]),
    "crlf": ("c.jsonl", PLAIN.replace(b"\n", b"\r\n"), [A, B]),
    "blank lines": ("c.jsonl", b"\n \n" + PLAIN.replace(b"\n", b"\n\n\r\n"), [A, B]),
    "no line end": ("c.jsonl", PLAIN.rstrip(), [A, B]),
    "no ids": ("c.jsonl", lines({"contents": "one"}, {"contents": "two"}), [("0", "", "one"), ("1", "", "two")]),
    "ids are numbers": ("c.jsonl", lines({"id": 12, "contents": "one"}, {"id": 0, "contents": "two"}), [("12", "", "one"), ("0", "", "two")]),
    "id of 64 bits": ("c.jsonl", lines({"id": 2**64 - 1, "contents": "one"}), [(str(2**64 - 1), "", "one")]),
    "leading zeros": ("p.tsv", b"id\ttext\ttitle\n007\tA lake.\t\n", [("007", "", "A lake.")]),
    "unicode": ("c.jsonl", '{"id": "é\u4e00", "contents": "\u6771\u4eac\\n\u65e5\u672c \\ud83d\\ude00"}\n'.encode(), [("é\u4e00", "\u6771\u4eac", "\u65e5\u672c \U0001f600")]),
    "unicode line separators": ("c.jsonl", '{"id": "a", "contents": "x\u2028y\u0085z"}\n'.encode(), [("a", "", "x\u2028y\u0085z")]),
    "nul in a text": ("c.jsonl", lines({"id": "a", "contents": "x\0y"}), [("a", "", "x\0y")]),
    "huge line": ("c.jsonl", lines({"id": "a", "contents": "x" * 5_000_000}), [("a", "", "x" * 5_000_000)]),
    "nested to the limit": ("c.jsonl", lines({"id": "b", "contents": B[2], "x": json.loads("[" * 99 + "]" * 99)}), [B]),
}  # fmt: skip

GOOD = lines(contents(A))
DEEP = "[" * 5000 + "]" * 5000
REFUSED: dict[str, tuple[str, bytes, str]] = {
    "unknown id key": ("c.jsonl", lines({"articleId": "a", "text": "x"}), "line 1: no 'id', but 'articleId' looks"),
    "title in capitals": ("c.jsonl", lines({"id": "a", "Title": "T", "text": "x"}), "line 1: no 'title', but 'Title' looks like one"),
    "title under another key": ("c.jsonl", lines({"id": "a", "doc_title": "T", "text": "x"}), "line 1: no 'title', but 'doc_title' looks like one"),
    "heading": ("c.jsonl", lines({"id": "a", "heading": "T", "text": "x"}), "line 1: no 'title', but 'heading' looks like one"),
    "id in capitals": ("c.jsonl", lines({"ID": "a", "text": "x"}), "line 1: no 'id', but 'ID' looks like one"),
    "index of pandas": ("c.jsonl", lines({"index": 3, "text": "x"}), "line 1: no 'id', but 'index' looks"),
    "unknown text key": ("c.jsonl", lines({"id": "a", "wiki": "x"}), "line 1: no 'contents' and no 'text'; its keys are 'id', 'wiki'"),
    "questions": ("q.jsonl", lines({"question": "Who?", "answers": ["x"]}), "line 1: .* its keys are 'question', 'answers'"),
    "some rows without ids": ("c.jsonl", GOOD + lines({"contents": "x"}), "line 2: it has no id; of the first row, its id is under 'id'"),
    "ids only later": ("c.jsonl", lines({"contents": "x"}) + GOOD, "line 2: its id is under 'id'; of the first row, it has no id"),
    "two id keys": ("c.jsonl", GOOD + lines({"docid": "b", "contents": "x"}), "line 2: its id is under 'docid'"),
    "id twice": ("c.jsonl", GOOD + b"\n" + GOOD, "the id 'a' (was|is) used"),
    "id twice, as number and text": ("c.jsonl", lines({"id": 1, "contents": "x"}, {"id": "1", "contents": "y"}), "the id '1' (was|is) used"),
    "id twice, parquet": ("c.parquet", table(contents(A), contents(A)), "the id 'a' (was|is) used"),
    "id null": ("c.jsonl", lines({"id": None, "contents": "x"}), "line 1: the id under 'id' must be"),
    "id a float": ("c.jsonl", lines({"id": 1.0, "contents": "x"}), "line 1: the id under 'id' must be .* found 1.0"),
    "id over 64 bits": ("c.jsonl", lines({"id": 2**64, "contents": "x"}), "line 1: the id under 'id' must be"),
    "id true": ("c.jsonl", lines({"id": True, "contents": "x"}), "line 1: the id under 'id' must be"),
    "id empty": ("c.jsonl", lines({"id": "", "contents": "x"}), "line 1: the id under 'id' must be"),
    "id a list": ("c.jsonl", lines({"id": ["a"], "contents": "x"}), "line 1: the id under 'id' must be"),
    "empty passage": ("c.jsonl", GOOD + lines({"id": "b", "title": "", "text": " "}), "line 2: the passage is empty"),
    "contents an object": ("c.jsonl", lines({"id": "a", "contents": {"x": 1}}), "line 1: 'contents' must be text, found dict"),
    "paragraphs of sentences": ("c.jsonl", lines({"id": "a", "text": [["x"], ["y"]]}), "line 1: 'text' must be text, found list"),
    "title a list": ("c.jsonl", lines({"id": "a", "title": ["t"], "text": "x"}), "line 1: 'title' must be text, found list"),
    "no object": ("c.jsonl", GOOD + b"[1]\n", "line 2: expected a JSON object, found list"),
    "nan": ("c.jsonl", GOOD + b'{"id": "b", "contents": "x", "score": NaN}\n', "line 2: not valid JSON"),
    "lone surrogate": ("c.jsonl", GOOD + b'{"id": "b", "contents": "\\ud800"}\n', "line 2: not valid JSON"),
    "lone surrogate in an array": ("c.json", b'[{"id": "b", "contents": "\\ud800"}]', "row 1: not valid JSON"),
    "latin-1": ("c.jsonl", GOOD + b'{"id": "b", "contents": "caf\xe9"}\n', "line 2: not valid JSON"),
    "latin-1 tsv": ("p.tsv", DPR + b"c\tcaf\xe9\t\n", "line 4: not valid UTF-8 at byte 5"),
    "nul bytes at the end": ("c.jsonl", GOOD + b"\0" * 40, "line 2: not valid JSON"),
    "torn last line": ("c.jsonl", GOOD + b'{"id": "b", "conte', "line 2: not valid JSON"),
    "two rows on a line": ("c.jsonl", GOOD + b'{"id": "b", "contents": "x"}{"id": "c", "contents": "x"}\n', "line 2: not valid JSON"),
    "python rows": ("c.jsonl", b"{'id': 'a', 'contents': 'x'}\n", "line 1: not valid JSON"),
    "nested deep": ("c.jsonl", GOOD + lines('{"id": "b", "contents": "x", "y": ' + DEEP + "}"), "line 2: n"),
    "nested over the limit": ("c.jsonl", lines({"id": "b", "contents": "x", "y": json.loads("[" * 100 + "]" * 100)}), f"line 1: nested deeper than {MAX_DEPTH} levels"),
    "nested deep in an array": ("c.json", f'[{{"id": "b", "contents": "x", "y": {DEEP}}}]'.encode(), "row 1: n"),
    "line over the limit": ("c.jsonl", GOOD + b'{"id": "b", "contents": "' + b"x" * MAX_ROW + b'"}\n', "line 2: longer than 64 MiB"),
    "empty": ("c.jsonl", b"", "c.jsonl holds no passage"),
    "blank lines only": ("c.jsonl", b"\n\n", "c.jsonl holds no passage"),
    "empty gzip": ("c.jsonl.gz", gzip.compress(b""), "c.jsonl.gz holds no passage"),
    "gzip of 0 bytes": ("c.jsonl.gz", b"", "c.jsonl.gz holds no passage"),
    "header only": ("p.tsv", b"id\ttext\ttitle\n", "p.tsv holds no passage"),
    "empty array": ("c.json", b"[]", "c.json holds no passage"),
    "empty data": ("c.json", b'{"data": []}', "c.json holds no passage"),
    "tsv without header": ("p.tsv", b"1\tA lake.\tOost\n", "line 1: expected a header of id, text and title"),
    "tsv, two fields": ("p.tsv", DPR + b"c\tA lake.\n", "line 4: expected 3 tab-separated fields, found 2"),
    "tsv, quote not closed": ("p.tsv", DPR + b'c\t"A lake.\tx\n', "line 4: not a tab-separated row"),
    "tsv, text after a quote": ("p.tsv", DPR + b'c\t"A" lake\tx\n', "line 4: not a tab-separated row"),
    "tsv, two columns of one name": ("p.tsv", b"id\ttext\ttext\na\tx\ty\n", "line 1: two columns have one name"),
    "tsv named jsonl": ("c.jsonl", DPR, "line 1: not valid JSON"),
    "jsonl named tsv": ("c.tsv", PLAIN, "line 1: expected a header"),
    "csv, two columns of one name": ("c.csv", b"id,text,text\na,x,y\n", "line 1: two columns are named 'text'"),
    "csv, a cell too many": ("c.csv", b"id,text\na,x,y\n", "line 2: expected 2 cells, found 3"),
    "utf-16": ("c.jsonl", PLAIN.decode().encode("utf-16"), "c.jsonl is UTF-16 text; save it as UTF-8"),
    "web page": ("c.jsonl", b"<!DOCTYPE html><html><body>404</body></html>", "c.jsonl is a web page .* no rows"),
    "git-lfs pointer": ("c.jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n", "a pointer of Git LFS"),
    "tar": ("c.jsonl", tar("c.jsonl", PLAIN), "c.jsonl is a tar archive; unpack it"),
    "tar.gz": ("c.tar.gz", gzip.compress(tar("c.jsonl", PLAIN)), "c.tar.gz holds a tar archive; unpack it"),
    "zip": ("c.zip", zipped("c.jsonl", PLAIN), "c.zip is a zip archive; unpack it"),
    "zip named jsonl": ("c.jsonl", zipped("c.jsonl", PLAIN), "c.jsonl is a zip archive; unpack it"),
    "sqlite": ("docs.db", b"SQLite format 3\0" + b"\0" * 90, "docs.db is an SQLite database"),
    "pickle": ("c.pkl", b"\x80\x04\x95", "c.pkl is a Python pickle"),
    "zeros": ("c.jsonl", b"\0" * 4096, "c.jsonl is filled with zero bytes"),
    "packed twice": ("c.jsonl.gz", gzip.compress(gzip.compress(PLAIN)), "packed twice"),
    "plain named gz": ("c.jsonl.gz", PLAIN, "c.jsonl.gz is not a complete .gz file"),
    "gzip, cut": ("c.jsonl.gz", gzip.compress(PLAIN)[:-9], "c.jsonl.gz is not a complete .gz file"),
    "bzip2, cut": ("c.jsonl.bz2", bz2.compress(PLAIN)[:-9], "c.jsonl.bz2 is not a complete .bz2 file"),
    "xz, cut": ("c.jsonl.xz", lzma.compress(PLAIN)[:-9], "c.jsonl.xz is not a complete .xz file"),
    "zstd, cut": ("c.jsonl.zst", zstd.compress(PLAIN)[:-9], "c.jsonl.zst is not a complete .zst file"),
    "parquet, cut": ("c.parquet", table(contents(A))[:-9], "c.parquet is not a complete Parquet file"),
    "parquet in gzip": ("c.parquet.gz", gzip.compress(table(contents(A))), "c.parquet.gz .*Parquet"),
    "json array, cut": ("c.json", json.dumps([contents(A), contents(B)]).encode()[:-30], "c.json cannot be read as JSON .row 2: the file ends"),
    "bad row, packed": ("c.jsonl.gz", gzip.compress(GOOD + b"{\n"), "c.jsonl.gz, line 2: not valid JSON"),
    "bad row, parquet": ("c.parquet", table({"id": "a", "text": "x"}, {"id": "b", "text": " "}), "c.parquet, row 2: the passage is empty"),
}  # fmt: skip


def read_by_index(path: Path, folder: Path) -> list[Passage]:
    corpus = open_corpus(path, folder)
    passages = [corpus.passage(at) for at in range(len(corpus))]
    for at, passage in enumerate(passages):
        assert corpus.row_of(passage.id) == at
        assert json.loads(corpus.document(at)) == {"id": passage.id, "contents": passage.contents}
    corpus.close()
    return passages


def seen(passages: Sequence[Passage]) -> Expected:
    return [(passage.id, passage.title, passage.text) for passage in passages]


@pytest.mark.parametrize("name", READ)
def test_a_corpus_of_this_shape_is_read(name: str, tmp_path: Path) -> None:
    file, body, expected = READ[name]
    path = tmp_path / file
    path.write_bytes(body)
    passages = read_by_index(path, tmp_path / "index")
    assert seen(passages) == expected
    assert read_by_index(path, tmp_path / "index") == passages, "a second opening"
    assert ToyRetriever.from_file(path)._passages == passages


@pytest.mark.parametrize("name", REFUSED)
def test_a_corpus_of_this_shape_is_refused_by_place_and_reason(name: str, tmp_path: Path) -> None:
    file, body, reason = REFUSED[name]
    path = tmp_path / file
    path.write_bytes(body)
    for read in (lambda: open_corpus(path, tmp_path / "index"), lambda: ToyRetriever.from_file(path)):
        with pytest.raises(UserError, match=reason) as refused:
            read()
        said = str(refused.value)
        assert str(path) in said
        assert "\n" not in said
        assert len(said) < 500
        assert not list((tmp_path / "index").glob("*.tmp"))


def test_there_are_at_least_46_shapes() -> None:
    assert len(READ) + len(REFUSED) >= 46
