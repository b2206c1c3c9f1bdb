# ruff: noqa: E501 - lists of odd values
"""Question and corpus files made by mutating valid ones: the outcome is rows that say what the bytes say, or one
sentence that names the file, and the line or row where the trouble is in one.

The usual run tries 150 files of each; the slow one 2,500 of each, and writes how they ended.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import re
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from backports import zstd
from helpers_data_rows import ROWS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src_core.errors import UserError
from src_core.types import Question
from src_retrieval.corpus import open_corpus
from src_retrieval.rows import ID_KEYS
from src_retrieval.toy import ToyRetriever
from src_tasks.readers.sources import read_questions

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda body: gzip.compress(body, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd.compress,
}
PLACE = re.compile(r", (?:line|row) \d+(?:, question \d+)?: |\((?:row \d+: )?|holds \d+ ")
QUESTIONS: list[list[Any]] = [
    [{"question": "Who ruled?", "answer": "Ilse"}, {"question": "Who fell?", "answers": ["Orla", "O. Venn"]}],
    [{"id": n, "question": f"Question {n}?", "golden_answers": [f"answer {n}", n, True]} for n in range(4)],
    [{"question": "What burns?", "choices": ["iron", "peat"], "answer": 1}],
    *ROWS.values(),
]
CORPORA: list[list[Any]] = [
    [{"id": f"d{n}", "contents": f"Title {n}\nText {n} \u00e9."} for n in range(4)],
    [{"_id": f"M-{n}", "title": f"Title {n}", "text": f"Text {n}.", "metadata": {}} for n in range(3)],
    [{"docid": n, "title": None, "contents": f"Text {n}."} for n in range(3)],
    [{"contents": f"Text {n}."} for n in range(3)],
]
ODD_VALUES: list[Any] = [
    None, True, 0, -1, 1.5, 2.0, 2**63, 2**70, 1e300, "", " ", "\0", "\ud800", "x" * 200_000, [], {}, ["a", None],
    [["a"]], {"a": {"b": 1}}, "['a', 'b']", '["a"]', "[", float("nan"), json.loads("[" * 90 + "]" * 90),
    json.loads("[" * 300 + "]" * 300),
]  # fmt: skip
ODD_BYTES = [
    b"", b"\n", b"\r", b"\r\n\n", b"\0", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\t", b"\xff", b"\xed\xa0\x80",
    b"\xef\xbb\xbf", b"NaN", b"null", b"1e999", b"\\ud800", b"{}", b"[]", b'""', b" ", b"[" * 2000, b'"question"', b'"id"',
    b"\xe2\x80\xa8", b"\xff\xfe", b"PK\x03\x04", b"PAR1", b"\x1f\x8b",
]  # fmt: skip
SUFFIXES = [".jsonl", ".json", ".tsv", ".csv", ".txt", "", ".parquet", ".jsonl.gz", ".json.zst", ".tsv.bz2"]


class Made(NamedTuple):
    """A file: its name and bytes."""

    name: str
    body: bytes


@st.composite
def changed_rows(draw: st.DrawFn, seeds: list[list[Any]]) -> list[Any]:
    """Rows with a few values replaced, keys renamed or dropped, rows repeated."""
    rows = json.loads(json.dumps(draw(st.sampled_from(seeds))))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(rows) - 1))
        row = rows[at]
        kind = draw(st.sampled_from(["value", "value", "drop", "rename", "repeat", "replace"]))
        if kind == "repeat":
            rows.append(row)
        elif kind == "replace":
            rows[at] = draw(st.sampled_from(ODD_VALUES))
        elif isinstance(row, dict) and row:
            key = draw(st.sampled_from(sorted(row)))
            value = row.pop(key)
            if kind == "value":
                row[key] = draw(st.sampled_from(ODD_VALUES))
            elif kind == "rename":
                row[
                    draw(st.sampled_from(["id", "ID", "doc_id", "answer", "gold", "text", "question", ""]))
                ] = value
    return rows


def as_table(rows: list[Any], delimiter: str) -> bytes:
    objects = [row for row in rows if isinstance(row, dict)]
    columns = list(dict.fromkeys(key for row in objects for key in row))
    cells = [columns, *([str(row.get(key, "")) for key in columns] for row in objects)]
    text = "\n".join(delimiter.join('"' + cell.replace('"', '""') + '"' for cell in line) for line in cells)
    return text.encode("utf-8", "replace")


@st.composite
def made_files(draw: st.DrawFn, seeds: list[list[Any]]) -> Made:
    """A valid file of some layout and packing, with a few of its bytes changed before and after packing."""
    rows = draw(changed_rows(seeds))
    layout = draw(st.sampled_from(["jsonl", "jsonl", "jsonl", "json", "inside", "tsv", "csv"]))
    if layout == "jsonl":
        body = "\n".join(json.dumps(row, ensure_ascii=draw(st.booleans())) for row in rows)
        body_bytes = body.encode("utf-8", "surrogatepass")
    elif layout in ("tsv", "csv"):
        body_bytes = as_table(rows, "\t" if layout == "tsv" else ",")
    else:
        whole = rows if layout == "json" else {"version": 1, "data": rows}
        body_bytes = json.dumps(whole, indent=draw(st.sampled_from([None, 1]))).encode()
    body_bytes = draw(changed_bytes(body_bytes))
    packing = draw(st.sampled_from(["", "", "", *PACKERS]))
    packed = PACKERS[packing](body_bytes)
    if packing and draw(st.booleans()):
        packed = draw(changed_bytes(packed))
    usual = f".{layout.replace('inside', 'json')}{packing}"
    suffix = usual if draw(st.integers(0, 5)) else draw(st.sampled_from(SUFFIXES))
    return Made(f"file{suffix}", packed)


@st.composite
def changed_bytes(draw: st.DrawFn, body: bytes) -> bytes:
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2, 4]))):
        at = draw(st.integers(0, len(body)))
        end = min(len(body), at + draw(st.sampled_from([0, 0, 1, 3, 40])))
        kind = draw(st.sampled_from(["insert", "insert", "flip", "delete", "repeat", "cut"]))
        if kind == "insert":
            body = body[:at] + draw(st.sampled_from(ODD_BYTES)) + body[end:]
        elif kind == "flip" and body:
            at = min(at, len(body) - 1)
            body = body[:at] + bytes([body[at] ^ 1 << draw(st.integers(0, 7))]) + body[at + 1 :]
        elif kind == "delete":
            body = body[:at] + body[end:]
        elif kind == "repeat":
            body = body[:end] + body[at:]
        elif kind == "cut":
            body = body[:at]
    return body


# --- what the bytes say, read in another way ---


def unpacked(body: bytes) -> bytes:
    for mark, unpack in (
        (b"\x1f\x8b", gzip),
        (b"BZh", bz2),
        (b"\xfd7zXZ", lzma),
        (b"\x28\xb5\x2f\xfd", zstd),
    ):
        if body.startswith(mark):
            return bytes(unpack.decompress(body))
    return body


def json_rows(made: Made) -> list[Any] | None:
    """The rows of a JSON file by the standard library, None for a table."""
    if ".tsv" in made.name or ".csv" in made.name:
        return None
    text = unpacked(made.body).removeprefix(b"\xef\xbb\xbf").decode()
    try:
        whole = json.loads(text)
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    if isinstance(whole, dict):
        wrapped = isinstance(whole.get("data"), list) or isinstance(whole.get("Data"), list)
        inside = next((value for value in whole.values() if isinstance(value, list)), [])
        # A file that is one object over several lines is one around its rows; on one line it is a row.
        return inside if wrapped or "\n" in text.strip() else [whole]
    return whole if isinstance(whole, list) and (not whole or isinstance(whole[0], dict)) else [whole]


def plain_golds(row: dict[str, Any]) -> tuple[str, ...] | None:
    """The golds of a plain row without choices whose values are texts, numbers and truth values."""
    for key in ("answers", "golden_answers", "answer"):
        value = row.get(key)
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(item, str | int | float | None) for item in values):
            return None
        if any(isinstance(item, str) and item.strip().startswith("[") for item in values):
            return None
        words = {True: "yes", False: "no", None: ""}
        texts = [
            words[item] if item is None or isinstance(item, bool) else str(item).strip() for item in values
        ]
        texts = [
            re.sub(r"(?<=\d)\.0$", "", text) if isinstance(item, float) else text
            for text, item in zip(texts, values, strict=True)
        ]
        if any(texts):
            return tuple(dict.fromkeys(filter(None, texts)))
    return ()


def table_rows(made: Made, delimiter: str) -> Iterator[dict[str, str]]:
    csv.field_size_limit(1 << 24)
    text = unpacked(made.body).removeprefix(b"\xef\xbb\xbf").decode()
    rows = [
        row
        for row in csv.reader(text.splitlines(keepends=True) if delimiter else [], delimiter=delimiter)
        if any(row)
    ]
    names = [name.strip() for name in rows[0]]
    return (dict(zip(names, row, strict=False)) for row in rows[1:])


def check_questions(made: Made, found: list[Question]) -> None:
    rows = json_rows(made)
    if rows is None or not all(isinstance(row, dict) for row in rows):
        return
    by_text = {question.question: question for question in found}
    for row in rows:
        text = row.get("edited_question") or row.get("question")  # SituatedQA asks the former
        if (
            isinstance(text, str)
            and not {"answerKey", "paragraphs", "questions", "Question", "Prompt", "utterance"} & row.keys()
        ):
            assert text.strip() in by_text, f"a question is lost: {text!r}"
    for row in rows:
        plain = row.keys() <= {"id", "question", "answer", "answers", "golden_answers"}
        golds = plain_golds(row) if plain and isinstance(row.get("question"), str) else None
        if golds is not None:
            assert any(
                question.answers == golds
                for question in found
                if question.question == row["question"].strip()
            )
    assert len(found) <= sum(1 + len(str(row)) // 40 for row in rows)


def check_corpus(made: Made, found: list[tuple[str, str]]) -> None:
    rows = json_rows(made)
    if rows is None:
        delimiter = "\t" if ".tsv" in made.name else ","
        rows = list(table_rows(made, delimiter)) if b"\r" not in unpacked(made.body) else None
    if rows is None:
        return
    assert len(rows) == len(found)
    for number, (row, (row_id, contents)) in enumerate(zip(rows, found, strict=True)):
        key = next((key for key in ID_KEYS if key in row), None)
        assert row_id == (str(row[key]) if key else str(number))
        text = next((row[key] for key in ("contents", "text") if row.get(key) is not None), None)
        if isinstance(text, str):
            title = " ".join(str("" if row.get("title") is None else row["title"]).split())
            assert contents in (text, f"{title}\n{text}", title)
            assert title in contents


# --- the runs ---


def outcome(path: Path, read: Callable[[], Any]) -> tuple[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return "rows", read()
        except UserError as error:
            said = str(error)
    assert str(path) in said
    assert "\n" not in said
    assert len(said) < 1200
    return (
        "refused, with the row" if PLACE.search(said.replace(str(path), "")) else "refused, the file"
    ), said


def try_questions(made: Made) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / made.name
        path.write_bytes(made.body)
        kind, found = outcome(path, lambda: read_questions(path))
        if kind == "rows":
            check_questions(made, found)
        return kind


def try_corpus(made: Made) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / made.name
        path.write_bytes(made.body)

        def read() -> list[tuple[str, str]]:
            corpus = open_corpus(path, Path(folder) / "index")
            rows = [(corpus.row(at).id, corpus.row(at).contents) for at in range(len(corpus))]
            assert [corpus.row_of(key) for key, _ in rows] == list(range(len(rows)))
            sent = [json.loads(corpus.document(at)) for at in range(len(corpus))]
            assert [(row["id"], row["contents"]) for row in sent] == rows
            corpus.close()
            return rows

        kind, found = outcome(path, read)
        toy, passages = outcome(path, lambda: ToyRetriever.from_file(path)._passages)
        assert (kind == "rows") == (toy == "rows"), (found, passages)
        if kind == "rows":
            assert [(passage.id, passage.contents) for passage in passages] == found
            check_corpus(made, found)
        return kind


def fuzz(seeds: list[list[Any]], attempt: Callable[[Made], str], count: int) -> Counter[str]:
    ends: Counter[str] = Counter()

    @settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(made=made_files(seeds))
    def run(made: Made) -> None:
        ends[attempt(made)] += 1

    run()
    assert ends["rows"] > count // 10
    assert ends["refused, with the row"] > count // 10
    return ends


KINDS: dict[str, tuple[list[list[Any]], Callable[[Made], str]]] = {
    "questions": (QUESTIONS, try_questions),
    "corpus": (CORPORA, try_corpus),
}


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files_give_rows_or_one_sentence(kind: str) -> None:
    fuzz(*KINDS[kind], count=150)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_2500_mutated_files_give_rows_or_one_sentence(kind: str) -> None:
    ends = fuzz(*KINDS[kind], count=2500)
    sys.stdout.write(f"{kind}: {dict(ends)}\n")
    assert sum(ends.values()) >= 2500
