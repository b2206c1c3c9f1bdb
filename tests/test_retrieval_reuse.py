"""After an edit of a corpus only its new passages are encoded."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from rich.console import Console

from src_core.config import load_config
from src_core.errors import UserError
from src_core.progress import Steps
from src_retrieval.build import build_index
from src_retrieval.build_plan import BuildConfig
from src_retrieval.encoders.toy import ToyEncoder
from src_retrieval.layout import IndexLayout
from src_retrieval.reuse import KnownVectors, content_hashes, known_vectors


def write(path: Path, texts: Sequence[str]) -> None:
    rows = ({"id": f"p{n}", "contents": text} for n, text in enumerate(texts))
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def build(folder: Path, name: str, **changes: Any) -> str:
    """Build, and return what was printed."""
    values = {"corpus": folder / "c.jsonl", "index_dir": folder / name, "encoder": "toy:64", **changes}
    printed = io.StringIO()
    config = load_config(BuildConfig, None, [f"{key}={value}" for key, value in values.items()])
    build_index(config, steps=Steps(Console(file=printed, width=200), every=0.001))
    return printed.getvalue()


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passages that the encoder is given."""
    seen: list[str] = []
    real = ToyEncoder.encode_passages

    def watched(self: ToyEncoder, texts: Sequence[str], **more: Any) -> Any:
        seen.extend(texts)
        return real(self, texts, **more)

    monkeypatch.setattr(ToyEncoder, "encode_passages", watched)
    return seen


TEXTS = [f"Passage {n} about town {n * 7}." for n in range(50)]
EDITED = [TEXTS[0], "A new passage.", *TEXTS[2:], "Another one."]


@pytest.mark.parametrize("second", ["world-0002", "world-0001"])
def test_only_new_passages_are_encoded(
    second: str, tmp_path: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src_core.progress.QUICK", 0.0)  # the last line is written however quick the step is
    write(tmp_path / "c.jsonl", TEXTS)
    build(tmp_path, "world-0001")
    assert encoded == TEXTS
    encoded.clear()
    write(tmp_path / "c.jsonl", EDITED)
    printed = build(tmp_path, second, overwrite=True, chunk_rows=7)
    assert encoded == ["A new passage.", "Another one."]
    assert "2 encoded, 49 reused from the earlier index" in printed
    assert "2/2 passages encoded" in printed  # and never 51 of 51
    vectors = np.fromfile(IndexLayout(tmp_path / second).vectors, dtype=np.float32).reshape(51, 64)
    assert np.array_equal(vectors, ToyEncoder().encode_passages(EDITED))


def test_an_edited_corpus_is_followed_where_the_build_says_so(tmp_path: Path, encoded: list[str]) -> None:
    write(tmp_path / "c.jsonl", TEXTS)
    build(tmp_path, "world", follow_edits=True)
    encoded.clear()
    write(tmp_path / "c.jsonl", EDITED)
    with pytest.raises(UserError, match="another corpus"):
        build(tmp_path, "world")
    build(tmp_path, "world", follow_edits=True)
    assert encoded == ["A new passage.", "Another one."]
    assert "up to date (51 passages)" in build(tmp_path, "world", follow_edits=True)
    with pytest.raises(UserError, match="another encoder"):
        build(tmp_path, "world", follow_edits=True, encoder="toy:32")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda layout: layout.vectors.write_bytes(bytes(len(layout.vectors.read_bytes()))),
        lambda layout: layout.content_hashes.unlink(),
        lambda layout: layout.content_hashes.write_bytes(b"\0" * 800),
        lambda layout: layout.manifest.write_text("{"),
    ],
    ids=["other vectors", "no hashes", "other hashes", "broken manifest"],
)
def test_a_damaged_index_is_not_reused(
    spoil: Callable[[IndexLayout], object], tmp_path: Path, encoded: list[str]
) -> None:
    write(tmp_path / "c.jsonl", TEXTS)
    build(tmp_path, "world-0001")
    encoded.clear()
    spoil(IndexLayout(tmp_path / "world-0001"))
    write(tmp_path / "c.jsonl", EDITED)
    build(tmp_path, "world-0002")
    assert len(encoded) == len(EDITED)


def test_another_encoder_another_name_and_an_index_of_words_give_nothing(tmp_path: Path) -> None:
    write(tmp_path / "c.jsonl", TEXTS)
    build(tmp_path, "world-0001", type="bm25")
    build(tmp_path, "towns-0001")
    build(tmp_path, "world-0003", encoder="toy:32")
    assert known_vectors(IndexLayout(tmp_path / "world-0002"), ToyEncoder().identity) is None
    assert known_vectors(IndexLayout(tmp_path / "towns-0002"), ToyEncoder().identity) is not None


def test_hashes_are_of_the_text_alone() -> None:
    hashes = content_hashes(["a", "b", "a", "", "\ud800"])
    assert hashes.shape == (5, 2)
    assert (hashes[0] == hashes[2]).all()
    assert len({tuple(row) for row in hashes.tolist()}) == 4
    known = KnownVectors(hashes, np.arange(10, dtype=np.float32).reshape(5, 2))
    found = known.find(content_hashes(["b", "c", ""]))
    assert found.found.tolist() == [True, False, True]
    assert found.vectors.tolist() == [[2.0, 3.0], [6.0, 7.0]]
