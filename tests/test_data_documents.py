"""Documents of five formats become passages with sources; what cannot be read is named."""

from __future__ import annotations

import json
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from helpers_documents import write_docx, write_pdf
from helpers_llm import ROOT
from hypothesis import given
from hypothesis import strategies as st

from src_core.errors import UserError
from src_data.documents.blocks import Block, BlockKind, markdown_blocks
from src_data.documents.chunking import Chunking, chunks
from src_data.documents.corpus import DocumentCount, DocumentsConfig, documents_corpus
from src_data.documents.long_rows import LongRowsConfig, cut_long_rows
from src_data.documents.reading import READERS, DocumentError, read_document
from src_tasks.retrieval import retrieval_scores

MANUAL = """---
author: nobody
---
# Pump manual

The **P-200** pump moves [water](http://x). It was built in 2019.

## Limits

| part | limit |
|------|:-----:|
| inlet | 4 bar |

```
x = 1
```
"""


def corpus(folder: Path, **settings: Any) -> tuple[list[dict[str, Any]], DocumentCount]:
    path = folder.parent / "corpus.jsonl"
    count = documents_corpus(
        DocumentsConfig(documents=str(folder), corpus=str(path), chunking=Chunking(**settings))
    )
    return [orjson.loads(line) for line in path.read_bytes().splitlines()], count


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "documents"
    (made / "sub").mkdir(parents=True)
    (made / "manual.md").write_text(MANUAL)
    (made / "sub" / "notes.txt").write_text("The key is under the\nmat.\n\nIt is 3 cm long.\n")
    (made / "staff.html").write_text(
        "<html><head><title>Staff</title></head><body><script>alert(1)</script><p>Oda leads <b>sales</b>.</p>"
        "<h2>Rooms</h2><table><tr><th>name</th><th>room</th></tr><tr><td>Nils</td><td>14</td></tr></table></body>"
    )
    write_pdf(
        made / "report.pdf", [["Cargo grew by nine per-", "cent."], ["The harbour master is Ida Holm."]]
    )
    write_docx(
        made / "policy.docx", [("1", "Travel policy"), ("", "Trips need approval."), ("|", "Velby|120")]
    )
    return made


def test_the_shell_knows_the_endings_of_documents_and_one_is_counted_as_one(tmp_path: Path) -> None:
    names = [f"a{suffix}" for suffix in READERS] + [
        "A.TXT",
        str(tmp_path),
        "a.jsonl",
        "a.tsv",
        "md",
        "a.md.jsonl",
    ]
    code = 'source deploy/corpus.sh; for name; do is_documents "$name" && echo "$name"; done; true'
    done = subprocess.run(["bash", "-c", code, "-", *names], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == names[:-4]
    (tmp_path / "one.txt").write_text("The key is under the mat.")
    rows, count = corpus(tmp_path / "one.txt")
    assert [row["contents"] for row in rows] == ["one [one.txt]\nThe key is under the mat."]
    assert list(count.lines()) == ["1 passage from 1 document"]


def test_each_format_gives_passages_with_headings_and_sources(folder: Path) -> None:
    rows, count = corpus(folder)
    found = {(row["source"], row["contents"]) for row in rows}
    assert count.files == 5
    assert (
        "manual.md",
        "Pump manual [manual.md]\nThe P-200 pump moves water. It was built in 2019.",
    ) in found
    assert ("manual.md", "Pump manual > Limits [manual.md]\n| part | limit |\n| inlet | 4 bar |") in found
    assert ("manual.md", "Pump manual > Limits [manual.md]\nx = 1") in found
    assert ("sub/notes.txt", "notes [sub/notes.txt]\nThe key is under the mat.\nIt is 3 cm long.") in found
    assert ("staff.html", "Staff [staff.html]\nOda leads sales.") in found
    assert any(source == "staff.html" and "| Nils | 14 |" in text for source, text in found)
    assert ("policy.docx", "Travel policy [policy.docx]\nTrips need approval.") in found
    assert any(source == "policy.docx" and "Velby | 120" in text for source, text in found)
    assert not any("alert" in text for _, text in found)


def test_a_pdf_passage_names_its_pages(folder: Path) -> None:
    pdf = [row for row in corpus(folder)[0] if row["source"] == "report.pdf"]
    assert [(row["contents"], row["page"]) for row in pdf] == [
        ("report [report.pdf, page 1-2]\nCargo grew by nine percent.\nThe harbour master is Ida Holm.", "1-2")
    ]
    assert all("page" not in row for row in corpus(folder)[0] if row["source"] != "report.pdf")


def test_an_edit_changes_only_the_ids_of_what_it_changed(folder: Path) -> None:
    before = {row["id"] for row in corpus(folder)[0]}
    (folder / "manual.md").write_text(MANUAL.replace("2019", "2020"))
    after = {row["id"] for row in corpus(folder)[0]}
    assert len(before - after) == len(after - before) == 1


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("cut.pdf", b"%PDF-1.4 broken", "cannot be read as PDF"),
        ("cut.docx", b"PK\x03\x04 broken", "cannot be read as DOCX"),
        ("empty.md", b"", "holds no text"),
        ("heading.md", b"# Only a heading\n", "holds no text"),
        ("deep.html", b"<div>" * 5000 + b"x", "nested too deep"),
    ],
)
def test_a_document_that_cannot_be_read_is_named_with_its_reason(
    folder: Path, name: str, data: bytes, reason: str
) -> None:
    (folder / name).write_bytes(data)
    _, count = corpus(folder)
    assert count.files == 5
    assert len(count.failed) == 1
    assert count.failed[0].startswith(name)
    assert reason in count.failed[0]


def test_other_files_are_counted_and_a_folder_without_passages_is_refused(folder: Path) -> None:
    (folder / "table.xlsx").write_bytes(b"x")
    (folder / ".hidden.md").write_text("secret")
    rows, count = corpus(folder)
    assert count.other == {".xlsx": 1}
    assert not any("secret" in row["contents"] for row in rows)
    empty = folder.parent / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="gives no passage"):
        corpus(empty)
    with pytest.raises(UserError, match="no such folder"):
        corpus(folder.parent / "typo")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("Grüße aus Velby.".encode("utf-16"), "Grüße aus Velby."),
        ("\ufeffGrüße.".encode(), "Grüße."),
        (
            "Die Brücke über den Fluß heißt schöne Brücke. Übermäßig größer.".encode("cp1252"),
            "Die Brücke über den",
        ),
    ],
)
def test_encodings_of_text_files(tmp_path: Path, data: bytes, text: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    assert read_document(tmp_path / "a.txt").blocks[0].text.startswith(text)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Café Lumière"),
        ("latin-1", "Café Lumière"),
        ("cp1252", "¿Qué? Fraîche, œuvre, 50 € für 3 m³ – “quoted”"),
        ("cp1250", "Łódź jest miastem w Polsce. Zażółć gęślą jaźń."),
        ("cp1251", "Москва — столица России."),
        ("utf-16-le", "Plain text of another system, without a mark."),
    ],
)
def test_a_file_that_is_not_utf_8_is_western_unless_its_bytes_speak_against_it(
    encoding: str, text: str, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    read = read_document(tmp_path / "a.txt")
    assert read.blocks[0].text == text
    assert read.guessed == {"latin-1": "cp1252", "utf-16-le": "utf_16_le"}.get(encoding, encoding)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "b.txt").write_bytes(text.encode(encoding))
    (folder / "c.txt").write_text(text, encoding="utf-8")
    count = documents_corpus(DocumentsConfig(documents=str(folder), corpus=str(tmp_path / "c.jsonl")))
    assert f"not in UTF-8, read as {read.guessed}: 1 document (b.txt)" in "\n".join(count.lines())


def test_bytes_that_are_no_text_are_not_read_as_letters(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(bytes(range(256)) * 9)
    with pytest.raises(DocumentError, match="not text"):
        read_document(tmp_path / "a.txt")


def test_an_encrypted_or_scanned_pdf_says_so(tmp_path: Path) -> None:
    write_pdf(tmp_path / "scan.pdf", [[]])
    with pytest.raises(DocumentError, match="text recognition"):
        read_document(tmp_path / "scan.pdf")


def test_long_sections_are_cut_at_sentences_with_an_overlap() -> None:
    sentences = [f"Sentence number {n} has some words in it." for n in range(40)]
    blocks = [Block(BlockKind.HEADING, "Top", 1), Block(BlockKind.TEXT, " ".join(sentences))]
    made = list(chunks(blocks, settings=Chunking(passage_chars=300, overlap_chars=60)))
    assert all(len(chunk.text) <= 300 and chunk.path == ("Top",) for chunk in made)
    for sentence in sentences:
        assert any(sentence in chunk.text for chunk in made)
    for before, after in pairwise(made):
        assert after.text.split(".")[0] in before.text  # the first sentence of a passage is repeated


def test_a_long_table_repeats_its_first_row() -> None:
    rows = "\n".join(f"| town {n} | {n} |" for n in range(60))
    made = list(
        chunks([Block(BlockKind.TABLE, f"| name | size |\n{rows}")], settings=Chunking(passage_chars=200))
    )
    assert len(made) > 3
    assert all(chunk.text.startswith("| name | size |\n") and len(chunk.text) <= 200 for chunk in made)
    assert "| town 59 | 59 |" in made[-1].text


@given(st.lists(st.text(max_size=500), max_size=6), st.integers(100, 400), st.integers(0, 200))
def test_no_word_is_lost_and_no_passage_is_too_long(texts: list[str], size: int, overlap: int) -> None:
    blocks = [Block(BlockKind.TEXT, text) for text in texts]
    made = list(chunks(blocks, settings=Chunking(passage_chars=size, overlap_chars=overlap)))
    assert all(len(chunk.text) <= size for chunk in made)
    together = "".join("".join(chunk.text.split()) for chunk in made)
    if overlap == 0:
        assert together == "".join("".join(text.split()) for text in texts)


@given(st.text(alphabet="#*_-|`>[]() \nab1.", max_size=300))
def test_any_markdown_gives_blocks(text: str) -> None:
    assert all(isinstance(block.text, str) and block.text for block in markdown_blocks(text))


def test_long_rows_of_a_corpus_are_cut_and_short_ones_stay(tmp_path: Path) -> None:
    source, out = tmp_path / "c.jsonl", tmp_path / "out.jsonl"
    long = " ".join(f"Sentence {n} tells of town {n * 3}." for n in range(120))
    rows = [
        {"id": "a", "title": "A", "text": "Short."},
        {"_id": "b"},
        {"id": "b", "title": "B", "text": long},
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in (rows[0], rows[2])))
    settings = LongRowsConfig(corpus=str(source), out=str(out))
    assert cut_long_rows(settings) == out
    made = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in made[:3]] == ["a", "b", "b#2"]
    assert made[0]["contents"] == "A\nShort."
    assert all(row["contents"].startswith("B\n") and len(row["contents"]) < 1_010 for row in made[1:])
    assert all(any(f"Sentence {n} tells" in row["contents"] for row in made) for n in range(120))
    # Any part of a gold passage counts as found.
    assert retrieval_scores([["x", "b#3"]], ["b"], k=2)["recall"] == 1.0
    assert retrieval_scores([["x", "b#3"]], ["b#2"], k=2)["recall"] == 0.0
    source.write_text(json.dumps(rows[0]) + "\n")
    assert cut_long_rows(settings) == source
    source.write_text("".join(json.dumps(row) + "\n" for row in (rows[2], {**rows[0], "id": "b#2"})))
    with pytest.raises(UserError, match="rename that one"):
        cut_long_rows(settings)
