# ruff: noqa: E501 - one shape per line
"""Question files in the shapes that publishers and tools write: each is read with the expected golds, or refused in
one sentence with its file, place and reason. Inference (`read_questions`) and construction (`read_source`) agree.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from backports import zstd
from helpers_data_rows import (
    ARC_HUB,
    ARC_LIST,
    FANOUTQA,
    FRAMES,
    HOTPOTQA,
    HOTPOTQA_HUB,
    IIRC,
    MUSIQUE,
    POPQA,
    SQUAD_HUB,
    SQUAD_PARAGRAPH,
    STRATEGYQA,
    TRIVIAQA,
    TRIVIAQA_HUB,
    TWOWIKI,
    WEBQUESTIONS,
    Row,
    read_skipping,
)
from pyarrow import parquet

from src_core.errors import UserError
from src_core.json_rows import MAX_DEPTH, MAX_ROW
from src_tasks.readers.sources import SourceConfig, read_questions

BOM = b"\xef\xbb\xbf"
Golds = list[tuple[str, ...]]


def lines(*rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def array(*rows: Row) -> bytes:
    return json.dumps(list(rows), indent=1).encode()


def table(*rows: Row) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), out)
    return out.getvalue()


def asked(**more: Any) -> bytes:
    return lines({"question": "Who?", **more})


ONE, TWO = (
    {"question": "Who ruled Oost?", "answer": "Ilse"},
    {"question": "Who fell?", "answers": ["Orla", "O. Venn"]},
)
BOTH: Golds = [("Ilse",), ("Orla", "O. Venn")]
TEXT = lines(ONE, TWO)
DPR = b'who ruled oost\t[\'Ilse\', "Ilse\'s"]\n"who ""fell"""\t[\'Orla\\xa0Venn\', \'O. Venn\']\n'
MMLU = b'"Which is a, or ""b""?","a, b",2,3,4,A\nWhich?,1,2,3,4,D\n'
CHOICES = ["iron", "peat", "slate"]
READ: dict[str, tuple[str, bytes, Golds]] = {
    "hotpotqa": ("hotpot_dev_distractor_v1.json", array(HOTPOTQA), [("Marrow County",)]),
    "hotpotqa of the hub": ("h.jsonl", lines(HOTPOTQA_HUB), [("Marrow County",)]),
    "hotpotqa of the hub, parquet": ("h.parquet", table(HOTPOTQA_HUB), [("Marrow County",)]),
    "2wikimultihopqa": ("dev.json", array(TWOWIKI), [("Marrow County",)]),
    "musique": ("musique_ans_v1.0_dev.jsonl", lines(MUSIQUE), [("Hanne Brook", "H. Brook")]),
    "musique as one list": ("musique.json", array(MUSIQUE), [("Hanne Brook", "H. Brook")]),
    "iirc": ("dev.json", array(IIRC), [("Ansel Dorn",), ("40", "40 years"), ()]),
    "nq-open": (
        "NQ-open.dev.jsonl",
        lines({"question": "who", "answer": ["Ilse", "Queen Ilse"]}),
        [("Ilse", "Queen Ilse")],
    ),
    "nq of dpr": (
        "nq-dev.json",
        array(
            {
                "dataset": "nq",
                "question": "who",
                "answers": ["Ilse"],
                "positive_ctxs": [],
                "negative_ctxs": [],
            }
        ),
        [("Ilse",)],
    ),
    "nq of dpr, questions": ("nq-test.qa.csv", DPR, [("Ilse", "Ilse's"), ("Orla\xa0Venn", "O. Venn")]),
    "triviaqa": (
        "unfiltered-web-dev.json",
        json.dumps({"Data": [TRIVIAQA], "Version": 1.0}).encode(),
        [("Grey Heron", "Gray heron", "Ardea cinerea", "a heron")],
    ),
    "triviaqa of the hub": ("t.jsonl", lines(TRIVIAQA_HUB), [("Grey Heron", "Gray heron")]),
    "popqa": (
        "popQA.tsv",
        b'id\tquestion\tpossible_answers\n7\tWho?\t"[""Ilse"", ""Queen """"I""""""]"\n'.replace(
            b'""""I""""', b'\\""I\\""'
        ),
        [("Ilse", 'Queen "I"')],
    ),
    "popqa of the hub": ("p.jsonl", lines(POPQA), [("glazier", 'window "fitter"')]),
    "webquestions": ("webquestions.examples.test.json", array(WEBQUESTIONS), [('Glass "lamps"', "Windows")]),
    "webquestions of the hub": (
        "w.jsonl",
        lines({"url": "u", "question": "who?", "answers": ["Ilse"]}),
        [("Ilse",)],
    ),
    "strategyqa": ("strategyqa_train.json", array(STRATEGYQA), [("no",)]),
    "bamboogle": ("bamboogle.csv", b"Question,Answer\nWho ruled?,Queen Ilse\n", [("Queen Ilse",)]),
    "frames": (
        "test.tsv",
        "\t".join(FRAMES).encode() + b"\n" + "\t".join(f'"{cell}"' for cell in FRAMES.values()).encode(),
        [("12 metres",)],
    ),
    "fanoutqa": ("fanout-final-dev.json", array(FANOUTQA), [("Quill Mill: 140, Low Mill: 90 years",)]),
    "flashrag": (
        "test.jsonl",
        lines({"id": "test_0", "question": "who", "golden_answers": ["Ilse"], "metadata": {}}),
        [("Ilse",)],
    ),
    "flashrag, indices of choices": (
        "test.jsonl",
        lines({"id": "0", "question": "what burns", "golden_answers": [1], "choices": CHOICES}),
        [("peat",)],
    ),
    "squad": (
        "dev-v2.0.json",
        json.dumps(
            {"version": "v2.0", "data": [{"title": "Oost", "paragraphs": [SQUAD_PARAGRAPH]}]}
        ).encode(),
        [("Ilse",), ()],
    ),
    "squad of the hub": ("s.jsonl", lines(SQUAD_HUB), [("Queen Ilse", "Ilse")]),
    "mmlu": ("anatomy_test.csv", MMLU, [("a, b",), ("4",)]),
    "mmlu of the hub": (
        "m.jsonl",
        lines({"question": "Which?", "subject": "anatomy", "choices": list("wxyz"), "answer": 3}),
        [("z",)],
    ),
    "mmlu-pro": (
        "m.jsonl",
        lines({"question": "Which?", "options": list("klmnopqrst"), "answer": "I", "answer_index": 8}),
        [("s",)],
    ),
    "medqa": (
        "m.jsonl",
        lines(
            {"question": "Which?", "options": {"A": "iron", "B": "peat"}, "answer": "peat", "answer_idx": "B"}
        ),
        [("peat",)],
    ),
    "arc": (
        "ARC-Challenge-Test.jsonl",
        lines({"id": "c", "question": {"stem": "What burns?", "choices": ARC_LIST}, "answerKey": "2"}),
        [("peat",)],
    ),
    "arc of the hub": ("a.jsonl", lines(ARC_HUB), [("peat",)]),
    "boolq": (
        "b.jsonl",
        lines({"question": "is oost a town", "answer": True, "title": "Oost", "passage": "x"}),
        [("yes",)],
    ),
    "answers as text, json": ("q.jsonl", asked(answers='["Ilse", "I."]'), [("Ilse", "I.")]),
    "answers as text, python": ("q.jsonl", asked(golden_answers="['Ilse', 'caf\\xe9']"), [("Ilse", "café")]),
    "answers as text, numpy": ("q.jsonl", asked(answers="['Ilse' 'I.']"), [("Ilse", "I.")]),
    "answers as text, numbers and null": (
        "q.jsonl",
        asked(answers="['Ilse', 2, 2.0, None]"),
        [("Ilse", "2")],
    ),
    "answers as text, truth value": ("q.jsonl", asked(answers="[True]"), [("yes",)]),
    "answers as text, tuple": ("q.jsonl", asked(answers="('Ilse', 'I.')"), [("Ilse", "I.")]),
    "answers as text, set": ("q.jsonl", asked(answers="{'Ilse', 'I.'}"), [("Ilse", "I.")]),
    "answers as text, array": (
        "q.jsonl",
        asked(answers="array(['Ilse', 'I.'], dtype=object)"),
        [("Ilse", "I.")],
    ),
    "answers as text in a list": ("q.jsonl", asked(answers=["['Ilse', 'I.']"]), [("Ilse", "I.")]),
    "an answer in brackets": (
        "q.jsonl",
        asked(answers=["(Ilse)", "[I.]", "('Ilse')"]),
        [("(Ilse)", "[I.]", "('Ilse')")],
    ),
    "aliases under other keys": (
        "q.jsonl",
        asked(answer="Ilse", alias="I.", answer_alias=["Queen I."]),
        [("Ilse", "Queen I.", "I.")],
    ),
    "nq with aliases": ("q.jsonl", asked(answer=["Ilse"], aliases=["I."]), [("Ilse", "I.")]),
    "bamboogle with aliases": (
        "q.jsonl",
        lines({"Question": "Who?", "Answer": "Ilse", "aliases": ["I."]}),
        [("Ilse", "I.")],
    ),
    "musique with aliases": (
        "q.jsonl",
        asked(answer="Ilse", paragraphs=[], aliases=["I."]),
        [("Ilse", "I.")],
    ),
    "gsm8k": ("q.jsonl", asked(answer="3 and 4 are 7.\n#### 7"), [("7",)]),
    "latex is no pattern": ("q.jsonl", asked(answer="\\boxed{\\dfrac{1}{2}}"), [("\\boxed{\\dfrac{1}{2}}",)]),
    "csv, a whole number": ("q.csv", b"question,answer\nHow many?,2.0\n", [("2.0", "2")]),
    "csv, a truth value": ("q.csv", b"question,answer\nIs it?,True\n", [("True", "yes")]),
    "csv, choices and index": (
        "q.csv",
        b"question,choices,answer\nWhich?,\"['iron', 'peat']\",1.0\n",
        [("peat",)],
    ),
    "choices, truth values": ("q.jsonl", asked(choices=["True", "False"], answer=False), [("False",)]),
    "choices, labels of another case": (
        "q.jsonl",
        asked(options={"b": "iron", "a": "peat"}, answer="B"),
        [("iron",)],
    ),
    "answers empty beside answer": ("q.jsonl", asked(answers=[], answer="Ilse"), [("Ilse",)]),
    "answer 2.0": ("q.jsonl", asked(answer=2.0), [("2",)]),
    "answer a year": ("q.jsonl", asked(answer=1881), [("1881",)]),
    "answer 64 bits": ("q.jsonl", asked(answer=2**64 - 1), [(str(2**64 - 1),)]),
    "answer false": ("q.jsonl", asked(answer=False), [("no",)]),
    "answers with null": ("q.jsonl", asked(answers=[None, "Ilse", ""]), [("Ilse",)]),
    "no golds": ("q.jsonl", asked(id=1), [()]),
    "rows with and without golds": ("q.jsonl", lines(ONE, {"question": "Why?"}), [("Ilse",), ()]),
    "rows of several layouts": (
        "q.jsonl",
        lines(ONE, MUSIQUE, POPQA),
        [("Ilse",), ("Hanne Brook", "H. Brook"), ("glazier", 'window "fitter"')],
    ),
    "repeated question": ("q.jsonl", lines(ONE, TWO, ONE), BOTH),
    "jsonl named json": ("q.json", TEXT, BOTH),
    "array named jsonl": ("q.jsonl", array(ONE, TWO), BOTH),
    "array on one line named jsonl": ("q.jsonl", json.dumps([ONE, TWO]).encode(), BOTH),
    "array in data": ("q.json", json.dumps({"version": "1", "data": [ONE, TWO]}).encode(), BOTH),
    "other suffix": ("q.txt", TEXT, BOTH),
    "csv": (
        "q.csv",
        b'question,answer\nWho ruled Oost?,Ilse\n"Who fell,\nand why?",Orla\n',
        [("Ilse",), ("Orla",)],
    ),
    "tsv": ("q.tsv", b"id\tquestion\tanswers\n1\tWho?\t['Orla', 'O. Venn']\n", [("Orla", "O. Venn")]),
    "tsv, a long cell": (
        "q.tsv",
        b"question\tanswer\tnote\nWho?\tIlse\t" + b"x" * 200_000 + b"\n",
        [("Ilse",)],
    ),
    "parquet": ("q.parquet", table({"question": "Who?", "answers": ["Ilse"]}), [("Ilse",)]),
    "parquet, other suffix": (
        "q.bin",
        table({"question": "Who?", "answer": "Ilse", "raw": b"x"}),
        [("Ilse",)],
    ),
    "byte order mark": ("q.jsonl", BOM + TEXT, BOTH),
    "byte order mark, table": ("q.csv", BOM + b"question,answer\nWho ruled Oost?,Ilse\n", [("Ilse",)]),
    "crlf": ("q.jsonl", TEXT.replace(b"\n", b"\r\n"), BOTH),
    "blank lines, no line end": ("q.jsonl", b"\n \n" + TEXT.replace(b"\n", b"\n\n").rstrip(), BOTH),
    "unicode": (
        "q.jsonl",
        '{"question": "\u8ab0\uff1f", "answer": "caf\\u00e9 \\ud83d\\ude00"}\n'.encode(),
        [("caf\u00e9 \U0001f600",)],
    ),
    "gzip": ("q.jsonl.gz", gzip.compress(BOM + TEXT), BOTH),
    "gzip named jsonl": ("q.jsonl", gzip.compress(TEXT), BOTH),
    "bzip2": ("q.jsonl.bz2", bz2.compress(TEXT), BOTH),
    "xz, array": ("q.json.xz", lzma.compress(array(ONE, TWO)), BOTH),
    "zstd": ("q.jsonl.zst", zstd.compress(TEXT), BOTH),
    "zstd, table": ("q.csv.zst", zstd.compress(b"question,answer\nWho?,Ilse\n"), [("Ilse",)]),
    "nested to the limit": ("q.jsonl", asked(answer="Ilse", x=json.loads("[" * 99 + "]" * 99)), [("Ilse",)]),
}

DEEP = b"[" * 30_000 + b"]" * 30_000
HEAD = lines(ONE)
REFUSED: dict[str, tuple[str, bytes, str]] = {
    "regular expressions (curatedtrec)": ("test.jsonl", lines({"id": "0", "question": "who", "golden_answers": ["Il(s|z)e"]}), "line 1: the gold .* is a regular expression"),
    "regular expressions in any file": ("q.jsonl", asked(answers=[r"19\d\d", "(New York|NY) City"]), r"line 1: the gold '19.* is a regular expression"),
    "regular expressions of dpr": ("trec-test.qa.csv", b"who\t['Il(s|z)e']\n", "line 1: the gold .* is a regular expression"),
    "alternatives in one text": ("q.csv", b"question,answers\nWho?,Ilse|I.\n", "line 2: the gold .* is a regular expression"),
    "answers as text, cut": ("q.jsonl", asked(answers="['Ilse', 'I."), "line 1: the text .* begins like a list"),
    "answers as text, nested": ("q.jsonl", asked(answers="[['Ilse'], ['I.']]"), "line 1: the text .* begins like a list"),
    "answers as text, squad": ("q.csv", b"question,answers\nWho?,\"{'text': ['Ilse']}\"\n", "line 2: the text .* begins like a list"),
    "answers nested": ("q.jsonl", asked(answers=[["Ilse"], ["I."]]), "line 1: an answer must be"),
    "choices under another key": ("q.jsonl", asked(candidates=CHOICES, answer=1), "line 1: 'candidates' looks like the choices"),
    "choices under another case": ("q.jsonl", asked(Options=CHOICES, answer="B"), "line 1: 'Options' looks like the choices"),
    "choices in columns": ("q.csv", b"question,option_a,option_b,answer\nWhich?,iron,peat,b\n", "line 2: 'option_a' and 'option_b' look like choices"),
    "choices in columns of one letter": ("q.jsonl", asked(A="iron", B="peat", answer="B"), "line 1: 'A' and 'B' look like choices"),
    "choices without a known gold": ("q.jsonl", asked(choices=CHOICES, correct_index=1), "line 1: no 'answers', but 'correct_index'"),
    "dpr, half a character": ("nq-test.qa.csv", b"who\t['\\ud800']\n", "line 1: an answer holds half of a character"),
    "ambigqa": ("dev.json", array({"id": "1", "question": "Who?", "annotations": [{"type": "singleAnswer", "answer": ["Ilse"]}]}), "row 1: no 'answers', but 'annotations' looks like them"),
    "drop": ("q.jsonl", asked(passage="x", answers_spans={"spans": ["Ilse"]}), "line 1: no 'answers', but 'answers_spans'"),
    "misspelt gold key": ("q.jsonl", asked(anwser="Ilse"), "line 1: no 'answers', but 'anwser'"),
    "unknown gold key": ("q.jsonl", asked(correct_answer="Ilse"), "line 1: no 'answers', but 'correct_answer'"),
    "gold under target": ("q.jsonl", asked(target="Ilse"), "line 1: no 'answers', but 'target'"),
    "gold under another case": ("q.jsonl", asked(Answers=["Ilse"]), "line 1: no 'answers', but 'Answers'"),
    "simpleqa": ("s.csv", b"metadata,problem,answer\nx,Who?,Ilse\n", r"no known layout \(keys: 'answer', 'metadata', 'problem'\)"),
    "beir queries": ("queries.jsonl", lines({"_id": "1", "text": "Who?"}), r"no known layout \(keys: '_id', 'text'\)"),
    "a corpus": ("corpus.jsonl", lines({"id": "1", "contents": "x"}), r"no known layout \(keys: 'contents', 'id'\)"),
    "columns": ("q.json", json.dumps({"question": ["Who?", "Why?"], "answer": ["a", "b"]}).encode(), "line 1: 'question' must be text"),
    "index of a choice that is not there": ("q.jsonl", asked(golden_answers=[3], choices=CHOICES), "line 1: the gold 3 is none of the 3 choices"),
    "letter of a choice that is not there": ("q.csv", b"q1,a,b,c,d,A\nq2,a,b,c,d,E\n", "line 2: the gold 'E' is none of"),
    "label of a choice that is not there": ("a.jsonl", lines(ARC_HUB | {"answerKey": "D"}), "line 1: the gold 'D' is none of"),
    "choices a text": ("q.jsonl", asked(answer=0, choices="iron, peat"), "line 1: 'choices' must be a list"),
    "answer an object": ("q.jsonl", asked(answer={"text": "Ilse"}), "line 1: an answer must be"),
    "answer over 64 bits": ("q.jsonl", asked(answer=123456789012345678901), "line 1: the number .* is too large"),
    "answer over 64 bits, array": ("q.json", array({"question": "Who?", "answer": 123456789012345678901}), "row 1: the number .* is too large"),
    "answer half a character": ("q.jsonl", asked(answers="['\\ud800']"), "line 1: an answer holds half of a character"),
    "no question": ("q.jsonl", HEAD + lines({"answer": "x"}), "line 2: no 'question'"),
    "question blank": ("q.jsonl", HEAD + lines({"question": " ", "answer": "x"}), "line 2: 'question' holds no word"),
    "question a number": ("q.jsonl", HEAD + lines({"question": 5}), "line 2: 'question' must be text"),
    "nan": ("q.jsonl", HEAD + b'{"question": "Who?", "answer": NaN}\n', "line 2: not valid JSON"),
    "lone surrogate": ("q.jsonl", HEAD + b'{"question": "Who?", "answer": "\\ud800"}\n', "line 2: not valid JSON"),
    "lone surrogate, array": ("q.json", b'[{"question": "Who?", "answer": "\\ud800"}]', "row 1: not valid JSON"),
    "latin-1": ("q.jsonl", HEAD + b'{"question": "caf\xe9?"}\n', "line 2: not valid JSON .not valid UTF-8.*iconv -f latin1 -t utf8 FILE"),
    "latin-1, table": ("q.csv", b"question,answer\nWho?,caf\xe9\n", "line 2: not valid UTF-8.*iconv -f latin1 -t utf8 FILE"),
    "torn last line": ("q.jsonl", TEXT[:-9], "line 2: not valid JSON"),
    "no object": ("q.jsonl", HEAD + b"[1]\n", "line 2: expected an object, found list"),
    "many brackets": ("q.jsonl", b'{"question": "Who?", "x": [' + b"{}," * 1_000_000 + b"{}]}", "line 1: more than 1,000,000 brackets"),
    "dpr, no list": ("nq-test.qa.csv", DPR + b"who\t['Ilse', x]\n", "line 3: the text .* begins like a list of answers and is none"),
    "nested deep": ("q.jsonl", HEAD + b'{"question": "Who?", "x": ' + DEEP + b"}\n", "line 2: not valid JSON .depth"),
    "nested deep, array": ("q.json", b'[{"question": "a", "answer": "b"}, {"question": "Who?", "x": ' + DEEP + b"}]", "row 2: not valid JSON .depth"),
    "nested over the limit": ("q.jsonl", asked(x=json.loads("[" * 100 + "]" * 100)), f"line 1: nested deeper than {MAX_DEPTH}"),
    "line over the limit": ("q.jsonl", HEAD + b'{"question": "' + b"x" * MAX_ROW + b'"}\n', "line 2: longer than 64 MiB"),
    "row over the limit": ("q.json", b'[{"question": "' + b"x" * MAX_ROW + b'"}]', "row 1: longer than 64 MiB"),
    "array, cut": ("q.json", array(ONE, TWO)[:-20], "q.json cannot be read as JSON .row 2: the file ends"),
    "array, more behind": ("q.json", array(ONE) + b"x", "q.json cannot be read as JSON"),
    "array without commas": ("q.json", b'[{"question": "a"} {"question": "b"}]', "expected ',', found '{'"),
    "empty": ("q.jsonl", b"", "q.jsonl holds no row"),
    "empty json": ("q.json", b"", "q.json is empty"),
    "empty array": ("q.json", b"[]", "q.json holds no row"),
    "empty data": ("q.json", b'{"data": []}', "q.json holds no row"),
    "header only": ("q.csv", b"question,answer\n", "q.csv holds no row"),
    "table without header": ("q.csv", b"Who ruled?,Ilse\nWho fell?,Orla\n", r"no known layout \(keys: 'Ilse', 'Who ruled\?'\)"),
    "two columns of one name": ("q.csv", b"question,answer,answer\nWho?,a,b\n", "line 1: two columns are named 'answer'"),
    "a cell too many": ("q.csv", b"question,answer\nWho?,Ilse\nWho, now?,x\n", "line 3: expected 2 cells, found 3"),
    "utf-16": ("q.jsonl", TEXT.decode().encode("utf-16"), "q.jsonl is UTF-16 text; save it as UTF-8"),
    "utf-16, table": ("q.csv", "question,answer\n".encode("utf-16"), "q.csv is UTF-16 text; save it as UTF-8"),
    "web page": ("q.json", b"\n<!DOCTYPE html>\n<html>404</html>", "q.json is a web page .* no rows"),
    "git-lfs pointer": ("q.json", b"version https://git-lfs.github.com/spec/v1\noid sha256:a\nsize 1\n", "a pointer of Git LFS"),
    "text": ("q.json", b"Who ruled Oost? Ilse", "q.json cannot be read as JSON"),
    "zip named jsonl": ("q.jsonl", b"PK\x03\x04" + bytes(40), "q.jsonl is a zip archive; unpack it"),
    "arrow": ("data-00000-of-00001.arrow", b"\xff\xff\xff\xff\x10\0\0\0", "is an Arrow stream or another binary file"),
    "gzip, cut": ("q.jsonl.gz", gzip.compress(TEXT)[:-9], "q.jsonl.gz is not a complete .gz file"),
    "bzip2, cut": ("q.json.bz2", bz2.compress(array(ONE))[:-9], "q.json.bz2 is not a complete .bz2 file"),
    "xz, cut": ("q.csv.xz", lzma.compress(b"question,answer\nWho?,x\n")[:-9], "q.csv.xz is not a complete .xz file"),
    "zstd, cut": ("q.jsonl.zst", zstd.compress(TEXT)[:-9], "q.jsonl.zst is not a complete .zst file"),
    "plain named zst": ("q.jsonl.zst", TEXT, "q.jsonl.zst is not a complete .zst file"),
    "parquet, cut": ("q.parquet", table(ONE)[:-9], "q.parquet is not a complete Parquet file"),
    "jsonl named parquet": ("q.parquet", TEXT, "q.parquet is not a complete Parquet file"),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_a_question_file_of_this_shape_is_read(name: str, tmp_path: Path) -> None:
    file, body, golds = READ[name]
    path = tmp_path / file
    path.write_bytes(body)
    questions = read_questions(path)
    assert [question.answers for question in questions] == golds
    made, bad = read_skipping(str(path))
    by_id = {row.question.id: row.question.answers for row in made if row.question.answers}
    assert by_id == {question.id: question.answers for question in questions if question.answers}
    assert {row.reason for row in bad} <= {"no gold answer"}


@pytest.mark.parametrize("name", REFUSED)
def test_a_question_file_of_this_shape_is_refused_by_place_and_reason(name: str, tmp_path: Path) -> None:
    file, body, reason = REFUSED[name]
    path = tmp_path / file
    path.write_bytes(body)
    with pytest.raises(UserError, match=reason) as refused:
        read_questions(SourceConfig(path=str(path)))
    said = str(refused.value)
    assert str(path) in said
    assert "\n" not in said
    assert len(said) < 600


def test_repeated_questions_are_counted_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(lines(ONE, TWO, ONE, ONE))
    assert len(read_questions(path)) == 2
    assert (
        capsys.readouterr().err == f"note: {path} holds 2 rows with a question that it had before; left out\n"
    )
    path.write_bytes(TEXT)
    read_questions(path)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("key", "noted"),
    [
        ("suporting_ids", True),
        ("supporting", True),
        ("gold_id", True),
        ("supporting_titles", False),
        ("note", False),
    ],
)
def test_a_key_that_is_nearly_that_of_the_gold_passages_is_noted(
    key: str, noted: bool, tmp_path: Path
) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(lines({"question": "Who?", "answers": ["x"], key: ["p1"]}))
    notes: list[str] = []
    read_questions(path, note=notes.append)
    said = f"note: {path}: nothing reads the key '{key}' of 1 row; did you mean 'supporting_ids', the ids of the gold passages?"
    assert notes == [said] * noted


def test_a_question_with_two_different_answers_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(lines(*({"question": "Who?", "answers": [gold]} for gold in "xyx")))
    notes: list[str] = []
    assert len(read_questions(path, note=notes.append)) == 2
    assert (
        f"note: {path}: 1 question stands there more than once with different answers; each is asked and scored"
        in notes
    )


def test_there_are_at_least_37_shapes() -> None:
    assert len(READ) + len(REFUSED) >= 37


def test_what_a_person_should_know_of_the_questions_is_noted_once_each(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    rows = [("a", "Who?"), ("a", "Where?"), ("b", "When?"), ("b", "When?")]
    path.write_bytes(lines(*({"id": own, "question": asked, "answers": ["x"]} for own, asked in rows)))
    notes: list[str] = []
    assert len({question.id for question in read_questions(path, limit=200, note=notes.append)}) == 3
    assert notes == [
        f"note: {path} holds 1 row with a question that it had before; left out",
        f"note: {path} gives an id (a) to several questions; all are asked, each under a hash of its text as its "
        "id",
        f"note: {path} holds 3 questions, fewer than the 200 that are wanted",
    ]


@pytest.mark.parametrize("first", ["questoin", "question"])
def test_a_misspelt_key_is_named(first: str, tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_bytes(lines({first: "Who?", "answers": ["x"]}, {"questoin": "Where?"}))
    with pytest.raises(UserError, match="'questoin' meant to be 'question'"):
        read_questions(tmp_path / "q.jsonl")
