"""Notes on servers are shown once by the runs of one command, and by each run that stands alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from src_core.server_news import SAID, ServerNews


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
