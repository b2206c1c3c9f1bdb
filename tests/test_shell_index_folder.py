"""The default folder of an index: two corpora never share one, and the same corpus always has the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def folder(corpus: Path | str, **environment: str) -> str:
    """INDEX_DIR as every script of `deploy/` has it."""
    script = 'set -Eeuo pipefail; source deploy/deploy_config.sh; printf "%s" "$INDEX_DIR"'
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "CORPUS": str(corpus), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    return done.stdout


def test_the_folder_follows_the_content_of_the_corpus(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "my corpus.jsonl", tmp_path / "their 'own" / "my corpus.jsonl"
    theirs.parent.mkdir()
    ours.write_text('{"id": "1"}\n' * 300_000)
    theirs.write_text('{"id": "1"}\n' * 299_999 + '{"id": "2"}\n')
    first = folder(ours)
    assert first.startswith("indexes/my corpus-")
    assert len(first) == len("indexes/my corpus-") + 8
    assert folder(ours) == first
    assert folder(theirs) != first
    ours.rename(tmp_path / "moved.jsonl")
    assert folder(tmp_path / "moved.jsonl").split("-")[1] == first.split("-")[1]
    theirs.write_text(theirs.read_text() + "\n")
    assert folder(theirs) != folder(tmp_path / "moved.jsonl")


def test_no_corpus_has_no_folder_and_the_knob_wins(tmp_path: Path) -> None:
    assert not folder("")
    assert folder(tmp_path / "absent.jsonl") == "indexes/absent"
    assert folder(tmp_path / "absent.jsonl", INDEX_DIR="indexes/mine") == "indexes/mine"
