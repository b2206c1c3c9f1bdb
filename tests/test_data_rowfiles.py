"""Question files of every kind: JSON, JSONL, tables, packed, broken off, of the hub."""

from __future__ import annotations

import csv
import gzip
import io
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow
import pytest
from helpers_data_rows import HOTPOTQA, HOTPOTQA_HUB, POPQA, Row, read, read_skipping, written
from pyarrow import parquet

from src_core.errors import UserError
from src_tasks.readers.sources import SourceConfig, read_source

BOM = b"\xef\xbb\xbf"
# Without the time of day: the bytes are part of a test's name, which must be the same in every process.
HALF_A_GZ = gzip.compress(b'{"question": "Who?", "answer": "x"}\n' * 99, mtime=0)[:-20]


def as_table(rows: list[Row], delimiter: str) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, list(rows[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()


BODIES: dict[str, Callable[[list[Row]], bytes]] = {
    "a.jsonl": lambda rows: b"\n\n".join(map(orjson.dumps, rows)),
    "a.json": orjson.dumps,
    "pretty.json": lambda rows: orjson.dumps(rows, option=orjson.OPT_INDENT_2),
    "lines.json": lambda rows: b"\r\n".join(map(orjson.dumps, rows)) + b"\r\n",
    "inside.json": lambda rows: orjson.dumps({"Version": 1, "Data": rows}, option=orjson.OPT_INDENT_2),
    "inside_on_one_line.json": lambda rows: orjson.dumps({"Data": rows, "Version": 1}),
    "a.tsv": lambda rows: as_table(rows, "\t"),
    "a.csv": lambda rows: as_table(rows, ","),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("bom", [b"", BOM])
def test_files_of_every_kind(name: str, packed: bool, bom: bytes, tmp_path: Path) -> None:
    rows = [POPQA, POPQA | {"question": 'Is "Mira\tToll" a name,\nor two?'}]
    body = bom + BODIES[name](rows)
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(body) if packed else body)
    made = read(str(path))
    assert [item.question.question for item in made] == [row["question"] for row in rows]


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("none.json", None, "no such file"),
        ("a.json", b"", "is empty"),
        ("a.jsonl", b"\n\n", "holds no row"),
        ("a.json", b"[]", "holds no row"),
        ("a.tsv", b"question\tanswer\n", "holds no row"),
        ("a.json", b"plain text", "cannot be read as JSON"),
        ("a.json", b'"text"', "neither a JSON array"),
        ("a.json", b'{\n"version": 1}', "neither a JSON array"),
        ("a.json", b'[{"question": "Who?", "answer": "x"}, {"question": "W', "cannot be read as JSON"),
        ("a.json", b'[{"question": "Who?", "answer": "x"}] more', "cannot be read as JSON"),
        ("a.json", b'[{"question": "\xff", "answer": "x"}]', "row 1: not valid JSON (not valid UTF-8"),
        ("a.jsonl.gz", HALF_A_GZ, "not a complete .gz"),
        ("a.jsonl.gz", b'{"question": "Who?", "answer": "x"}', "not a complete .gz"),
        ("a.jsonl", b'{"title": "Oost", "text": "A place."}', "no known layout (keys: 'text', 'title')"),
        ("a.jsonl", b"[1]\n[2]", "its rows are no objects"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(
    name: str, body: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if body is not None:
        path.write_bytes(body)
    with pytest.raises(UserError) as refused:
        read_skipping(str(path))
    assert message in str(refused.value)
    assert name in str(refused.value)


def test_a_known_layout_is_found_behind_a_malformed_first_row(tmp_path: Path) -> None:
    path = written(tmp_path, [b"{broken", {"note": "odd"}, HOTPOTQA, HOTPOTQA])
    made, bad = read_skipping(path)
    assert [item.question.meta["dataset"] for item in made] == ["hotpotqa"] * 2
    assert [row.place for row in bad] == ["line 1", "line 2"]


def test_a_file_that_the_machine_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").symlink_to("/proc/self/mem")
    with pytest.raises(UserError, match="could not read"):
        read(str(tmp_path / "a.jsonl"))


def test_rows_are_read_one_at_a_time(tmp_path: Path) -> None:
    """The broken end of a file is met only after the rows before it were handed out."""
    body = orjson.dumps([{"question": f"Question {n}?", "answer": "x" * 500} for n in range(5000)])
    (tmp_path / "a.json").write_bytes(body[:-3])
    rows = read_source(SourceConfig(path=str(tmp_path / "a.json")), report=print)
    assert len([next(rows) for _ in range(4500)]) == 4500
    with pytest.raises(UserError, match="cannot be read as JSON"):
        list(rows)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"77\tWho?", "expected 3 cells, found 2"),
        (b'77\t"Who? ""x"" y"z\t["x"]', "not a row of the table"),
        (b'77\tWho \xff?\t["x"]', "not valid UTF-8"),
        (b"77\tWho?\tno list", "is not valid JSON"),
    ],
)
def test_malformed_rows_of_tables(line: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    good = b'7\tWho is it?\t"[""x""]"'
    path.write_bytes(b"\n".join([b"id\tquestion\tpossible_answers", good, line, good]))
    made, bad = read_skipping(str(path))
    assert len(made) == 2
    assert [(row.place, reason in row.reason) for row in bad] == [("line 3", True)]


def test_a_quote_that_is_never_closed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'Question,Answer\nWho is it?,x\n"Who else?,y\nWho now?,z\n')
    made, bad = read_skipping(str(path))
    assert len(made) == 1
    assert [row.place for row in bad] == ["line 3"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "a", "format": "hotpot"}, "unknown format"),
        ({"path": "a", "n": -2}, "greater than or equal to -1"),
        ({"path": "hub:owner/name"}, "needs a split"),
    ],
)
def test_settings_that_make_no_sense(settings: Row, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SourceConfig(**settings)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """A stand-in for the package `datasets`; the calls that it got."""
    calls: list[tuple[Any, ...]] = []

    def load_dataset(name: str, subset: str | None, *, split: str, streaming: bool) -> Iterator[Row]:
        calls.append((name, subset, split, streaming))
        if name == "no/such":
            raise FileNotFoundError("Dataset 'no/such' doesn't exist\non the hub")
        return iter([HOTPOTQA_HUB, {**HOTPOTQA_HUB, "answer": ""}])

    module = types.ModuleType("datasets")
    module.__dict__["load_dataset"] = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    return calls


def test_a_set_of_the_hub(hub: list[tuple[Any, ...]]) -> None:
    made, bad = read_skipping("hub:owner/hotpot", subset="distractor", split="train")
    assert hub == [("owner/hotpot", "distractor", "train", True)]
    assert made[0].question.meta["split"] == "train"
    assert [(row.path, row.place) for row in bad] == [("hub:owner/hotpot", "row 2")]


def test_a_hub_set_that_cannot_be_had(hub: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"could not read hub:no/such .*doesn't exist on the hub"):
        read("hub:no/such", split="train")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match="needs the package datasets"):
        read("hub:owner/hotpot", split="train")


def test_parquet_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="needs the package pyarrow"):
        read(str(tmp_path / "a.parquet"))


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([HOTPOTQA_HUB] * 300), path)
    made = read(str(path))
    assert len(made) == 300
    assert made[-1] == read(written(tmp_path, [HOTPOTQA]))[0]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="not a complete Parquet file"):
        read(str(path))
