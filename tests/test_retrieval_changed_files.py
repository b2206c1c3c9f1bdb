"""What a running retriever does when its index or its corpus is changed: the old answers, or 503."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from test_retrieval_build import QUIET, config

from src_core.errors import UserError
from src_retrieval.build import build_index
from src_retrieval.corpus import open_corpus
from src_retrieval.watch_files import FilesChangedError, FileWatch, OpenFile

ROWS, SMALL = 600, 50


class Answer(NamedTuple):
    """Of `/search`: the ids, or the detail of an error."""

    status: int
    ids: list[str]
    detail: str


class Server(NamedTuple):
    """A running retriever over `folder`/corpus.jsonl and `folder`/index."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def ask(self, query: str) -> Answer:
        """The answer is always JSON, and the server stays alive."""
        body = json.dumps({"query": query, "top_n": 3}).encode()
        url = f"http://127.0.0.1:{self.port}/search"
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=20
            ) as reply:
                answer = Answer(200, [row["id"] for row in json.load(reply)], "")
        except urllib.error.HTTPError as error:
            answer = Answer(error.code, [], json.load(error)["detail"])
        assert self.process.poll() is None
        return answer

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def write_rows(path: Path, first: int, count: int) -> None:
    rows = (
        {"id": f"d{at}", "contents": f"Title {at}\nwords of w{at} w{at // 10}"} for at in range(first, count)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    write_rows(folder / "corpus.jsonl", 0, ROWS)
    build_index(config(folder), steps=QUIET)
    return folder


@pytest.fixture
def server(built: Path, tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "served"
    shutil.copytree(built, folder)
    port = free_port()
    values = [
        "retrieval_method=toy",
        f"index_path={folder / 'index'}",
        f"corpus_path={folder / 'corpus.jsonl'}",
        f"port={port}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "src_retrieval.server", *values], stderr=log)
    running = Server(folder, port, process)
    deadline = time.monotonic() + 60
    while "serving" not in running.log and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running.ask("w55 w60").status == 200, running.log
    yield running
    process.terminate()
    process.wait(20)


def test_builds_into_the_folder_leave_the_old_answers(server: Server, tmp_path: Path) -> None:
    before = server.ask("w123 w45")
    names = {path: path.stat().st_mtime_ns for path in (server.folder / "index").rglob("*")}
    write_rows(tmp_path / "corpus.jsonl", 0, SMALL)
    other = [f"corpus={tmp_path / 'corpus.jsonl'}", f"index_dir={server.folder / 'index'}", "encoder=toy"]
    command = [sys.executable, "-m", "src_retrieval.build", *other]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "holds a finished index with another corpus" in refused.stderr
    lock = server.folder / "index" / "build.lock"
    now = {path: path.stat().st_mtime_ns for path in (server.folder / "index").rglob("*")}
    assert {key: now[key] for key in now if key not in (lock, lock.parent)} == {
        key: names[key] for key in names if key not in (lock, lock.parent)
    }
    assert server.ask("w45 w123").ids == before.ids[:]
    subprocess.run([*command, "overwrite=true"], capture_output=True, check=True)
    deadline = time.monotonic() + 20
    while "was replaced" not in server.log and time.monotonic() < deadline:
        assert server.ask("w123 w45") == before
        time.sleep(0.2)
    assert server.ask("w450").ids[0] == "d450"  # a row that the new index does not have
    assert server.log.count("was replaced: this server goes on with the old files") == 1


@pytest.mark.parametrize("what", ["cut", "row in front", "same size", "emptied"])
def test_a_corpus_that_is_rewritten_in_place_is_503_and_never_another_passage(
    server: Server, what: str
) -> None:
    path = server.folder / "corpus.jsonl"
    text = path.read_bytes()
    changed = {
        "cut": text[: len(text) // 3],
        "row in front": b'{"id": "new", "contents": "a new row"}\n' + text,
        "same size": text.replace(b'"d4', b'"e4'),
        "emptied": b"",
    }[what]
    with path.open("r+b") as handle:  # as an editor that keeps the file
        handle.truncate()
        handle.write(changed)
    for query in ("w123 w45", "w55 w60", "never asked"):
        answer = server.ask(query)
        assert answer.status == 503
        assert "corpus.jsonl was changed while it was in use" in answer.detail
    with pytest.raises(urllib.error.HTTPError, match="503"):
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health", timeout=20)
    assert server.log.count("was changed while it was in use") == 1


def test_a_corpus_that_is_replaced_touched_or_linked_changes_nothing(server: Server, tmp_path: Path) -> None:
    path = server.folder / "corpus.jsonl"
    before = server.ask("w123 w45")
    os.utime(path)
    os.link(path, tmp_path / "link")
    assert server.ask("w123 w45") == before
    write_rows(tmp_path / "new", 100, 200)
    (tmp_path / "new").replace(path)  # as an editor that writes a new file
    assert server.ask("w123 w45") == before
    assert server.ask("w450").ids[0] == "d450"
    path.unlink()
    assert server.ask("w451").ids[0] == "d451"


def test_an_index_file_that_is_rewritten_in_place_is_503(server: Server) -> None:
    path = server.folder / "index" / "vectors.f32"
    with path.open("r+b") as handle:
        handle.write(b"\0" * 64 * 4)
    answer = server.ask("w123 w45")
    assert answer.status == 503
    assert "vectors.f32 was changed while it was in use" in answer.detail


def test_rows_are_read_of_the_file_that_was_opened_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    write_rows(path, 0, 30)
    corpus = open_corpus(path, tmp_path / "cache")
    whole = corpus.contents(0, 99)
    assert whole == [corpus.row(at).contents for at in range(30)]
    text = path.read_bytes()
    path.write_bytes(text[:-1])
    for read in (lambda: corpus.row(0), lambda: corpus.document(29), lambda: corpus.contents(3, 9)):
        with pytest.raises(FilesChangedError, match=r"was changed while it was in use.*start this again"):
            read()
    path.write_bytes(text)  # it is not taken for the old one again: maps and caches may hold what was between
    with pytest.raises(FilesChangedError):
        corpus.row(0)


def test_a_change_is_noticed_also_when_size_and_time_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    os.utime(path, ns=(10**9, 10**9))
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    file = OpenFile(path, sha256=digest)
    os.utime(path, ns=(10**9, 10**9))
    assert file.read(0, 3) == b"abc"
    path.write_bytes(b"abd")
    os.utime(path, ns=(10**9, 10**9))
    with pytest.raises(UserError, match="was changed"):
        FileWatch([file]).check()
