"""Ready corpora from a local file server: resume, digests, counts, mirrors, damaged and hostile archives."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from src_core.errors import UserError
from src_retrieval.get_corpus import CATALOGUE, SOURCE, GetSettings, get_corpus, published

ROOT = Path(__file__).resolve().parent.parent
ROWS = [{"_id": str(n), "title": f"T{n}", "text": f"Passage {n} of the corpus. " * 30} for n in range(200)]


class Files(http.server.BaseHTTPRequestHandler):
    """Serves `files` with `Range`; each number in `cuts` ends one reply after so many bytes."""

    files: ClassVar[dict[str, bytes]] = {}
    cuts: ClassVar[list[int]] = []
    asked: ClassVar[list[tuple[str, str]]] = []
    statuses: ClassVar[list[int]] = []
    ranges: ClassVar[bool] = True

    def do_GET(self) -> None:
        """A file, or the part that is asked for."""
        self.asked.append((self.path, self.headers.get("Range", "")))
        body = self.files.get(self.path.rpartition("/")[2])
        status = self.statuses.pop(0) if self.statuses else 200 if body is not None else 404
        if status != 200 or body is None:
            self.send_response(status)
            self.end_headers()
            return
        mark = f'"{hashlib.md5(body).hexdigest()}"'
        first = 0
        if self.ranges and "Range" in self.headers and self.headers.get("If-Range") == mark:
            first = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - first))
        self.send_header("ETag", mark)
        self.end_headers()
        self.wfile.write(body[first : first + (self.cuts.pop(0) if self.cuts else len(body))])

    def log_message(self, *_: Any) -> None:
        """Silence."""


@pytest.fixture
def mirror() -> Iterator[str]:
    Files.files, Files.cuts, Files.asked, Files.statuses, Files.ranges = {}, [], [], [], True
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/corpora"
        server.shutdown()
        thread.join()


def zipped(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name, body in members.items():
            file.writestr(name, body)
    return made.getvalue()


BODY = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
SCIFACT = zipped({"scifact/corpus.jsonl": BODY, "scifact/queries.jsonl": b"{}\n"})


def listed(folder: Path, **more: Any) -> Path:
    """A catalogue with one corpus, of which the given facts are published."""
    file = folder / "corpora.yaml"
    facts = {"md5": hashlib.md5(SCIFACT).hexdigest(), "rows": 200, **more}
    file.write_text(yaml.safe_dump({"beir:scifact": facts}), encoding="utf-8")
    return file


def fetched(folder: Path, mirror: str, **more: Any) -> Path:
    settings = GetSettings(folder=str(folder / "out"), mirror=mirror, tries=3, timeout=5)
    return get_corpus("beir:scifact", settings, catalogue=listed(folder, **more), pause=0)


def test_a_corpus_is_downloaded_checked_counted_and_recorded_once(tmp_path: Path, mirror: str) -> None:
    Files.files["scifact.zip"] = SCIFACT
    corpus = fetched(tmp_path, mirror)
    assert corpus.read_bytes() == BODY
    record = json.loads((corpus.parent / SOURCE).read_text())
    assert record["sha256"] == hashlib.sha256(SCIFACT).hexdigest()
    assert (record["compared_with"], record["rows"]) == ("the published md5", 200)
    assert sorted(file.name for file in corpus.parent.iterdir()) == ["corpus.jsonl", SOURCE]
    assert fetched(tmp_path, mirror) == corpus
    assert Files.asked == [("/corpora/scifact.zip", "")]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_goes_on_where_it_stopped(tmp_path: Path, mirror: str, ranges: bool) -> None:
    Files.files["scifact.zip"], Files.cuts, Files.ranges = SCIFACT, [1000, 500], ranges
    assert fetched(tmp_path, mirror).read_bytes() == BODY
    assert [asked for _, asked in Files.asked] == [
        "",
        "bytes=1000-",
        "bytes=1500-" if ranges else "bytes=500-",
    ]


def test_a_command_that_was_killed_goes_on_and_another_file_starts_over(tmp_path: Path, mirror: str) -> None:
    Files.files["scifact.zip"], Files.cuts = SCIFACT[:-1] + b"x", [1000] * 3
    with pytest.raises(UserError, match="3,000 bytes are kept, and the same command goes on"):
        fetched(tmp_path, mirror)
    Files.files["scifact.zip"] = SCIFACT
    assert fetched(tmp_path, mirror).read_bytes() == BODY
    assert Files.asked[-1] == ("/corpora/scifact.zip", "bytes=3000-")


def test_a_busy_server_is_asked_again_and_a_missing_file_is_one_sentence(tmp_path: Path, mirror: str) -> None:
    Files.files["scifact.zip"], Files.statuses = SCIFACT, [503, 500]
    assert fetched(tmp_path, mirror).is_file()
    Files.files, Files.asked = {}, []
    with pytest.raises(UserError, match=r"is not there \(HTTP 404\); name another place with MIRROR"):
        fetched(tmp_path / "new", mirror) if (tmp_path / "new").mkdir() is None else None
    assert len(Files.asked) == 1


def test_where_nothing_can_be_reached_one_sentence_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError) as failed:
        fetched(tmp_path, "http://127.0.0.1:1")
    assert "cannot be reached" in str(failed.value)
    assert "put scifact.zip into" in str(failed.value)
    assert "\n" not in str(failed.value)


def test_a_file_that_a_person_put_there_is_used(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scifact.zip").write_bytes(SCIFACT)
    assert fetched(tmp_path, "http://127.0.0.1:1").read_bytes() == BODY


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"md5": "0" * 32}, "and 00000000000000000000000000000000 is published"),
        ({"md5": "", "sha256": "1" * 64}, "sha256"),
        ({"rows": 201}, "has 200 passages, and 201 are published"),
        ({"size": 7}, "and 7 are published; it is another file"),
    ],
)
def test_another_digest_count_or_size_is_refused(
    tmp_path: Path, mirror: str, facts: dict[str, Any], said: str
) -> None:
    Files.files["scifact.zip"] = SCIFACT
    with pytest.raises(UserError, match=said):
        fetched(tmp_path, mirror, **facts)
    assert not (tmp_path / "out" / SOURCE).exists()


def test_where_no_digest_is_published_the_one_seen_is_said_and_recorded(
    tmp_path: Path, mirror: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Files.files["scifact.zip"] = SCIFACT
    corpus = fetched(tmp_path, mirror, md5="")
    seen = hashlib.sha256(SCIFACT).hexdigest()
    assert (
        f"no digest of scifact.zip is published; the sha256 of this file is {seen}" in capsys.readouterr().err
    )
    assert json.loads((corpus.parent / SOURCE).read_text())["compared_with"].startswith("nothing")
    corpus.unlink()
    Files.files["scifact.zip"] = zipped({"corpus.jsonl": BODY})
    fetched(tmp_path, mirror, md5="")
    assert f"another file than the one before (sha256 {seen})" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"no archive", "is damaged"),
        (SCIFACT[: len(SCIFACT) // 2], "is damaged"),
        (SCIFACT.replace(b"Passage 7", b"Passage 8", 1), "is damaged"),
        (zipped({"a.jsonl": BODY, "b.jsonl": BODY}), "holds 2 corpora"),
        (zipped({"readme": b"x"}), "holds 0 corpora"),
        (zipped({"corpus.jsonl": b"<html>not here</html>\n"}), "check the file at its source"),
        (zipped({"corpus.jsonl": b""}), "check the file at its source"),
    ],
)
def test_damaged_and_other_archives_are_one_sentence(
    tmp_path: Path, mirror: str, body: bytes, said: str
) -> None:
    Files.files["scifact.zip"] = body
    with pytest.raises(UserError, match=said):
        fetched(tmp_path, mirror, md5="")
    left = {file.name for file in (tmp_path / "out").iterdir()}
    assert left == {"scifact.zip"}


def test_a_member_that_leads_elsewhere_is_written_to_our_own_file(tmp_path: Path, mirror: str) -> None:
    Files.files["scifact.zip"] = zipped({"../../corpus.jsonl": BODY})
    corpus = fetched(tmp_path, mirror, md5="")
    assert corpus == tmp_path / "out" / "corpus.jsonl"
    assert not (tmp_path / "corpus.jsonl").exists()


def test_the_table_of_dpr_is_unpacked_and_its_header_not_counted(tmp_path: Path, mirror: str) -> None:
    table = b"id\ttext\ttitle\n" + b"".join(b'%d\t"text"\ttitle\n' % n for n in range(9))
    Files.files["psgs_w100.tsv.gz"] = gzip.compress(table)
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump({"psgs_w100": {"url": "https://x.example/psgs_w100.tsv.gz", "rows": 9}}))
    settings = GetSettings(folder=str(tmp_path / "out"), mirror=mirror)
    assert get_corpus("psgs_w100", settings, catalogue=file).read_bytes() == table


def test_the_catalogue_holds_what_is_published_and_nothing_made_up() -> None:
    names = yaml.safe_load(CATALOGUE.read_text(encoding="utf-8"))
    assert {"wiki18", "psgs_w100", "hotpotqa", "beir:scifact", "beir:nfcorpus"} <= set(names)
    for name in names:
        entry = published(name)
        assert entry.url.startswith("https://")
        assert entry.rows > 0
        assert len(entry.md5) in (0, 32)
        assert len(entry.sha256) in (0, 64)
    assert published("hotpotqa") == published("beir:hotpotqa")
    assert published("psgs_w100").sha256 == published("psgs_w100").md5 == ""
    with pytest.raises(UserError, match="did you mean beir:scifact"):
        published("beir:scifacts")


def test_the_script_gets_a_corpus_from_a_mirror_and_says_what_comes_next(tmp_path: Path, mirror: str) -> None:
    Files.files["nfcorpus.zip"] = SCIFACT
    venv = tmp_path / "venv/bin"
    venv.mkdir(parents=True)
    (venv / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (venv / "python").chmod(0o755)
    environment = {**os.environ, "MIRROR": mirror, "VENV": str(venv.parent)}
    command = ["bash", "scripts/get_corpus.sh", "beir:nfcorpus", f"folder={tmp_path}/out"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "a89dba18a62ef92f7d323ec890a0d38d is published" in done.stderr
    assert done.stderr.count("\n") == 1
