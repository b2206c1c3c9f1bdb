"""One corpus from the passages of question rows."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from helpers_data_rows import HOTPOTQA, HOTPOTQA_HUB, IIRC, MUSIQUE, PROJECT, read, written
from rich.console import Console

from src_core.config import load_config
from src_core.errors import UserError
from src_data.corpus_from import CorpusConfig, CorpusCount, make_corpus
from src_retrieval.corpus import open_corpus
from src_retrieval.rows import to_passage

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = sorted((ROOT.parent / "shared" / "data" / "publisher_format").glob("*.json"))


def make(corpus: Path, *sources: str, **values: Any) -> CorpusCount:
    console = Console(quiet=True)
    return make_corpus(CorpusConfig(corpus=str(corpus), sources=sources, **values), console=console)


def test_passages_are_written_once_and_load(tmp_path: Path) -> None:
    twin = copy.deepcopy(HOTPOTQA_HUB) | {"question": "Who else?"}
    twin["context"]["sentences"][0] = [f" {text}  " for text in twin["context"]["sentences"][0]]
    files = [
        written(tmp_path, [HOTPOTQA, twin], "hotpot.json"),
        written(tmp_path, [MUSIQUE], "musique.jsonl"),
        written(tmp_path, [IIRC], "iirc.json"),
    ]
    target = tmp_path / "new/corpus.jsonl"
    count = make(target, *files)
    assert count == CorpusCount(rows=6, malformed=0, passages=3 + 3 + 3 + 2 + 1 + 1, written=8, gold=6)
    assert list(target.parent.iterdir()) == [target]
    corpus = open_corpus(target, tmp_path / "cache")
    assert len(corpus) == 8
    assert corpus.info.plain
    for item in (row for path in files for row in read(path)):
        for passage in item.passages:
            number = corpus.row_of(passage.id)
            assert number is not None
            assert to_passage(corpus.row(number)) == passage
        assert set(item.question.supporting) <= {passage.id for passage in item.passages}
    corpus.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: {"sources": ()}, "name at least one"),
        (lambda folder: {"sources": (written(folder, [PROJECT], "p.jsonl"),)}, "come without passages"),
        (lambda folder: {"sources": (written(folder, [HOTPOTQA, {}], "h.json"),)}, "row 2"),
        (lambda folder: {"sources": (str(folder / "none.json"),)}, "no such file"),
        (lambda folder: {"corpus": str(folder / "a.json"), "overwrite": True}, "is one of the sources"),
        (lambda folder: {"corpus": "/proc/corpus.jsonl"}, "could not write"),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_leaves_no_file(
    change: Callable[[Path], dict[str, Any]], message: str, tmp_path: Path
) -> None:
    source = written(tmp_path, [HOTPOTQA], "a.json")
    values = {"corpus": str(tmp_path / "corpus.jsonl"), "sources": (source,)} | change(tmp_path)
    with pytest.raises(UserError, match=message):
        make_corpus(CorpusConfig(**values), console=Console(quiet=True))
    assert not list(tmp_path.glob("corpus*"))
    assert Path(source).read_bytes() == orjson.dumps([HOTPOTQA])


def test_a_corpus_is_replaced_only_when_told_and_whole(tmp_path: Path) -> None:
    target = tmp_path / "corpus.jsonl"
    target.write_text("mine\n", encoding="utf-8")
    good, bad = written(tmp_path, [HOTPOTQA], "a.json"), written(tmp_path, [HOTPOTQA, {}], "b.json")
    with pytest.raises(UserError, match="overwrite=true"):
        make(target, good)
    with pytest.raises(UserError, match="row 2"):
        make(target, bad, overwrite=True)
    assert target.read_text(encoding="utf-8") == "mine\n"
    assert make(target, bad, overwrite=True, on_bad_row="skip").malformed == 1
    assert target.read_bytes().count(b"\n") == 3


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The script as called from another folder, with this Python behind it."""
    venv = folder / "venv/bin"
    venv.mkdir(parents=True, exist_ok=True)
    python = venv / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    command = ["bash", str(ROOT / "scripts/make_corpus.sh"), *arguments]
    environment = {**os.environ, "VENV": str(venv.parent)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_script(tmp_path: Path) -> None:
    written(tmp_path, [HOTPOTQA], "a b.json")
    done = run(tmp_path, "corpus=out/corpus.jsonl", "a b.json")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "3 different passages (2 gold) of 3 in 1 rows; 0 malformed rows" in done.stderr
    assert (tmp_path / "out/corpus.jsonl").read_bytes().count(b"\n") == 3
    again = run(tmp_path, "corpus=out/corpus.jsonl", "a b.json")
    assert again.returncode == 2
    assert again.stderr.splitlines()[-1].startswith("error: out/corpus.jsonl exists")


def test_the_help_of_the_script(tmp_path: Path) -> None:
    helped, bare = run(tmp_path, "-h"), run(tmp_path)
    assert (helped.returncode, bare.returncode) == (0, 2)
    assert helped.stdout == bare.stderr
    assert "bash scripts/make_corpus.sh corpus=" in helped.stdout
    assert "#" not in helped.stdout


def test_a_source_with_settings() -> None:
    text = 'sources=[{path: "hub:o/n", subset: distractor, split: train}]'
    config = load_config(CorpusConfig, None, ["corpus=c.jsonl", text])
    assert config.sources[0].subset == "distractor"


@pytest.mark.published
def test_the_corpus_of_the_published_files_holds_every_gold_passage(tmp_path: Path) -> None:
    count = make(tmp_path / "corpus.jsonl", *map(str, PUBLISHED))
    corpus = open_corpus(tmp_path / "corpus.jsonl", tmp_path / "cache")
    assert len(corpus) == count.written
    gold = [name for path in PUBLISHED for row in read(str(path)) for name in row.question.supporting]
    assert None not in [corpus.row_of(name) for name in gold]
    assert len(set(gold)) == count.gold
    corpus.close()
