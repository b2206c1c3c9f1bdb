"""Notes on servers are shown once by the runs of one command, and by each run that stands alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from src_core.caller import CALLER
from src_core.server_news import SAID, ServerNews, gone


def shown(*notes: str) -> list[str]:
    """What one run shows."""
    said: list[str] = []
    news = ServerNews()
    for note in notes[:1]:
        news.note(note)  # before anybody listens
    news.attach(on_note=said.append, on_wait=said.append)
    for note in notes[1:]:
        news.note(note)
    return said


def test_a_run_alone_shows_every_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SAID, raising=False)
    assert shown("one", "two") == shown("one", "two") == ["one", "two"]


def test_runs_of_one_command_show_a_note_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SAID, str(tmp_path / "notes"))
    hostile = "three\nfour\u2028five\x1b[2J"  # text of a server: one line of the file, whatever is in it
    assert shown("one", hostile) == ["one", hostile]
    assert shown(hostile, "one", "two", "four") == ["two", "four"]


def test_the_log_of_a_server_that_died_is_named_as_the_caller_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, caller, state = tmp_path / "home", tmp_path / "elsewhere", tmp_path / "state"
    for folder in (home, caller, state):
        folder.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv(CALLER, str(caller))
    monkeypatch.setenv("STATE_DIR", str(state))
    monkeypatch.delenv("LOG_DIR", raising=False)
    url = "http://127.0.0.1:10203/v1"
    assert "its log is in ../home/logs/; " in str(gone(url, refused=3, reason="refused"))
    (state / "rearag.pid").write_text("1\n2\n127.0.0.1\n10203\n\n")
    assert "its log is ../home/logs/rearag.log; " in str(gone(url, refused=3, reason="refused"))
    monkeypatch.setenv("LOG_DIR", "/var/mylogs")
    assert "its log is /var/mylogs/rearag.log; " in str(gone(url, refused=3, reason="refused"))
