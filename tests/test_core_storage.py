"""Files survive kill -9 and full disks; question files load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from src_core.errors import UserError
from src_core.jsonl import JsonlWriter, drop_torn_tail, read_jsonl, rewrite_jsonl, write_atomic

ROOT = Path(__file__).resolve().parent.parent
ROWS = [{"id": 1, "text": "ä\n"}, {"id": 2}, {"id": 3, "text": "\U0001f600" * 3}]
DATA = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in ROWS)


@pytest.mark.parametrize("cut", range(len(DATA) + 1))
def test_a_file_cut_at_any_byte_keeps_its_whole_lines(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(DATA[:cut])
    whole = DATA[:cut].count(b"\n")
    read = list(read_jsonl(path, torn_tail_ok=True))
    assert read[:whole] == ROWS[:whole]
    assert read[whole:] in ([], ROWS[whole : whole + 1])  # only the line break may be missing
    with JsonlWriter(path) as writer:
        writer.write(b'{"id":4}')
    assert list(read_jsonl(path)) == [*ROWS[:whole], {"id": 4}]


def test_a_torn_tail_longer_than_a_block_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a":1}\n' + b"x" * 200_000)
    assert drop_torn_tail(path) == 200_000
    assert path.read_bytes() == b'{"a":1}\n'
    path.write_bytes(b"x" * 70_000)
    assert drop_torn_tail(path) == 70_000
    assert drop_torn_tail(path) == 0
    assert drop_torn_tail(tmp_path / "absent") == 0


@pytest.mark.parametrize("bad", [b'{"a":', b"nonsense", b"\xff\xfe", b'{"a": "\\ud800"}'])
def test_a_bad_line_is_named(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a":1}\n\n' + bad + b"\n{}\n")
    with pytest.raises(UserError, match=r"rows\.jsonl, line 3: not valid JSON"):
        list(read_jsonl(path, torn_tail_ok=True))


def test_a_line_that_is_no_object_and_a_missing_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"[1]\n")
    with pytest.raises(UserError, match=r"line 1: expected a JSON object, found \[1\]; correct"):
        list(read_jsonl(path))
    with pytest.raises(UserError, match="no such file"):
        list(read_jsonl(tmp_path / "absent.jsonl"))


FULL_DISK = """
import resource, sys
from pathlib import Path
from src_core.errors import UserError
from src_core.jsonl import JsonlWriter, write_atomic
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
folder = Path(sys.argv[1])
(folder / "whole.json").write_bytes(b"old")
with JsonlWriter(folder / "rows.jsonl") as writer:
    writer.write(b"1" * 60)
    for rows in ([b"2" * 60], [b"3" * 20, b"4" * 60]):
        try:
            writer.write_many(rows)
        except UserError as error:
            print(error)
    writer.write(b"5" * 10)
try:
    write_atomic(folder / "whole.json", b"x" * 200)
except UserError as error:
    print(error)
"""


def test_a_full_disk_leaves_whole_lines_and_the_old_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all("could not write" in line and "free some space" in line for line in lines)
    assert (tmp_path / "rows.jsonl").read_bytes() == b"1" * 60 + b"\n" + b"5" * 10 + b"\n"
    assert (tmp_path / "whole.json").read_bytes() == b"old"
    assert not list(tmp_path.glob("*.tmp"))


def test_files_are_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    rewrite_jsonl(path, [b"{}", b'{"a":1}'])
    assert path.read_bytes() == b'{}\n{"a":1}\n'
    write_atomic(path, b"")
    assert path.read_bytes() == b""
    assert [file.name for file in path.parent.iterdir()] == ["rows.jsonl"]
