"""The merged copy of a model: made once, found again, made anew when anything of it changes."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import gguf
import pytest
from helpers_gguf import write_base, write_lora

from src_core.errors import UserError
from src_models import llama_server as server
from src_models import merged
from src_models.convert.gguf_adapter import write_adapter
from src_models.merged import merged_copy


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A base and its adapter in GGUF, without torch."""
    base, lora = write_base(tmp_path / "base.gguf", "llama"), tmp_path / "run" / "lora.gguf"
    write_adapter(write_lora(tmp_path / "adapter", "llama"), base, lora, kind="f32")
    return base, lora


def test_a_copy_is_made_once_for_each_content(files: tuple[Path, Path], tmp_path: Path) -> None:
    base, lora = files
    first = merged_copy(base, lora, kind="q4_0", cache=tmp_path / "cache")
    made = first.stat().st_ino
    assert merged_copy(base, lora, kind="q4_0", cache=tmp_path / "cache") == first
    assert first.stat().st_ino == made
    plain = merged_copy(base, None, kind="q4_0", cache=tmp_path / "cache")
    other = merged_copy(base, lora, kind="q8_0", cache=tmp_path / "cache")
    assert len({first, plain, other}) == 3
    lora.write_bytes(lora.read_bytes()[:-4] + b"\x00\x00\x80\x3f")
    assert merged_copy(base, lora, kind="q4_0", cache=tmp_path / "cache") not in {first, plain, other}
    copies = set((tmp_path / "cache").rglob("*.gguf"))
    assert len(copies) == merged.KEPT
    assert first not in copies  # the one that was not used for the longest time


def test_a_torn_copy_is_made_again(files: tuple[Path, Path], tmp_path: Path) -> None:
    base, lora = files
    copy = merged_copy(base, lora, kind="q4_0", cache=tmp_path / "cache")
    whole = copy.read_bytes()
    copy.write_bytes(whole[:-20_000])
    other = copy.with_name("other-q4_0-1.gguf.tmp")
    other.write_bytes(b"of a start that was killed")
    assert merged_copy(base, lora, kind="q4_0", cache=tmp_path / "cache").read_bytes() == whole
    assert not other.exists()


def test_two_servers_that_start_at_once_make_one_copy(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, lora = files
    found: list[Path] = []

    def start() -> None:
        found.append(merged_copy(base, lora, kind="q4_0", cache=tmp_path / "c"))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 4
    assert capsys.readouterr().err.count("making") == 1


def test_the_server_takes_the_copy_and_keeps_its_name(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, lora = files
    monkeypatch.setenv("REARAG_CACHE", str(tmp_path / "cache"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    asked = ["--model", str(base), "--port", port, "--lora", str(lora)]
    beside = server.settings_from(server._parse(asked))
    whole = server.settings_from(server._parse([*asked, "--merged", "q4_0"]))
    assert whole.alias == beside.alias == "base+run/lora"
    assert (whole.lora, beside.lora) == (None, lora)
    assert whole.tags == beside.tags | {"merged-q4_0"}
    kinds = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(whole.model).tensors}
    assert kinds["blk.0.ffn_up.weight"] == "Q4_0"


def test_what_cannot_be_made_is_one_sentence_and_leaves_nothing(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    base, lora = files
    with pytest.raises(UserError, match="cannot be stored as q2_k; choose one of"):
        merged_copy(base, lora, kind="q2_k", cache=tmp_path / "cache")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"could not store a copy of .*; free some space"):
        merged_copy(base, lora, kind="q4_0", cache=tmp_path / "file")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(base.read_bytes()[:-50_000])
    with pytest.raises(UserError, match="damaged or truncated"):
        merged_copy(cut, None, kind="q4_0", cache=tmp_path / "cache")
    assert not list(tmp_path.rglob("cache/**/*.gguf*"))
