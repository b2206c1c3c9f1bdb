"""The corpus reader: formats, random access, errors that name file and line, the offsets cache."""

from __future__ import annotations

import csv
import gzip
import io
import os
import resource
import shutil
import signal
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.errors import UserError
from src_retrieval.corpus import open_corpus
from src_retrieval.npyfile import NpyAppender
from src_retrieval.rows import to_passage

printable = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
one_line = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0"), min_size=1, max_size=40
)
names = st.lists(one_line, min_size=1, max_size=8, unique=True)


def written(folder: Path, lines: list[bytes], name: str = "corpus.jsonl") -> Path:
    path = folder / name
    path.write_bytes(b"\n".join(lines))
    return path


@settings(max_examples=60, deadline=None)
@given(ids=names, data=st.data())
def test_every_jsonl_row_comes_back_by_row_and_by_id(ids: list[str], data: st.DataObject) -> None:
    texts = [data.draw(printable.filter(str.strip)) for _ in ids]
    rows = [{"id": key, "contents": text} for key, text in zip(ids, texts, strict=True)]
    lines = [orjson.dumps(row) for row in rows]
    for at in data.draw(st.lists(st.integers(0, len(lines)), max_size=3)):
        lines.insert(at, data.draw(st.sampled_from([b"", b"  ", b"\r"])))
    with tempfile.TemporaryDirectory() as folder:
        corpus = open_corpus(written(Path(folder), lines), Path(folder) / "cache")
        assert [corpus.row(at).contents for at in range(len(corpus))] == texts
        assert [corpus.row_of(key) for key in ids] == list(range(len(ids)))
        assert [orjson.loads(corpus.document(at)) for at in range(len(corpus))] == rows
        corpus.close()


@settings(max_examples=60, deadline=None)
@given(ids=names, data=st.data())
def test_every_dpr_row_comes_back(ids: list[str], data: st.DataObject) -> None:
    texts = [data.draw(one_line.filter(str.strip)) for _ in ids]
    titles = [data.draw(st.one_of(st.just(""), one_line)) for _ in ids]
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
    writer.writerow(["id", "text", "title"])
    writer.writerows(zip(ids, texts, titles, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "passages.tsv"
        path.write_bytes(buffer.getvalue().encode())
        corpus = open_corpus(path, Path(folder) / "cache")
        assert [corpus.row(at).id for at in range(len(corpus))] == ids
        for at, (title, text) in enumerate(zip(titles, texts, strict=True)):
            expected = f"{' '.join(title.split())}\n{text}" if title.strip() else text
            assert corpus.row(at).contents == expected
        corpus.close()


def test_a_quoted_first_line_becomes_the_title_and_stays_in_contents(tmp_path: Path) -> None:
    line = orjson.dumps({"id": "7", "contents": '"Aida"\nAn opera.'})
    passage = to_passage(open_corpus(written(tmp_path, [line]), tmp_path / "c").row(0))
    assert (passage.title, passage.text, passage.scores) == ("Aida", "An opera.", {})
    assert passage.contents == '"Aida"\nAn opera.'


def test_title_and_text_are_joined_and_missing_ids_are_row_numbers(tmp_path: Path) -> None:
    lines = [
        orjson.dumps({"title": "A", "text": "one", "extra": [1]}),
        b"",
        orjson.dumps({"contents": "two"}),
        orjson.dumps({"contents": "three"}),
    ]
    corpus = open_corpus(written(tmp_path, lines), tmp_path / "c")
    assert [corpus.row(at).id for at in range(3)] == ["0", "1", "2"]
    assert orjson.loads(corpus.document(0)) == {"id": "0", "contents": "A\none"}
    assert corpus.row_of("2") == 2
    assert corpus.row_of("3") is None


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b'{"id": "x", "contents": "torn', "not valid JSON"),
        (b'["x"]', "expected a JSON object"),
        (b'{"id": "x"}', "'contents'"),
        (b'{"id": "x", "contents": 3}', "must be text"),
        (b'{"id": "x", "contents": " "}', "empty"),
        (b'{"id": 1.5, "contents": "a"}', "the id"),
        (b'{"id": "x", "contents": "\xff"}', "not valid JSON"),
        (b'{"id": "a", "contents": "again"}', "used before"),
    ],
)
def test_a_malformed_row_is_named_by_file_and_line(tmp_path: Path, bad: bytes, said: str) -> None:
    path = written(tmp_path, [b'{"id": "a", "contents": "fine"}', b"", bad, b""])
    with pytest.raises(UserError, match="line 3") as caught:
        open_corpus(path, tmp_path / "c")
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("lines", [[b"no header here"], [b"id\ttext\ttitle", b"1\tonly two"]])
def test_a_malformed_dpr_file_is_named_by_line(tmp_path: Path, lines: list[bytes]) -> None:
    with pytest.raises(UserError, match=f"line {len(lines)}"):
        open_corpus(written(tmp_path, lines, "p.tsv"), tmp_path / "c")


def test_an_empty_or_absent_corpus_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no passage"):
        open_corpus(written(tmp_path, [b""]), tmp_path / "c")
    with pytest.raises(UserError, match="no corpus at"):
        open_corpus(tmp_path / "absent.jsonl", tmp_path / "c")


def test_rows_outside_the_corpus_raise_instead_of_wrapping_around(tmp_path: Path) -> None:
    corpus = open_corpus(written(tmp_path, [b'{"id": "a", "contents": "b"}']), tmp_path / "c")
    for number in (-1, 1):
        with pytest.raises(IndexError):
            corpus.row(number)


def test_offsets_are_reused_while_the_file_is_the_same_and_made_anew_when_it_changed(tmp_path: Path) -> None:
    path = written(tmp_path, [b'{"id": "a", "contents": "one"}'])
    cache = tmp_path / "c"
    first = open_corpus(path, cache).info
    stamp = (cache / "corpus.offsets.npy").stat().st_mtime_ns
    os.utime(path, ns=(1, 1))
    assert open_corpus(path, cache).info.sha256 == first.sha256
    assert (cache / "corpus.offsets.npy").stat().st_mtime_ns == stamp
    path.write_bytes(b'{"id": "a", "contents": "two"}')
    assert open_corpus(path, cache).row(0).contents == "two"
    assert open_corpus(path, cache).info.sha256 != first.sha256


def test_an_appended_npy_file_loads_like_any_other(tmp_path: Path) -> None:
    with NpyAppender(tmp_path / "a.npy", "<u8") as out:
        for value in range(70_000):
            out.append(value)
    assert np.array_equal(np.load(tmp_path / "a.npy", mmap_mode="r"), np.arange(70_000))


# --- copies of packed corpora ---

PACKED = gzip.compress(b'{"id": "a", "contents": "one"}\n')


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl.gz"
    path.write_bytes(PACKED)
    return path


def opened_text(path: Path, cache: Path) -> str:
    with closing(open_corpus(path, cache)) as corpus:
        return corpus.row(0).contents


def test_a_packed_corpus_is_unpacked_once(packed: Path, tmp_path: Path) -> None:
    cache = tmp_path / "c"
    assert opened_text(packed, cache) == "one"
    copy = cache / "corpus.unpacked.jsonl"
    stamp = copy.stat().st_mtime_ns
    os.utime(packed, ns=(1, 1))
    assert opened_text(packed, cache) == "one"
    assert copy.stat().st_mtime_ns == stamp, "the time changed, the bytes did not"
    packed.write_bytes(gzip.compress(b'{"id": "a", "contents": "two"}\n'))
    assert opened_text(packed, cache) == "two"


@pytest.mark.parametrize("spoil", ["copy", "note"])
def test_a_copy_that_is_not_whole_is_made_again(packed: Path, tmp_path: Path, spoil: str) -> None:
    cache = tmp_path / "c"
    opened_text(packed, cache)
    name = {"copy": "corpus.unpacked.jsonl", "note": "corpus.source.json"}[spoil]
    (cache / name).write_bytes((cache / name).read_bytes()[:-5])
    assert opened_text(packed, cache) == "one"


def test_a_packed_corpus_has_the_digest_of_its_text(packed: Path, tmp_path: Path) -> None:
    plain = written(tmp_path, [b'{"id": "a", "contents": "one"}', b""])
    first, second = open_corpus(packed, tmp_path / "c").info, open_corpus(plain, tmp_path / "d").info
    assert first.sha256 == second.sha256


def test_a_disk_without_room_for_the_copy_is_one_sentence(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    with pytest.raises(UserError, match=r"the unpacked copy of .* needs more than the 0.0 GB"):
        open_corpus(packed, tmp_path / "c")
    assert not list((tmp_path / "c").glob("corpus.unpacked*"))


def test_a_full_disk_while_unpacking_is_one_sentence_and_the_next_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl.gz"
    rows = b"".join(orjson.dumps({"id": str(n), "contents": "x" * 1000}) + b"\n" for n in range(3000))
    path.write_bytes(gzip.compress(rows))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(UserError, match=r"could not write the unpacked copy of .* free some space"):
            open_corpus(path, tmp_path / "c")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert len(open_corpus(path, tmp_path / "c")) == 3000


def test_unpacking_reports_the_bytes_of_the_source(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(b'{"id": "%d", "contents": "x"}\n' % n for n in range(20_000))))
    seen: list[int] = []
    for _ in range(2):
        seen.clear()
        open_corpus(path, tmp_path / "c", advance=seen.append).close()
        (tmp_path / "c" / "corpus.json").unlink()
        assert abs(sum(seen) - path.stat().st_size) < 3


def test_rows_without_ids_are_numbered_with_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    open_corpus(written(tmp_path, [b'{"contents": "one"}']), tmp_path / "c")
    assert "have no ids: their numbers from 0 are used" in caplog.text


def test_a_folder_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder; name a file in it"):
        open_corpus(tmp_path, tmp_path / "c")
